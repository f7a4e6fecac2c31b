"""The JSON API of the admin process: what waits, decisions, kill switches. For humans' tokens only.

    GET    /api/whoami
    GET    /api/approvals            ?state=pending (left out: all that are known)
    GET    /api/approvals/{id}
    POST   /api/approvals/{id}/approve | deny | revoke      {"reason": "…"}
    GET    /api/kills
    POST   /api/kills                {"value": "…", "target": "run" | "session" | "identity", "reason": "…"}
    DELETE /api/kills/{id}

`Authorization: Bearer TOKEN` and nothing else: no cookie counts here, so no other site can make a browser decide. An
error is `{"error": "…"}` with 400, 401, 403, 404, 409 (the state does not allow it), 413, 415, 429 or 503.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Literal

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from onrecord.policies.approvals import Approver, NotEntitledError, check_human
from onrecord.policies.config import Config, IssuerConfig
from onrecord.policies.errors import IdentityError
from onrecord.policies.identity import Authenticator
from onrecord.recordings.admin.roles import may_read, may_see, roles_of
from onrecord.recordings.approvals.views import View, approval_view, approver_view, kill_view
from onrecord.recordings.control.admin import AdminChannel, DecisionError, Shown

MAX_BODY = 64 * 1024
_STATUS = {"forbidden": 403, "conflict": 409, "not_found": 404, "trouble": 503}

MAX_REFUSED = 30
"""One person's decisions in a minute that the recorder refuses and puts on record; it is not asked for more."""

OnLook = Callable[[Approver, list[str]], None]
OnRefusal = Callable[[Approver | None, str, str, str], None]
Handler = Callable[[Request, Approver], Awaitable[Response]]


