"""What all pages share: the parts of the process, who visits, forms, answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from onrecord.policies.approvals import Approver, Rules
from onrecord.policies.config import AdminRole, Config
from onrecord.policies.config.approvals import approval_rules
from onrecord.policies.errors import OnrecordError
from onrecord.policies.identity import Authenticator
from onrecord.policies.model import Identity
from onrecord.recordings.admin.archive import Archive
from onrecord.recordings.admin.live import Live
from onrecord.recordings.admin.looks import Looks
from onrecord.recordings.admin.marks import oddities
from onrecord.recordings.admin.notify.dispatch import Dispatcher
from onrecord.recordings.admin.oidc import OidcLogin
from onrecord.recordings.admin.render import render
from onrecord.recordings.admin.roles import roles_of
from onrecord.recordings.admin.sessions import BrowserSession, Sessions
from onrecord.recordings.control.admin import AdminChannel

MAX_FIELDS = 40
MAX_REASON = 1000
FORM = "form"
"""The purpose of the token in every form of a session."""


class PageError(OnrecordError):
    """The page says no: its status, a title and what to do."""

    def __init__(self, status: HTTPStatus, title: str, text: str) -> None:
        super().__init__(text)
        self.status, self.title = status, title


class LoginNeededError(OnrecordError):
    """Nobody is logged in."""


@dataclass(slots=True)
class Site:
    """The parts of the admin process."""

    config: Config
    sessions: Sessions
    logins: dict[str, OidcLogin]
    authenticator: Authenticator | None
    """Checks pasted tokens of the dev issuer; None where it is not configured."""
    archive: Archive
    looks: Looks
    channel: AdminChannel
    dispatcher: Dispatcher
    live: Live = field(default_factory=Live)
    clock: Callable[[], float] = time.time
    used_tokens: dict[str, float] = field(default_factory=dict)

    @property
    def rules(self) -> Rules:
        """Who may decide."""
        return approval_rules(self.config)

    @property
    def origin(self) -> str:
        return self.config.gateway.admin_url

    @property
    def secure(self) -> bool:
        return self.origin.startswith("https:")

    @property
    def cookie(self) -> str:
        """The cookie's name. With the prefix no other host and no plain http can set it (RFC 6265bis)."""
        return "__Host-onrecord" if self.secure else "onrecord-admin"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: a browser's session and, once somebody logged in, who they are."""

    cookie: str
    session: BrowserSession
    person: Approver
    roles: frozenset[AdminRole]

    @property
    def identity(self) -> Identity:
        """The person as records name them."""
        return identity_of(self.person)

    def has(self, *roles: AdminRole) -> bool:
        """Whether one of `roles` is theirs."""
        return not self.roles.isdisjoint(roles)


def identity_of(person: Approver) -> Identity:
    """A person as records name them."""
    return Identity(
        issuer=person.issuer,
        subject=person.subject,
        groups=person.groups,
        kind="human" if person.kind == "human" else "agent",
        on_behalf_of=person.on_behalf_of,
        token_id=person.token_id,
    )


def client_of(request: Request) -> str:
    """The peer's address."""
    return f"{request.client.host}:{request.client.port}" if request.client else "-"


def browser(site: Site, request: Request) -> tuple[str, BrowserSession] | None:
    """The browser's session, of somebody or nobody."""
    cookie = request.cookies.get(site.cookie, "")
    session = site.sessions.get(cookie) if cookie else None
    return None if session is None else (cookie, session)


def visitor(site: Site, request: Request, *roles: AdminRole) -> Visitor:
    """Who is logged in, with one of `roles` (any, where none is given). Raises LoginNeededError, PageError."""
    found = browser(site, request)
    person = found[1].person if found is not None else None
    if found is None or person is None:
        raise LoginNeededError("nobody is logged in")
    cookie, session = found
    visits = Visitor(cookie, session, person, roles_of(person, site.config))
    if roles and not visits.has(*roles):
        raise PageError(
            HTTPStatus.FORBIDDEN,
            "Not for you",
            f"This page is for {' and '.join(roles)}; your groups give you "
            f"{', '.join(sorted(visits.roles)) or 'no role'}. Groups get roles in mitm.toml, [admin] roles.",
        )
    return visits


async def form(site: Site, request: Request) -> dict[str, str]:
    """The fields of a form that this session's page sent. Raises PageError where it is not one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    fields: dict[str, str] = {}
    try:
        if kind != "application/x-www-form-urlencoded":
            raise ValueError("not a form")
        text = (await request.body()).decode("ascii")
        for name, value in parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=MAX_FIELDS
        ):
            if name in fields:
                raise ValueError("a field twice")
            fields[name] = value.replace("\r\n", "\n")
    except ValueError:
        raise PageError(HTTPStatus.BAD_REQUEST, "Not understood", "This is not a form of this page.") from None
    found = browser(site, request)
    if found is None:
        raise LoginNeededError("nobody is logged in")
    if not found[1].holds(FORM, fields.get("form_token", "")):
        site.looks.refuse(
            "a form without this session's token (CSRF)",
            client=client_of(request),
            text=f"POST {request.url.path}",
            who=identity_of(found[1].person) if found[1].person else None,
        )
        raise PageError(
            HTTPStatus.FORBIDDEN,
            "Out of date",
            "The form belongs to another session. Nothing was done. Go back, reload the page and try again.",
        )
    return fields


def reason_of(fields: Mapping[str, str], *, needed: bool) -> str:
    """The reason that a form gives: agents, records and terminals read it, so it is plain text. Raises PageError."""
    text = fields.get("reason", "").strip()
    if needed and not text:
        raise PageError(HTTPStatus.BAD_REQUEST, "A reason is missing", "Say why: the agent reads it, and the record.")
    if len(text) > MAX_REASON:
        raise PageError(HTTPStatus.BAD_REQUEST, "Too long", f"A reason has at most {MAX_REASON} characters.")
    if not oddities(text).keys().isdisjoint({"hidden", "turned", "stacked"}):
        raise PageError(HTTPStatus.BAD_REQUEST, "Not plain text", "The reason holds characters that show nothing.")
    return text


def page(site: Site, template: str, visits: Visitor | None, *, status: int = 200, **values: Any) -> HTMLResponse:
    """An answer made of a template."""
    session = visits.session if visits else None
    return HTMLResponse(
        render(
            template,
            visits=visits,
            form_token=session.token(FORM) if session else "",
            now=site.clock(),
            **values,
        ),
        status_code=status,
    )


def set_cookie(site: Site, response: Response, cookie: str) -> None:
    """Give a browser its session."""
    response.set_cookie(site.cookie, cookie, path="/", secure=site.secure, httponly=True, samesite="lax")


def see_other(path: str, query: Mapping[str, str] | None = None) -> RedirectResponse:
    """Go on at one of our pages."""
    more = "?" + "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in query.items()) if query else ""
    return RedirectResponse(path + more, status_code=HTTPStatus.SEE_OTHER)


def own_path(text: str) -> str:
    """`text`, if it is a path of this site; else "/"."""
    good = text.startswith("/") and not text.startswith("//") and len(text) <= 500 and text.isascii()
    return text if good and text.isprintable() and "\\" not in text and " " not in text else "/"
