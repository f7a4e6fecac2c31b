"""The queue and the page of one approval: what waits, everything an approver must see, approve or refuse."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.admin.desk import DeskError, Held, Person
from onrecord.recordings.admin.parts import paged
from onrecord.recordings.admin.roles import issuer_of, why_stale
from onrecord.recordings.admin.site import PageError, Site, Visitor, client_of, form, page, see_other, visitor
from onrecord.recordings.records import LookRecord
from onrecord.recordings.views import View

MAX_REASON = 1000


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
        visits = visitor(self._site, request)
        return see_other("/approvals" if visits.has("viewer", "approver", "auditor", "operator") else "/login")

    async def queue(self, request: Request) -> Response:
        """What waits, and what was decided lately."""
        visits = visitor(self._site, request)
        held = [item for item in await self._site.desk.approvals() if may_see(visits, item)]
        return page(
            self._site,
            "queue.html",
            visits,
            waiting=[item for item in held if item.open],
            past=[item for item in held if not item.open],
            mine={item.id for item in held if why_not(item, visits) == ""},
        )

    async def show(self, request: Request) -> Response:
        """One approval. What of its text this session has seen is remembered: all of it, or no button."""
        site = self._site
        visits = visitor(site, request)
        held = await self._find(request, visits)
        sections = to_read(held)
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
            command=held.command,
        )
        content = content_of(held)
        seen = visits.session.saw(content, number)
        timeline, problem = await self._timeline(held)
        return page(
            site,
            "approval.html",
            visits,
            held=held,
            parts=pages[number - 1],
            number=number,
            count=len(pages),
            missing=[i for i in range(1, len(pages) + 1) if i not in seen],
            timeline=timeline,
            problem=problem,
            why_not=why_not(held, visits),
            stale=self._stale(visits),
            login=self._login_again(visits, held.id),
            proof=visits.session.token(content) if len(seen) == len(pages) else "",
        )

    async def decide(self, request: Request) -> Response:
        """Approve or refuse: by the form of the page, after all of the text was shown, with a fresh login."""
        site = self._site
        visits = visitor(site, request)
        fields = await form(site, request)
        held = await self._find(request, visits)
        client = client_of(request)
        verb = fields.get("decision", "")
        if verb not in ("approve", "refuse"):
            raise PageError(HTTPStatus.BAD_REQUEST, "Not understood", "Choose approve or refuse.")
        if (reason := why_not(held, visits)) and held.open:
            site.looks.refuse(
                "a decision by somebody who may not", client=client, text=held.id, detail=reason, who=visits.identity
            )
            raise PageError(HTTPStatus.FORBIDDEN, "Not yours to decide", reason)
        if stale := self._stale(visits):
            return page(
                site,
                "message.html",
                visits,
                status=HTTPStatus.FORBIDDEN,
                title="Log in again to decide",
                text=f"Nothing was decided: {stale}. A decision needs a login of the last five minutes.",
                link=self._login_again(visits, held.id),
                label="Log in again",
            )
        if verb == "approve" and not visits.session.holds(content_of(held), fields.get("seen", "")):
            site.looks.refuse(
                "an approval of a text that was not shown to its end", client=client, text=held.id, who=visits.identity
            )
            raise PageError(
                HTTPStatus.CONFLICT,
                "Not read to its end",
                "Nothing was decided: this session has not been shown all of what it would approve, or it has changed. "
                "Open the approval again and read it to its end.",
            )
        said = fields.get("reason", "").strip()
        if len(said) > MAX_REASON:
            raise PageError(HTTPStatus.BAD_REQUEST, "Too long", f"A reason has at most {MAX_REASON} characters.")
        if verb == "refuse" and not said:
            raise PageError(HTTPStatus.BAD_REQUEST, "A reason is missing", "Say why it is refused: the agent reads it.")
        person = Person(
            identity=visits.identity, auth_time=visits.session.auth_time, acr=visits.session.acr, client=client
        )
        try:
            await site.desk.decide(
                held.id, digest=fields.get("digest", ""), approve=verb == "approve", reason=said, person=person
            )
        except DeskError as error:
            now_held = await self._find(request, visits)
            return page(
                site,
                "message.html",
                visits,
                status=HTTPStatus.CONFLICT,
                title="Nothing was decided by you",
                text=f"{error} Its state is now: {now_held.state}.",
                link=f"/approvals/{held.id}",
                label="Back to the approval",
            )
        return see_other(f"/approvals/{held.id}")

    async def _find(self, request: Request, visits: Visitor) -> Held:
        held = await self._site.desk.approval(request.path_params["id"])
        if not may_see(visits, held):
            raise PageError(
                HTTPStatus.FORBIDDEN,
                "Not for you",
                "This approval is for other groups, and you are not among its viewers.",
            )
        return held

    async def _timeline(self, held: Held) -> tuple[list[View], str]:
        """The run so far, and why it cannot be shown."""
        try:
            _, commands = await self._site.archive.run(held.run, limit=50)
        except OnrecordError as error:
            return [], str(error)
        return [command for command in commands if command["id"] != held.command], ""

    def _stale(self, visits: Visitor) -> str:
        session = visits.session
        return why_stale(visits.identity, session.auth_time, session.acr, self._site.config, self._site.clock())

    def _login_again(self, visits: Visitor, id: str) -> str:
        issuer = issuer_of(visits.identity, self._site.config)
        if issuer is not None and issuer.issuer in self._site.logins:
            return "/login/start?" + urlencode({"issuer": issuer.issuer, "again": "1", "next": f"/approvals/{id}"})
        return f"/login?again=1&next=/approvals/{id}"


def may_see(visits: Visitor, held: Held) -> bool:
    """Viewers, auditors and operators see all approvals; approvers those that are for one of their groups."""
    if visits.has("viewer", "auditor", "operator"):
        return True
    return visits.has("approver") and not set(held.groups).isdisjoint(visits.identity.groups)


def why_not(held: Held, visits: Visitor) -> str:
    """Why this person may not decide, as far as this process knows (the recorder asks again); "" where they may."""
    me = visits.identity
    if not visits.has("approver"):
        return "You do not have the role approver."
    if set(held.groups).isdisjoint(me.groups):
        return f"This approval is for {held.approvers or ', '.join(held.groups)}; you are in none of these groups."
    if me.subject in (held.identity.subject, held.identity.on_behalf_of):
        return "You are the requester, or the agent works for you: somebody else has to decide."
    if any(vote.subject == me.subject for vote in held.votes):
        return "You have decided already; somebody else is needed too."
    return ""


def to_read(held: Held) -> list[tuple[str, str]]:
    """All that a grant would let run, under its names: the exact command, its parameters, every field of it."""
    sections = [("command", held.text)]
    if held.parameters:
        values = (f"${i} = {json.dumps(value, ensure_ascii=False)}" for i, value in enumerate(held.parameters, 1))
        sections.append(("parameters", "\n".join(values)))
    if held.detail:
        sections.append(("every field", json.dumps(held.detail, ensure_ascii=False, indent=1, default=str)))
    return sections


def content_of(held: Held) -> str:
    """What a session must have seen: this approval of exactly this content."""
    content = json.dumps([held.id, held.digest, to_read(held)])
    return "seen:" + hashlib.sha256(content.encode()).hexdigest()
