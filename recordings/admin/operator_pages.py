"""For operators: the kill switch, and the notifications that never arrived."""

from __future__ import annotations

from http import HTTPStatus

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from onrecord.policies.kills import Target
from onrecord.recordings.admin.approval_pages import login_again, why_stale
from onrecord.recordings.admin.site import PageError, Site, client_of, form, page, reason_of, see_other, visitor
from onrecord.recordings.approvals.views import kill_view
from onrecord.recordings.control.admin import DecisionError

WHAT: tuple[Target, ...] = ("run", "session", "identity")
MAX_NAME = 1024


class OperatorPages:
    """/kill and /notifications."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[Route]:
        """Their routes."""
        return [
            Route("/kill", self.ask, methods=["GET"]),
            Route("/kill", self.kill, methods=["POST"]),
            Route("/kill/lift", self.lift, methods=["POST"]),
            Route("/notifications", self.notices, methods=["GET"]),
            Route("/notifications/again", self.again, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """What to kill. A link fills the form in; only the form does anything."""
        visits = visitor(self._site, request, "operator")
        what = request.query_params.get("what", "run")
        name = request.query_params.get("name", "")[:MAX_NAME]
        kills = [kill_view(kill) for kill in self._site.channel.snapshot().kills]
        what = what if what in WHAT else "run"
        return page(self._site, "kill.html", visits, what=what, name=name, kinds=WHAT, kills=kills)

    async def kill(self, request: Request) -> Response:
        """End it. No fresh login is asked for: stopping must be quick, and hurts less than going on."""
        site = self._site
        visits = visitor(site, request, "operator")
        fields = await form(site, request)
        what, name = (fields.get(field, "").strip() for field in ("what", "name"))
        target = next((kind for kind in WHAT if kind == what), None)
        if target is None or not name or len(name) > MAX_NAME:
            raise PageError(HTTPStatus.BAD_REQUEST, "Not understood", "Say what to kill, and its name or id.")
        reason = reason_of(fields, needed=True)
        person = replace(visits.person, client=client_of(request), via="page")
        try:
            await site.channel.kill(target, name, person, reason)
        except DecisionError as error:
            raise PageError(HTTPStatus.CONFLICT, "Not killed", f"{error}.") from None
        return see_other("/kill")

    async def lift(self, request: Request) -> Response:
        """Lift a kill switch: new sessions are served again."""
        site = self._site
        visits = visitor(site, request, "operator")
        fields = await form(site, request)
        if stale := why_stale(visits, site):
            text = f"Nothing was lifted: {stale}."
            return page(
                site, "message.html", visits, status=403, title="Log in again to lift", text=text,
                link=login_again(visits, site, "/kill"), label="Log in again",
            )  # fmt: skip
        person = replace(visits.person, client=client_of(request), via="page")
        try:
            await site.channel.lift(fields.get("id", ""), person, reason_of(fields, needed=False))
        except DecisionError as error:
            raise PageError(HTTPStatus.CONFLICT, "Not lifted", f"{error}.") from None
        return see_other("/kill")

    async def notices(self, request: Request) -> Response:
        """What never arrived."""
        visits = visitor(self._site, request, "operator", "auditor")
        dispatcher = self._site.dispatcher
        return page(
            self._site,
            "notifications.html",
            visits,
            targets=dispatcher.names,
            dead=dispatcher.dead(),
            delivered=dispatcher.delivered,
        )

    async def again(self, request: Request) -> Response:
        """Try one once more."""
        site = self._site
        visitor(site, request, "operator")
        fields = await form(site, request)
        if not site.dispatcher.again(fields.get("id", "")):
            raise PageError(HTTPStatus.NOT_FOUND, "No such notification", "It is not in the list any more.")
        return see_other("/notifications")
