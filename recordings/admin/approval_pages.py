"""The queue and the page of one approval: what waits, everything an approver must see, approve or refuse."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlencode

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from onrecord.policies.approvals import Moment, NotEntitledError, check_approver, check_fresh, same_person
from onrecord.policies.errors import OnrecordError
from onrecord.recordings.admin.desk import Held, held_of
from onrecord.recordings.admin.parts import paged
from onrecord.recordings.admin.roles import issuer_of, may_read, may_see
from onrecord.recordings.admin.site import (
    PageError,
    Site,
    Visitor,
    client_of,
    form,
    page,
    reason_of,
    see_other,
    visitor,
)
from onrecord.recordings.control.admin import DecisionError, Shown
from onrecord.recordings.display.records import pretty_sql
from onrecord.recordings.records import LookRecord
from onrecord.recordings.views import View

LATELY = 50
_VERBS: dict[str, Literal["approve", "deny", "revoke"]] = {"approve": "approve", "refuse": "deny", "revoke": "revoke"}
_STATUS = {"forbidden": HTTPStatus.FORBIDDEN, "trouble": HTTPStatus.SERVICE_UNAVAILABLE}


class ApprovalPages:
    """The pages below /approvals."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[Route]:
        """Their routes."""
        return [
            Route("/", self.home, methods=["GET"]),
            Route("/approvals", self.queue, methods=["GET"]),
            Route("/approvals/{id:str}", self.show, methods=["GET"]),
            Route("/approvals/{id:str}/decide", self.decide, methods=["POST"]),
        ]

    async def home(self, request: Request) -> Response:
        """Where people start."""
        visitor(self._site, request)
        return see_other("/approvals")

    async def queue(self, request: Request) -> Response:
        """What waits, and what was decided lately."""
        site = self._site
        visits = visitor(site, request)
        shown = [one for one in site.channel.snapshot().approvals if may_see(visits.person, one, site.config)]
        held = [held_of(one, site.rules, site.clock()) for one in shown]
        site.looks.listed(visits.identity, client_of(request), [item.id for item in held])
        mine = {one.approval.id for one in shown if not why_not(one, visits, site)}
        return page(
            site,
            "queue.html",
            visits,
            waiting=[item for item in held if item.pending],
            past=[item for item in held if not item.pending][: -LATELY - 1 : -1],
            mine=mine,
        )

    async def show(self, request: Request) -> Response:
        """One approval. What of its text this session has seen is remembered: all of it, or no button."""
        site = self._site
        visits = visitor(site, request)
        shown = self._find(request, visits)
        held = held_of(shown, site.rules, site.clock())
        whole = may_read(visits.person, shown, site.config)
        sections = to_read(held) if whole else to_read(held)[:1]
        pages = paged(sections)
        given = request.query_params.get("part", "1")
        number = int(given) if given.isascii() and given.isdigit() and len(given) < 6 else 1
        number = min(max(1, number), len(pages))
        site.looks.look(
            LookRecord(
                identity=visits.identity,
                what="approval",
                client=client_of(request),
                of=held.id,
                parts=(*(name for name, _ in sections), f"page {number} of {len(pages)}"),
            ),
            session=held.session,
        )
        content = content_of(held) if whole else f"partly:{held.id}"
        seen = visits.session.saw(content, number)
        timeline, problem = await self._timeline(held)
        return page(
            site,
            "approval.html",
            visits,
            held=held,
            pretty=pretty_sql(held.text) if held.kind == "sql" else "",
            parts=pages[number - 1],
            number=number,
            count=len(pages),
            missing=[i for i in range(1, len(pages) + 1) if i not in seen],
            timeline=timeline,
            problem=problem,
            why_not=why_not(shown, visits, site),
            stale=why_stale(visits, site),
            login=login_again(visits, site, f"/approvals/{held.id}"),
            proof=visits.session.token(content) if len(seen) == len(pages) else "",
            whole=whole,
            may_revoke=visits.has("operator") or not why_not(shown, visits, site),
        )

    async def decide(self, request: Request) -> Response:
        """Approve, refuse or take back: by the form of the page; to approve, after all of the text was shown."""
        site = self._site
        visits = visitor(site, request)
        fields = await form(site, request)
        shown = self._find(request, visits)
        held = held_of(shown, site.rules, site.clock())
        verb = _VERBS.get(fields.get("decision", ""))
        if verb is None:
            raise PageError(HTTPStatus.BAD_REQUEST, "Not understood", "Choose approve or refuse.")
        said = reason_of(fields, needed=verb != "approve")
        if verb == "approve" and held.pending and (problem := self._unready(request, visits, held, fields)):
            return problem
        person = replace(visits.person, client=client_of(request), via="page")
        try:
            await site.channel.decide(held.id, verb, person, said)
        except DecisionError as error:
            return page(
                site,
                "message.html",
                visits,
                status=_STATUS.get(error.code, HTTPStatus.CONFLICT),
                title="Nothing was decided by you",
                text=f"{error}.",
                link=f"/approvals/{held.id}",
                label="Back to the approval",
            )
        return see_other(f"/approvals/{held.id}")

    def _unready(self, request: Request, visits: Visitor, held: Held, fields: dict[str, str]) -> Response | None:
        """Why this person may not approve this yet: an old login, or a text not read to its end."""
        site = self._site
        if stale := why_stale(visits, site):
            return page(
                site,
                "message.html",
                visits,
                status=HTTPStatus.FORBIDDEN,
                title="Log in again to approve",
                text=f"Nothing was decided: {stale}.",
                link=login_again(visits, site, f"/approvals/{held.id}"),
                label="Log in again",
            )
        if not visits.session.holds(content_of(held), fields.get("seen", "")):
            site.looks.refuse(
                "an approval of a text that was not shown to its end",
                client=client_of(request),
                text=held.id,
                who=visits.identity,
            )
            raise PageError(
                HTTPStatus.CONFLICT,
                "Not read to its end",
                "Nothing was decided: this session has not been shown all of what it would approve, or it has changed. "
                "Open the approval again and read it to its end.",
            )
        return None

    def _find(self, request: Request, visits: Visitor) -> Shown:
        """The approval with this whole id: a page's address is no place for beginnings of ids."""
        id = request.path_params["id"]
        shown = self._site.channel.approval(id)
        if shown.approval.id != id:
            raise DecisionError("not_found", f"there is no approval {id!r}")
        if not may_see(visits.person, shown, self._site.config):
            raise PageError(
                HTTPStatus.FORBIDDEN,
                "Not for you",
                "This approval is for other groups, and you are not among its viewers.",
            )
        return shown

    async def _timeline(self, held: Held) -> tuple[list[View], str]:
        """The run so far, and why it cannot be shown."""
        try:
            _, commands = await self._site.archive.run(held.run, limit=50)
        except OnrecordError as error:
            return [], str(error)
        return commands, ""


