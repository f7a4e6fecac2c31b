"""Kubernetes as a dialect of HTTP: a request is a KubeCommand, a refusal a Status, an answer an object to be masked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from mitmproxy import http

from onrecord.addons.body_masks import BodyMask
from onrecord.addons.credentials import Credential
from onrecord.addons.dialect import Asked, Dialect
from onrecord.addons.exchange import Exchange
from onrecord.addons.http_head import HeadError
from onrecord.addons.kubernetes_api.accept import narrowed
from onrecord.addons.kubernetes_api.answers import DocumentMask, LogMask, WatchMask
from onrecord.addons.kubernetes_api.body import KubeBody, read_body
from onrecord.addons.kubernetes_api.credentials import ClusterCredential
from onrecord.addons.kubernetes_api.env_values import holds_masked_env, reveals_env
from onrecord.addons.kubernetes_api.fallback import Refusals
from onrecord.addons.kubernetes_api.handed_out import HandedOut, holds_mask
from onrecord.addons.kubernetes_api.impersonation import attempts, impersonation, stripped
from onrecord.addons.kubernetes_api.masking import ObjectMask
from onrecord.addons.kubernetes_api.preview import Previews
from onrecord.addons.kubernetes_api.request import KubeRequest, KubeRequestError, read_request
from onrecord.addons.kubernetes_api.secret_values import mask_secrets, reveals_secrets, without_secrets
from onrecord.addons.kubernetes_api.status import status
from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.protocols import Opening, check_chosen
from onrecord.addons.kubernetes_api.text import kubectl_line
from onrecord.addons.kubernetes_api.upgrades import OFFERS, read_upgrade, upgrade_fields
from onrecord.addons.response_masks import ResponseMasks
from onrecord.policies.config import KubernetesResource
from onrecord.policies.kubernetes import admin_reasons
from onrecord.policies.model import Action, KubeCommand
from onrecord.policies.secrets import Secrets
from onrecord.policies.verdict import Deny, Ruling
from onrecord.recordings.auditor import Decision
from onrecord.recordings.decision import Approved

MASK_POLICY = "onrecord:masking"
_READS = frozenset({"get", "list", "watch"})
# POST that only asks a question, and that answers about the agent or another subject.
_QUESTIONS = frozenset(
    {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews", "localsubjectaccessreviews",
     "selfsubjectreviews"}
)  # fmt: skip
_RUNS_CODE = frozenset({"exec", "attach", "portforward", "ephemeralcontainers"})
# Objects without variables, of which there are many: their answers need not be looked through.
_NO_ENV = frozenset({"configmaps", "endpoints", "endpointslices", "events", "leases", "namespaces", "nodes"})
_TOKENS = frozenset({"serviceaccounts/token", "tokenreviews"})
_DROPPED = frozenset({b"audit-id", b"cookie", b"x-remote-uid", b"accept", b"range", b"if-range"})
_encode = msgspec.json.Encoder().encode


class Kubernetes(Dialect):
    """One cluster's. `credential` is the same object that puts the token into requests."""

    def __init__(self, config: KubernetesResource, secrets: Secrets, masks: ResponseMasks) -> None:
        self._config, self._masks, self._secrets = config, masks, secrets
        self.cluster = ClusterCredential(config, secrets)
        self._handed_out = HandedOut()
        self._refusals = Refusals()

    def credential(self) -> Credential:
        """What puts the gateway's token into requests and keeps it out of answers."""
        return self.cluster

    # --- the request

    def ask(self, exchange: Exchange, body: bytes | None, _action: Action | None, /) -> Asked:
        head = exchange.head
        impersonation(self._config, exchange.opened.session)  # a name that cannot be told is refused here
        try:
            request = read_request(exchange.method, exchange.target, self._config.prefix)
            if head.content_encoding not in ("", "identity"):
                raise KubeRequestError("the API server reads no compressed bodies", "send it plain", 415)
            if body is None and request.method in ("GET", "HEAD"):
                raise KubeRequestError("a body with a request that only reads")
            parsed = self._body(request, head.content_type, body)
            request = replace(request, dry_run=_is_dry_run(request, parsed))
        except KubeRequestError as error:
            raise HeadError(error.status, error.reason, error.hint) from None
        command = self._command(exchange, request, parsed, seen=body is not None or request.verb in _READS)
        exchange.request = request
        if exchange.opened.preview is None:
            exchange.opened.preview = Previews(self._config, self.cluster, self._secrets, exchange.route.host).of
        if parsed.content_type:
            kind = (b"Content-Type", parsed.content_type.encode())
            head.fields[:] = [kind if field[0].lower() == b"content-type" else field for field in head.fields]
        return Asked(command, self._detail(command), self._own_ruling(exchange, request, parsed), parsed.raw)

    def _body(self, request: KubeRequest, content_type: str, body: bytes | None) -> KubeBody:
        if body is None or request.is_proxy:
            return KubeBody()
        return read_body(request.method, content_type, body)

    def _command(self, exchange: Exchange, request: KubeRequest, parsed: KubeBody, *, seen: bool) -> KubeCommand:
        reasons = admin_reasons(
            request.verb,
            request.resource,
            request.subresource,
            namespace=request.namespace,
            name=request.name,
            body=parsed.value,
            patch_type=parsed.patch_type,
            seen=seen,
        )
        if request.is_of_the_server:
            reasons = (*reasons, "shows or changes the API server itself")
        action = _action(request, reasons, seen=seen)
        argv = request.values("command") if request.subresource == "exec" else ()
        name = request.name or _name_of(parsed.value)
        return KubeCommand(
            session=exchange.opened.session,
            action=action,
            also_admin=action == "unknown" and bool(reasons),
            text=kubectl_line(request, patch_type=parsed.patch_type, name=name, argv=argv),
            verb=request.verb,
            group=request.group,
            version=request.version,
            resource=request.resource,
            subresource=request.subresource,
            namespace=request.namespace,
            name=name,
            body=parsed.value,
            argv=argv,
            dry_run=request.dry_run,
            labels=_labels_of(parsed.value),
            container=request.value("container"),
            patch_type=parsed.patch_type,
            field_manager=request.value("fieldManager"),
            method=request.method,
            path=request.path,
            query=request.query,
            admin_because=reasons,
            reads_secrets=_reads_secrets(request),
            impersonation=attempts(exchange.head.fields),
        )

    def _detail(self, command: KubeCommand) -> bytes:
        """The detail without values of Secrets, and without tokens that are asked about."""
        detail = command.detail()
        body = command.body
        if body is not None:
            both = f"{command.resource}/{command.subresource}".rstrip("/")
            if command.resource == "secrets" and not command.group:
                body = mask_secrets(body, {}, mark=False)
            detail["body"] = "[redacted]" if both in _TOKENS else without_secrets(body)
        return _encode(detail)

    def _own_ruling(self, exchange: Exchange, request: KubeRequest, parsed: KubeBody) -> Ruling | None:
        exchange.opening, ruling = read_upgrade(request, exchange.head)
        if ruling is None and exchange.head.spdy:
            ruling = self._refusals.find(exchange.opened.session, exchange.target)
        if ruling is not None:
            return ruling
        if self._hides_secrets(request) and parsed.patch_type == "json" and reveals_secrets(parsed.value):
            reason = "a JSON patch that copies, moves or tests values of a Secret would show them"
            return Ruling(Deny(reason, "set the value itself, with add or replace"), MASK_POLICY)
        if self._config.secrets == "mask" and parsed.patch_type == "json" and reveals_env(parsed.value):
            reason = "a JSON patch that renames a variable, or copies or tests its value, would show it"
            return Ruling(Deny(reason, "set the whole variable, with name and value"), MASK_POLICY)
        writes = parsed.value is not None and request.verb in ("create", "update", "patch")
        if writes and self._holds_mask(exchange, request, parsed.value):
            reason = "the object holds masked values; writing it would replace the real ones with the mask"
            hint = "change only the fields that you mean, with kubectl patch, edit, label or set"
            return Ruling(Deny(reason, hint), MASK_POLICY)
        return None

    def _holds_mask(self, exchange: Exchange, request: KubeRequest, body: Any) -> bool:
        if self._hides_secrets(request) or self._masks.of(exchange) is not None:
            return holds_mask(body, self._handed_out)
        return self._config.secrets == "mask" and holds_masked_env(body)

    def _hides_secrets(self, request: KubeRequest) -> bool:
        return self._config.secrets == "mask" and _is_secrets(request)

    def refused(self, exchange: Exchange, decision: Decision, /) -> None:
        if isinstance(exchange.opening, Opening) and exchange.opening.carrier == "websocket":
            self._refusals.add(exchange.opened.session, exchange.target, decision.ruling)

    @property
    def must_prepare(self) -> bool:
        return not self.cluster.is_fresh

    async def prepare(self) -> None:
        await self.cluster.prepare()

    def request_fields(self, exchange: Exchange, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        request = _request_of(exchange)
        accept = ",".join(v.decode("latin-1") for n, v in fields if n.lower() == b"accept")
        kept = [field for field in stripped(fields) if field[0].lower().replace(b"_", b"-") not in _DROPPED]
        if isinstance(exchange.opening, Opening):
            kept = upgrade_fields(exchange.opening, kept)
        kept.append((b"Accept", narrowed(request, accept).encode("latin-1")))
        if exchange.decision is not None:
            kept.append((b"Audit-ID", exchange.decision.id.encode()))  # the cluster's audit log names our record
        return kept + impersonation(self._config, exchange.opened.session)

    def target(self, exchange: Exchange) -> bytes:
        target = exchange.target.removeprefix(self._config.prefix) if self._config.prefix else exchange.target
        return (self._config.upstream_prefix + target).encode("ascii", "surrogateescape")

    # --- the answer

    def switched(
        self, exchange: Exchange, response: http.Response, fields: list[tuple[bytes, bytes]], /
    ) -> list[tuple[bytes, bytes]]:
        opening = exchange.opening
        if not isinstance(opening, Opening):
            raise ValueError("an upgrade nobody asked for")  # noqa: TRY004  as plain HTTP has it
        name = OFFERS[opening.carrier]
        chosen = [value.decode("latin-1").strip() for n, value in fields if n.lower() == name]
        upgrade = response.headers.get("upgrade", "")
        try:
            exchange.subprotocol = check_chosen(opening, upgrade, chosen[0] if len(chosen) == 1 else None)
        except StreamError as error:
            raise ValueError(str(error)) from None
        dropped = (*OFFERS.values(), b"sec-websocket-extensions")
        kept = [(n, v) for n, v in fields if n.lower() not in dropped]
        title = b"Sec-WebSocket-Protocol" if opening.carrier == "websocket" else b"X-Stream-Protocol-Version"
        switched_to = b"websocket" if opening.carrier == "websocket" else b"SPDY/3.1"
        kept.append((title, exchange.subprotocol.encode()))
        return [*kept, (b"Connection", b"Upgrade"), (b"Upgrade", switched_to)]

    def mask(self, exchange: Exchange, response: http.Response, masks: ResponseMasks) -> BodyMask | None:
        request = _request_of(exchange)
        if request.is_proxy:
            return masks.body(exchange, response)
        if response.status_code == 206:
            raise ValueError("the API server sent a part of an answer")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
            raise ValueError("the API server's answer has a content coding that was not asked for")
        if request.is_schema and kind != "application/json":
            return None  # schemas: no objects in them
        configured = masks.of(exchange)
        if kind == "application/json":
            hides = self._hides_secrets(request)
            env = self._config.secrets == "mask" and bool(request.resource) and request.resource not in _NO_ENV
            failed = response.status_code >= 300 and (configured is not None or self._config.secrets == "mask")
            if configured is None and not hides and not env and not failed:
                return None
            mask = ObjectMask(configured, self._handed_out, secrets=hides, env=env, failed=failed)
            is_watch = request.is_watch and response.status_code < 300
            return WatchMask(mask) if is_watch else DocumentMask(mask)
        if self._hides_secrets(request):
            raise ValueError("the API server's answer about Secrets is no JSON")
        if kind.startswith("text/") or (not kind and request.subresource == "log"):
            cut = bool(request.value("limitBytes"))
            return LogMask(configured, cut=cut) if configured is not None else None
        raise ValueError(f"the API server's answer is of a type that was not asked for: {kind[:80] or 'none'}")

    def keeps_answer(self, exchange: Exchange) -> bool:
        """Whether the delivered body may stand on record: values of Secrets never do."""
        request = _request_of(exchange)
        both = f"{request.resource}/{request.subresource}".rstrip("/")
        return not (self._config.secrets == "show" and _is_secrets(request)) and both not in _TOKENS

    def refusal(
        self,
        code: int,
        *,
        policy: str,
        reason: str,
        hint: str = "",
        record: str = "",
        detail: str = "",
        head: bool = False,
        approval: Approved | None = None,
    ) -> http.Response:
        return status(
            code,
            policy=policy,
            reason=reason,
            hint=hint,
            record=record,
            detail=detail,
            head=head,
            approval=approval,
        )


def _request_of(exchange: Exchange) -> KubeRequest:
    request = exchange.request
    if not isinstance(request, KubeRequest):
        raise TypeError("an exchange with a cluster before its request was read")
    return request


def _action(request: KubeRequest, reasons: tuple[str, ...], *, seen: bool) -> Action:
    if not request.resource:
        if request.is_of_the_server:
            return "admin"
        return "read" if request.is_known_outside else "unknown"
    if not seen or (request.tail and not request.is_proxy):
        return "unknown"
    if reasons:
        return "admin"
    if request.subresource in _RUNS_CODE:
        return "write"
    if request.verb in _READS:
        return "read"
    if request.verb == "create" and request.group == "authorization.k8s.io" and request.resource in _QUESTIONS:
        return "read"
    if request.verb == "create" and request.group == "authentication.k8s.io" and request.resource in _QUESTIONS:
        return "read"
    return "write"


def _is_secrets(request: KubeRequest) -> bool:
    return request.resource == "secrets" and not request.group


def _reads_secrets(request: KubeRequest) -> bool:
    return _is_secrets(request) and request.verb in _READS


def _is_dry_run(request: KubeRequest, parsed: KubeBody) -> bool:
    """What the API server takes for a dry run: of a delete with a body only the body counts (DeleteOptions).

    Raises KubeRequestError where the query says something else than the body.
    """
    if request.verb in ("delete", "deletecollection") and isinstance(parsed.value, dict):
        found = bool(parsed.value.get("dryRun") == ["All"])
        if request.dry_run and not found:
            raise KubeRequestError(
                "dryRun in the query of a delete with a body, where the API server does not read it",
                'write "dryRun": ["All"] into the body',
            )
        return found
    return request.dry_run


def _name_of(body: Any) -> str:
    metadata = body.get("metadata") if isinstance(body, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _labels_of(body: Any) -> tuple[tuple[str, str], ...]:
    metadata = body.get("metadata") if isinstance(body, dict) else None
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if not isinstance(labels, dict):
        return ()
    return tuple((str(key), "" if value is None else str(value)) for key, value in labels.items())
