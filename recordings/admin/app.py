"""The admin process's application: routes, what errors look like, and the guard around all of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Scope

from onrecord.policies.errors import StoreError
from onrecord.recordings.admin.approval_pages import ApprovalPages
from onrecord.recordings.admin.archive_pages import ArchivePages
from onrecord.recordings.admin.events import Events
from onrecord.recordings.admin.guard import Guard
from onrecord.recordings.admin.login import LoginPages
from onrecord.recordings.admin.notify.slack import SlackRequests
from onrecord.recordings.admin.operator_pages import OperatorPages
from onrecord.recordings.admin.render import render
from onrecord.recordings.admin.site import LoginNeededError, PageError, Site, browser, see_other, visitor
from onrecord.recordings.admin.slack_route import PATH as SLACK_PATH
from onrecord.recordings.admin.slack_route import slack_routes
from onrecord.recordings.control.admin import DecisionError
from onrecord.recordings.display.neutral import clean

log = logging.getLogger("onrecord.admin")

STATIC = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_FOLDER = Path(__file__).parent / "static"


def build_app(site: Site, *, api: Sequence[BaseRoute] = (), slack: SlackRequests | None = None) -> ASGIApp:
    """The whole application. `api` are the routes of the JSON API, which check tokens by themselves."""
    routes: list[BaseRoute] = [Route(f"/static/{name}", _static(name), methods=["GET"]) for name in STATIC]
    for part in (LoginPages, ApprovalPages, ArchivePages, OperatorPages, Events):
        routes += part(site).routes()
    routes += slack_routes(site, slack or SlackRequests(()))
    routes += api

    async def login_needed(request: Request, error: Exception) -> Response:  # noqa: ARG001
        next = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return see_other("/login", {"next": next} if request.method in ("GET", "HEAD") else None)

    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, PageError):
            return _message(site, request, error.status, error.title, str(error))
        if isinstance(error, DecisionError) and error.code == "not_found":
            return _message(site, request, HTTPStatus.NOT_FOUND, "No such approval", f"{error}.")
        if isinstance(error, HTTPException):
            status = HTTPStatus(error.status_code)
            return _message(site, request, status, status.phrase, "The address leads nowhere here.")
        log.warning("%s: %s", clean(request.url.path), error)
        status = HTTPStatus.SERVICE_UNAVAILABLE
        text = f"{error}. Nothing was shown or decided."
        return _message(site, request, status, "Not possible now", text)

    async def broken(request: Request, error: Exception) -> Response:
        log.error("%s: an error of ours", clean(request.url.path), exc_info=error)
        text = "An error of the gateway's own. Nothing was decided. Its log says more."
        return _message(site, request, HTTPStatus.INTERNAL_SERVER_ERROR, "Broken", text)

    app = Starlette(
        routes=routes,
        exception_handlers={
            LoginNeededError: login_needed,
            PageError: refused,
            DecisionError: refused,
            StoreError: refused,
            HTTPException: refused,
            Exception: broken,
        },
    )
    app.router.redirect_slashes = False

    def on_refusal(scope: Scope, reason: str) -> None:
        client = scope.get("client")
        address = f"{client[0]}:{client[1]}" if client else "-"
        site.looks.refuse(reason, client=address, text=f"{scope['method']} {scope['path']}")

    listener = site.config.gateway.admin
    hosts = {urlsplit(site.origin).netloc} | ({str(listener)} if listener is not None else set())
    return Guard(app, origin=site.origin, hosts=hosts, signed=(SLACK_PATH,), on_refusal=on_refusal)


def _message(site: Site, request: Request, status: HTTPStatus, title: str, text: str) -> Response:
    if request.url.path.startswith("/api/"):
        from starlette.responses import JSONResponse

        return JSONResponse({"error": f"{title}: {text}"}, status_code=status)
    try:
        visits = visitor(site, request)
    except (LoginNeededError, PageError):
        visits = None
    found = browser(site, request)
    content = render(
        "message.html",
        visits=visits,
        now=site.clock(),
        form_token=found[1].token("form") if found and visits else "",
        title=title,
        text=text,
        link="/approvals" if visits else "/login",
        label="Back" if visits else "Log in",
    )
    return HTMLResponse(content, status_code=status)


def _static(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202  # an endpoint of starlette's
    async def endpoint(request: Request) -> Response:  # noqa: ARG001
        return FileResponse(_FOLDER / name, media_type=STATIC[name], headers={"cache-control": "max-age=300"})

    return endpoint