def login_again(visits: Visitor, site: Site, next: str) -> str:
    """Where this person logs in anew, to come back to `next`."""
    issuer = issuer_of(visits.person, site.config)
    if issuer is not None and issuer.issuer in site.logins:
        return "/login/start?" + urlencode({"issuer": issuer.issuer, "again": "1", "next": next})
    return "/login?" + urlencode({"again": "1", "next": next})


def why_not(shown: Shown, visits: Visitor, site: Site) -> str:
    """Why this person may not decide, as far as this process knows (the recorder asks again); "" where they may."""
    approval = shown.approval
    try:
        check_approver(approval, visits.person, _moment(site), site.rules, fresh=False)
    except NotEntitledError as error:
        return f"{error}."
    if any(same_person(vote.approver, visits.person) for vote in approval.votes):
        return "You have agreed already; another person must too."
    return ""


def why_stale(visits: Visitor, site: Site) -> str:
    """Why this login may not approve; "" where it is fresh enough."""
    try:
        check_fresh(visits.person, _moment(site), site.rules)
    except NotEntitledError as error:
        return str(error)
    return ""


def _moment(site: Site) -> Moment:
    return Moment(site.clock(), 0.0)


def to_read(held: Held) -> list[tuple[str, str]]:
    """All that a grant would let run, under its names: the exact command, its parameters, every field of it."""
    sections = [("command", held.text)]
    detail = dict(held.detail)
    if held.parameters:
        values = (f"${i} = {json.dumps(value, ensure_ascii=False)}" for i, value in enumerate(held.parameters, 1))
        sections.append(("parameters", "\n".join(values)))
    if isinstance(body := detail.get("body"), str) and body:  # as it is: in JSON its lines would be one
        sections.append(("body", body))
        del detail["body"]
    if detail:
        sections.append(("every other field", json.dumps(detail, ensure_ascii=False, indent=1, default=str)))
    return sections


def content_of(held: Held) -> str:
    """What a session must have seen: this approval of exactly this content."""
    content = json.dumps([held.id, held.digest, to_read(held)])
    return "seen:" + hashlib.sha256(content.encode()).hexdigest()
