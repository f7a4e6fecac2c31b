"""Runs, a run's timeline, a record with its evidence. Contents are for auditors, and each look at one is on record."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from onrecord.recordings.admin.site import PageError, Site, client_of, page, visitor
from onrecord.recordings.queries import NotFoundError
from onrecord.recordings.records import LookRecord
from onrecord.recordings.views import View

DAY = 86400
DAYS = (1, 7, 30)
NAME_LIMIT = 1024


class ArchivePages:
    """The pages of what was recorded: for viewers and auditors."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[Route]:
        """Their routes."""
        return [
            Route("/runs", self.runs, methods=["GET"]),
            Route("/run", self.run, methods=["GET"]),
            Route("/records/{id:str}", self.record, methods=["GET"]),
        ]

    async def runs(self, request: Request) -> Response:
        """Runs of the last day, week or month."""
        site = self._site
        visits = visitor(site, request, "viewer", "auditor", "operator")
        given = request.query_params.get("days", "1")
        days = int(given) if given in map(str, DAYS) else 1
        since = int((site.clock() - days * DAY) * 1e9)
        runs = await site.archive.runs(since)
        return page(site, "runs.html", visits, runs=runs, days=days, choices=DAYS)

    async def run(self, request: Request) -> Response:
        """One timeline over all protocols. The run's id is in the query: it may hold any character."""
        site = self._site
        visits = visitor(site, request, "viewer", "auditor", "operator")
        run = request.query_params.get("id", "")
        if not run or len(run) > NAME_LIMIT:
            raise PageError(HTTPStatus.NOT_FOUND, "No such run", "The address names no run.")
        sessions, commands = await site.archive.run(run)
        if not sessions:
            raise PageError(HTTPStatus.NOT_FOUND, "No such run", "No session of this run is on record.")
        look = LookRecord(identity=visits.identity, what="run", client=client_of(request), of=run, parts=("text",))
        site.looks.look(look)
        entries = [("session", session["at"], session) for session in sessions]
        entries += [("command", command["at"], command) for command in commands]
        entries += [("end", session["ended"], session) for session in sessions if session["ended"]]
        entries.sort(key=lambda entry: str(entry[1]))
        return page(site, "run.html", visits, run=run, sessions=sessions, entries=entries, count=len(commands))

    async def record(self, request: Request) -> Response:
        """One record: for viewers what was asked and decided, for auditors all of it."""
        site = self._site
        visits = visitor(site, request, "viewer", "auditor")
        try:
            view, evidence = await site.archive.record(request.path_params["id"])
        except NotFoundError as error:
            raise PageError(HTTPStatus.NOT_FOUND, "No such record", str(error)) from None
        whole = visits.has("auditor")
        parts = ["text"] if "text" in view else []
        if whole:
            parts += [name for name, value in contents(view) if value]
        else:
            view = without_contents(view)
        site.looks.look(
            LookRecord(
                identity=visits.identity,
                what="session" if "login" in view else "command" if "text" in view else "record",
                client=client_of(request),
                of=str(view["id"]),
                parts=tuple(parts),
            ),
            command=str(view["id"]) if "text" in view else "",
            session=str(view.get("session") or ""),
        )
        return page(site, "record.html", visits, view=view, evidence=evidence, whole=whole, contents=contents(view))


def contents(view: View) -> list[tuple[str, Any]]:
    """What of a record is content: what a body, a parameter or a result may stand in."""
    outcome = view.get("outcome") or {}
    return [
        ("detail", view.get("detail")),
        ("result", outcome.get("sample")),
        ("stream", view.get("chunks")),
        ("record", view.get("record")),
    ]


def without_contents(view: View) -> View:
    """A record for those who may not see contents."""
    kept = {name: value for name, value in view.items() if name not in ("detail", "chunks", "record")}
    if isinstance(kept.get("outcome"), dict):
        kept["outcome"] = {name: value for name, value in kept["outcome"].items() if name not in ("sample", "error")}
    return kept
