"""Logging in and out: by OIDC, or, with the dev issuer on loopback, by a pasted token."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from onrecord.policies.approvals import Approver
from onrecord.policies.config.issuers import DEV_ISSUER
from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.tokens import parse_token
from onrecord.recordings.admin.networks import network_of
from onrecord.recordings.admin.render import render
from onrecord.recordings.admin.site import (
    FORM,
    LoginNeededError,
    PageError,
    Site,
    browser,
    client_of,
    form,
    identity_of,
    own_path,
    page,
    see_other,
    set_cookie,
    visitor,
)
from onrecord.recordings.records import LookRecord

CALLBACK = "/login/callback"
MAX_USED = 10_000


class LoginPages:
    """The pages below /login."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[Route]:
        """Their routes."""
        return [
            Route("/login", self.choose, methods=["GET"]),
            Route("/login/start", self.start, methods=["GET"]),
            Route(CALLBACK, self.callback, methods=["GET"]),
            Route("/login/token", self.token, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
        ]

    async def choose(self, request: Request) -> Response:
        """How to log in."""
        return self._choice(request, "")

    def _choice(self, request: Request, problem: str, status: int = 200) -> Response:
        site = self._site
        found = browser(site, request) or site.sessions.open(_network(request))
        cookie, session = found
        next = own_path(request.query_params.get("next", "/"))
        content = render(
            "login.html",
            visits=None,
            now=site.clock(),
            form_token=session.token(FORM),
            next=next,
            again=request.query_params.get("again") == "1",
            issuers=list(site.logins),
            dev=site.authenticator is not None,
            problem=problem,
        )
        response = HTMLResponse(content, status_code=status)
        set_cookie(site, response, cookie)
        return response

    async def start(self, request: Request) -> Response:
        """Send the browser to the issuer."""
        site = self._site
        login = site.logins.get(request.query_params.get("issuer", ""))
        if login is None:
            raise PageError(HTTPStatus.NOT_FOUND, "No such login", "This login provider is not configured.")
        cookie, session = browser(site, request) or site.sessions.open(_network(request))
        forced = request.query_params.get("again") == "1"
        try:
            pending, address = await login.begin(own_path(request.query_params.get("next", "/")), forced=forced)
        except IdentityError as error:
            return self._failed(request, error)
        response = RedirectResponse(address(session.begin_login(pending)), status_code=HTTPStatus.SEE_OTHER)
        set_cookie(site, response, cookie)
        return response

    async def callback(self, request: Request) -> Response:
        """The issuer's answer. It counts once, and only in the browser that began the login."""
        site = self._site
        found = browser(site, request)
        answer = dict(request.query_params)
        pending = found[1].finish_login(answer.get("state", "")) if found else None
        if found is None or pending is None or len(answer) != len(request.query_params.multi_items()):
            return self._failed(
                request, IdentityError("an answer to no login of this browser (state)", "begin the login again")
            )
        login = site.logins.get(pending.issuer)
        if login is None:
            return self._failed(request, IdentityError("the issuer is not configured any more"))
        try:
            person = await login.finish(pending, answer, client=client_of(request))
        except IdentityError as error:
            return self._failed(request, error)
        return self._logged_in(request, found[0], person, pending.next)

    async def token(self, request: Request) -> Response:
        """A pasted token of the dev issuer: of a human, and used once."""
        site = self._site
        if site.authenticator is None:
            raise PageError(HTTPStatus.NOT_FOUND, "No such login", "Tokens are taken from the dev issuer only.")
        fields = await form(site, request)
        found = browser(site, request)
        if found is None:
            raise LoginNeededError("the session has ended")
        text = fields.get("token", "").strip()
        client = client_of(request)
        try:
            parsed = parse_token(text)
            if parsed.issuer != DEV_ISSUER:
                raise IdentityError("a pasted token of another issuer", "only tokens of the dev issuer are taken here")
            person = await site.authenticator.login(text, client=client, via="page")
            if person.kind != "human" or person.on_behalf_of is not None:
                raise IdentityError("a pasted token of an agent", "this is an agent's token; mint one with --human")
            self._use_once(person.token_id, float(parsed.claims["exp"]))
        except IdentityError as error:
            return self._failed(request, error)
        return self._logged_in(request, found[0], person, own_path(fields.get("next", "/")))

    async def logout(self, request: Request) -> Response:
        """End the session."""
        site = self._site
        visits = visitor(site, request)
        await form(site, request)
        site.sessions.end(visits.cookie)
        site.looks.look(LookRecord(identity=visits.identity, what="logout", client=client_of(request)))
        response = page(
            site, "message.html", None, title="Logged out", text="Your session here has ended.", link="/login"
        )
        response.delete_cookie(site.cookie, path="/", secure=site.secure, httponly=True, samesite="lax")
        response.headers["clear-site-data"] = '"cache", "storage"'
        return response

    def _use_once(self, id: str, expires: float) -> None:
        used = self._site.used_tokens
        now = self._site.clock()
        for name in [name for name, until in used.items() if until + 300 < now]:
            del used[name]
        if id in used or len(used) >= MAX_USED:
            raise IdentityError("a pasted token was used before", "this token was used before; mint a new one")
        used[id] = expires

    def _logged_in(self, request: Request, cookie: str, person: Approver, next: str) -> Response:
        site = self._site
        site.looks.look(
            LookRecord(
                identity=identity_of(person),
                what="login",
                client=client_of(request),
                auth_time=person.auth_time,
                acr=person.acr,
            )
        )
        fresh, _ = site.sessions.log_in(cookie, person)
        response = see_other(next)
        set_cookie(site, response, fresh)
        return response

    def _failed(self, request: Request, error: IdentityError) -> Response:
        self._site.looks.refuse("a login failed", client=client_of(request), text=request.url.path, detail=error.detail)
        return self._choice(request, str(error), HTTPStatus.FORBIDDEN)


def _network(request: Request) -> str:
    return network_of(request.client.host) if request.client else "-"


def redirect_uri(origin: str) -> str:
    """The address that is registered at the issuer."""
    return origin + CALLBACK