class _Problem(Exception):  # noqa: N818  # an answer
    def __init__(self, status: int, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.status, self.detail = status, detail


class _Decision(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class _NewKill(msgspec.Struct, forbid_unknown_fields=True):
    value: str
    target: Literal["run", "session", "identity"]
    reason: str = ""
    issuer: str = ""


def api_routes(
    admin: AdminChannel,
    authenticator: Authenticator,
    config: Config,
    *,
    on_look: OnLook | None = None,
    on_refusal: OnRefusal | None = None,
) -> list[Route]:
    """The routes of the API, on the recorder's channel. `on_look` is told who gets to see which approvals, before.

    `on_refusal` is told whom (where that is known), from which client, what was asked, and why it was refused.
    """
    api = _Api(admin, authenticator, config, on_look, on_refusal)
    return [
        Route("/api/whoami", api.guarded(api.whoami), methods=["GET"]),
        Route("/api/approvals", api.guarded(api.approvals), methods=["GET"]),
        Route("/api/approvals/{id}", api.guarded(api.approval), methods=["GET"]),
        Route("/api/approvals/{id}/approve", api.guarded(api.approve, recorded=True), methods=["POST"]),
        Route("/api/approvals/{id}/deny", api.guarded(api.deny, recorded=True), methods=["POST"]),
        Route("/api/approvals/{id}/revoke", api.guarded(api.revoke, recorded=True), methods=["POST"]),
        Route("/api/kills", api.guarded(api.kills), methods=["GET"]),
        Route("/api/kills", api.guarded(api.kill, recorded=True), methods=["POST"]),
        Route("/api/kills/{id}", api.guarded(api.lift, recorded=True), methods=["DELETE"]),
    ]


def admin_issuers(config: Config) -> tuple[IssuerConfig, ...]:
    """The issuers as this API takes them: of one at which humans log in, its ID tokens (`aud` is the client) too."""
    return tuple(
        replace(issuer, audience=(*issuer.audience, issuer.client_id)) if issuer.client_id else issuer
        for issuer in config.issuers
    )


def shown_view(shown: Shown, *, whole: bool) -> View:
    """An approval with what is known about it now; `whole`: with parameters, bodies and preview."""
    view = approval_view(shown.approval, expires_in=shown.expires_in, missing=shown.missing, waiting=shown.waiting)
    return view if whole else view | {"detail": {}, "preview": None, "whole": False}


class _Api:
    def __init__(
        self,
        admin: AdminChannel,
        authenticator: Authenticator,
        config: Config,
        on_look: OnLook | None,
        on_refusal: OnRefusal | None,
    ) -> None:
        self._admin, self._authenticator, self._config, self._on_look = admin, authenticator, config, on_look
        self._on_refusal = on_refusal
        self._refused: dict[tuple[str, str], tuple[float, int]] = {}  # whom: the minute's beginning, and how often

    def guarded(self, handler: Handler, *, recorded: bool = False) -> Callable[[Request], Awaitable[Response]]:
        """`handler` behind a human's token; what it raises becomes an answer.

        `recorded`: an agent's attempt goes on to the recorder, which refuses it and puts it on record.
        """

        async def endpoint(request: Request) -> Response:
            who = None
            try:
                who = await self._who(request)
                if recorded:
                    self._check_patience(who)
                else:
                    check_human(who)
                return await handler(request, who)
            except _Problem as error:
                if error.status in (401, 403, 429):
                    self._say(request, who, error.detail or str(error))
                return _answer({"error": str(error)}, error.status)
            except NotEntitledError as error:
                self._say(request, who, str(error))
                return _answer({"error": str(error)}, 403)
            except DecisionError as error:
                if who is not None and error.code in ("forbidden", "conflict", "not_found"):
                    self._count(who)
                return _answer({"error": str(error), "code": error.code}, _STATUS.get(error.code, 500))

        return endpoint

    async def _who(self, request: Request) -> Approver:
        fields = request.headers.getlist("authorization")
        scheme, _, token = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            raise _Problem(401, "no token: send Authorization: Bearer TOKEN of a human")
        client = request.client.host if request.client is not None else ""
        via = "cli" if request.headers.get("user-agent", "").startswith("onrecord/") else "api"
        try:
            who = await self._authenticator.login(token.strip(), client=client, via=via)
        except IdentityError as error:
            raise _Problem(401, str(error), error.detail) from None
        return who

    def _say(self, request: Request, who: Approver | None, why: str) -> None:
        if self._on_refusal is not None:
            client = f"{request.client.host}:{request.client.port}" if request.client is not None else "-"
            self._on_refusal(who, client, f"{request.method} {request.url.path}", why)

    def _check_patience(self, who: Approver) -> None:
        """Raise where this person was refused too often of late: every refusal is a write of the recorder's to disk."""
        began, count = self._refused.get(who.person, (0.0, 0))
        if count >= MAX_REFUSED and monotonic() - began < 60.0:
            raise _Problem(429, "too many refused attempts: wait a minute")

    def _count(self, who: Approver) -> None:
        now = monotonic()
        began, count = self._refused.pop(who.person, (now, 0))
        self._refused[who.person] = (began, count + 1) if now - began < 60.0 else (now, 1)
        while len(self._refused) > 4096:
            del self._refused[next(iter(self._refused))]

    async def whoami(self, request: Request, who: Approver) -> Response:  # noqa: ARG002
        return _answer(approver_view(who))

    async def approvals(self, request: Request, who: Approver) -> Response:
        wanted = request.query_params.get("state")
        found = [
            shown_view(shown, whole=may_read(who, shown, self._config))
            for shown in self._admin.snapshot().approvals
            if (wanted is None or shown.approval.state == wanted) and may_see(who, shown, self._config)
        ]
        if self._on_look is not None:
            self._on_look(who, [str(one["id"]) for one in found])
        return _answer({"approvals": found})

    async def approval(self, request: Request, who: Approver) -> Response:
        shown = self._find(request, who)
        if self._on_look is not None:
            self._on_look(who, [shown.approval.id])
        return _answer(shown_view(shown, whole=may_read(who, shown, self._config)))

    async def approve(self, request: Request, who: Approver) -> Response:
        return await self._decide(request, who, "approve")

    async def deny(self, request: Request, who: Approver) -> Response:
        return await self._decide(request, who, "deny")

    async def revoke(self, request: Request, who: Approver) -> Response:
        return await self._decide(request, who, "revoke")

    async def kills(self, request: Request, who: Approver) -> Response:  # noqa: ARG002
        if not roles_of(who, self._config) & {"viewer", "auditor", "operator"}:
            raise _Problem(403, f"{who.subject} is in no group that may look at kill switches")
        return _answer({"kills": [kill_view(kill) for kill in self._admin.snapshot().kills]})

    async def kill(self, request: Request, who: Approver) -> Response:
        asked = await _body(request, _NewKill)
        answer = await self._admin.kill(asked.target, asked.value, who, asked.reason, issuer=asked.issuer)
        return _answer({"id": answer.id})

    async def lift(self, request: Request, who: Approver) -> Response:
        answer = await self._admin.lift(request.path_params["id"], who)
        return _answer({"id": answer.id})

    def _find(self, request: Request, who: Approver) -> Shown:
        shown = self._admin.approval(request.path_params["id"])
        if not may_see(who, shown, self._config):
            raise _Problem(403, f"{who.subject} is in no group that may look at this approval")
        return shown

    async def _decide(
        self, request: Request, who: Approver, decision: Literal["approve", "deny", "revoke"]
    ) -> Response:
        asked = await _body(request, _Decision)
        id = request.path_params["id"]
        try:
            id = self._admin.approval(id).approval.id
        except DecisionError as error:
            if error.code != "not_found" or len(id) != 36:  # a whole id: the recorder puts the attempt on record
                raise
        answer = await self._admin.decide(id, decision, who, asked.reason)
        return _answer({"id": answer.id, "state": answer.state})


async def _body[T](request: Request, shape: type[T]) -> T:
    """The request's JSON. Browsers cannot send that type to another site without asking first."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _Problem(415, "send application/json")
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY:
            raise _Problem(413, f"more than {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Problem(400, f"not understood: {error}") from None


def _answer(content: dict[str, Any], status: int = 200) -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="onrecord"'
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")
