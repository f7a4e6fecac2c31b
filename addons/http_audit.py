"""Requests: examined, decided and recorded before a byte goes upstream. Responses: http_response.py."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable
from functools import partial

from mitmproxy import http

from onrecord.addons.credentials import Credential
from onrecord.addons.decoding import CodingError, decode_body
from onrecord.addons.dialect import PLAIN, Dialect
from onrecord.addons.early_answer import LIMIT, answer, has_left, is_answered
from onrecord.addons.egress import Destinations, RefusedDestinationError, Route
from onrecord.addons.exchange import KEY, Exchange, exchange_of
from onrecord.addons.http_head import Head, HeadError, check_opening, check_request_line, read_head
from onrecord.addons.kubernetes_api.audit import Kubernetes
from onrecord.addons.peers import Peer, Peers, protocol_of
from onrecord.addons.problem import refusal_status
from onrecord.addons.proxy_identity import NotAuthenticatedError, ProxyIdentity
from onrecord.addons.request_route import bracket, find_route
from onrecord.addons.response_masks import ResponseMasks
from onrecord.addons.streams import GrpcFrames, Stream
from onrecord.addons.strict_dispatch import POLICY as FAULT
from onrecord.addons.strict_dispatch import place_of
from onrecord.addons.upstream_address import pin
from onrecord.addons.waiting import decided
from onrecord.policies.config import KubernetesResource
from onrecord.policies.errors import SecretError
from onrecord.policies.model import Action
from onrecord.policies.secrets import Secrets
from onrecord.recordings.approvals.bound import DATA, Bound
from onrecord.recordings.auditor import Auditor, Decision, RefusedError
from onrecord.recordings.decision import Approved
from onrecord.recordings.records import RefusalRecord

log = logging.getLogger(__name__)

PROTOCOL = "onrecord:protocol"
IDENTITY = b"identity"
_UNBOUND = (DATA, "credentials that the client itself sends")
_STREAMED = (*_UNBOUND, "the body, which is passed on as it comes")


class HttpRequests:
    """The request half of the audit: `requestheaders`, `body_over_bound`, `request`, `error`."""

    def __init__(
        self,
        peers: Peers,
        destinations: Destinations,
        identity: ProxyIdentity,
        auditor: Auditor,
        secrets: Secrets,
        masks: ResponseMasks,
        *,
        body_limit: int,
    ) -> None:
        self._peers, self._destinations, self._identity = peers, destinations, identity
        self._auditor, self._secrets, self._masks = auditor, secrets, masks
        self._limit = body_limit
        self._credentials: dict[str, Credential] = {}
        self._clusters: dict[str, Kubernetes] = {}

    def dialect(self, route: Route | None) -> Dialect:
        """How requests to a resource are read and refused."""
        config = route.config if route is not None else None
        if not isinstance(config, KubernetesResource):
            return PLAIN
        found = self._clusters.get(config.name)
        if found is None:
            found = self._clusters[config.name] = Kubernetes(config, self._secrets, self._masks)
        return found

    def credential(self, route: Route) -> Credential | None:
        """The gateway's credential for a resource; None for egress."""
        if route.config is None:
            return None
        name = route.resource.name
        if isinstance(route.config, KubernetesResource):
            dialect = self.dialect(route)
            return dialect.credential() if isinstance(dialect, Kubernetes) else None
        found = self._credentials.get(name)
        if found is None:
            found = self._credentials[name] = Credential(route.config, self._secrets)
        return found

    # --- hooks

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """The head is complete: find who asks for what, refuse what has two meanings, choose how to take the body."""
        peer = self._peers.get(flow.client_conn.id)
        if peer is None:
            raise RuntimeError("a request without a connection")
        self._peers.head_done(peer)
        if flow.error is not None:
            return None  # mitmproxy found it malformed: it answers 400 itself, `error` records it
        try:
            head = read_head(flow.request.headers.fields)
            check_request_line(flow.request.data.method, flow.request.data.path, flow.request.data.http_version)
            check_opening(head, flow.request.data.method, flow.request.data.http_version)
            if flow.request.data.scheme == b"https" and peer.tunnel is None:
                raise HeadError(400, "an https:// request outside of a tunnel", "use CONNECT")
        except HeadError as error:
            if peer.identity is None:  # who is unknown learns nothing but that
                return self._identify_then(flow, peer, None, error)
            self._refuse(flow, peer, error.status, PROTOCOL, error.reason, error.hint)
            return None
        if peer.tunnel is None or peer.identity is None or peer.inside:
            return self._identify_then(flow, peer, head, None)
        if head.proxy_authorization is not None and not self._check_inside(flow, peer, head.proxy_authorization):
            return None
        return self._begin(flow, peer, head)

    def body_over_bound(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """A body of unknown length has outgrown the bound: it is decided without its body, then streamed."""
        exchange = exchange_of(flow)
        if exchange is None:
            raise RuntimeError("a body without its head")
        exchange.body_done()
        return self._decide(flow, exchange, None, "unknown", stream=True)

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """The whole request is there (or has been streamed)."""
        exchange = exchange_of(flow)
        if exchange is None:
            raise RuntimeError("a request without its head")
        exchange.body_done()
        flow.request.trailers = None  # nobody has decided on them
        if exchange.up is not None:
            return None
        raw = flow.request.data.content or b""
        exchange.to_upstream = len(raw)
        head, body = exchange.head, raw
        action: Action | None = "write" if head.websocket else None
        if head.content_encoding and raw:
            try:
                body = decode_body(raw, head.content_encoding, self._limit)
            except CodingError as error:
                self._refuse(flow, exchange.peer, 415, PROTOCOL, str(error))
                return None
        return self._decide(flow, exchange, body, action, stream=False)

    def error(self, flow: http.HTTPFlow) -> None:
        """Something ended the flow: say so on record."""
        exchange = exchange_of(flow)
        message = flow.error.msg if flow.error is not None else "unknown"
        if exchange is None:
            peer = self._peers.get(flow.client_conn.id)
            if peer is not None and peer.identity is not None:
                self._record(flow, peer, PROTOCOL, "malformed request", message[:500], "")
            else:
                self._peers.note(flow.client_conn.id, "malformed request", message[:500])
            return
        exchange.body_done()
        decision = exchange.decision
        if decision is None and not exchange.peer.blocked:
            self._record(flow, exchange.peer, PROTOCOL, "a request body that did not come whole", message[:500], "")
        if decision is None or not decision.allowed or exchange.finished:
            return
        exchange.finished = True
        self._auditor.abort(decision, message[:500])
        if flow.client_conn.connected and (flow.response is None or not flow.response.stream):
            reason = "the upstream gave no answer that can be delivered"
            self._answer(flow, 502, "onrecord:gateway", reason, "see the record", decision.id)

    # --- who and where

    async def _identify_then(self, flow: http.HTTPFlow, peer: Peer, head: Head | None, error: HeadError | None) -> None:
        value = flow.request.headers.get("authorization" if peer.inside else "proxy-authorization")
        try:
            identity = await self._identity.identify(
                peer, value.encode("utf-8", "surrogateescape") if value else None, _text(flow)
            )
        except NotAuthenticatedError as refused:
            status = 401 if peer.inside and refused.status == 407 else refused.status
            self._answer(flow, status, "onrecord:identity", str(refused), refused.hint, refused.record)
            return
        if peer.inside and peer.tunnel is not None:  # opened before anyone was known
            try:
                self._destinations.find(peer.tunnel.host, peer.tunnel.port, "https", identity)
            except RefusedDestinationError as refused:
                self._refuse(flow, peer, 403, refused.policy, refused.reason, refused.hint, refused.resource)
                return
        if error is not None or head is None:
            reason = error or HeadError(400, "no head")
            self._refuse(flow, peer, reason.status, PROTOCOL, reason.reason, reason.hint)
            return
        pending = self._begin(flow, peer, head)
        if pending is not None:
            await pending

    def _check_inside(self, flow: http.HTTPFlow, peer: Peer, value: bytes) -> bool:
        try:
            self._identity.check_inside(peer, value, _text(flow))
        except NotAuthenticatedError as refused:
            self._answer(flow, refused.status, "onrecord:identity", str(refused), refused.hint, refused.record)
            return False
        return True

    def _begin(self, flow: http.HTTPFlow, peer: Peer, head: Head) -> Awaitable[None] | None:
        try:
            route = find_route(flow, peer, head, self._destinations)
            opened = self._peers.session(peer, route, self._auditor)
        except HeadError as error:
            self._refuse(flow, peer, error.status, PROTOCOL, error.reason, error.hint)
            return None
        except RefusedDestinationError as error:
            self._refuse(flow, peer, 403, error.policy, error.reason, error.hint, error.resource)
            return None
        except RefusedError as error:
            reason = getattr(error.ruling.verdict, "reason", "refused")
            status = refusal_status(error.ruling.policy)
            self._answer(flow, status, error.ruling.policy, reason, "", error.record)
            return None
        request = flow.request.data
        exchange = Exchange(
            peer, route, opened, head, request.method.decode(), request.path.decode("ascii", "surrogateescape")
        )
        exchange.dialect = self.dialect(route)
        flow.metadata[KEY] = exchange
        self._masks.guard_records(exchange)
        if head.grpc and request.http_version == b"HTTP/2.0":
            return self._decide(flow, exchange, None, "write", stream=True)
        if head.content_length is not None and head.content_length > self._limit:
            return self._decide(flow, exchange, None, "unknown", stream=True)
        flow.metadata[LIMIT] = self._limit
        if head.chunked or head.content_length or request.http_version == b"HTTP/2.0":
            exchange.body_timer = self._peers.expect_body(peer, head.content_length or self._limit)
        return None

    # --- the decision

    def _decide(
        self, flow: http.HTTPFlow, exchange: Exchange, body: bytes | None, action: Action | None, *, stream: bool
    ) -> Awaitable[None] | None:
        try:
            asked = exchange.dialect.ask(exchange, body, action)
        except HeadError as error:
            self._refuse(flow, exchange.peer, error.status, PROTOCOL, error.reason, error.hint)
            return None
        except Exception as error:  # noqa: BLE001  a request that nobody could read is a refusal like any other
            log.error("a request could not be read: %s at %s", type(error).__name__, place_of(error))  # noqa: TRY400
            self._refuse(flow, exchange.peer, 503, FAULT, "the gateway failed while it read this request")
            return None
        if asked.body is not None:
            flow.request.data.content = asked.body
            exchange.to_upstream = len(asked.body)
        bound = asked.bound or partial(_bound, exchange, body, stream=stream)
        decision = self._auditor.submit(
            exchange.opened, asked.command, detail=asked.detail, extra=asked.extra, bound=bound
        )
        if isinstance(decision, Decision):
            return self._settle(flow, exchange, decision, stream=stream)
        return self._settle_later(flow, exchange, decision, stream=stream)

    async def _settle_later(
        self, flow: http.HTTPFlow, exchange: Exchange, pending: Awaitable[Decision], *, stream: bool
    ) -> None:
        """Wait as long as the client does: a human may have to decide."""
        decision = await decided(flow, pending)
        if decision is None:
            reason = "the client left while the request waited for approval"
            self._answer(flow, 403, "onrecord:approval", reason, "", "")  # nobody reads it; nothing is forwarded
            return
        more = self._settle(flow, exchange, decision, stream=stream)
        if more is not None:
            await more

    def _settle(
        self, flow: http.HTTPFlow, exchange: Exchange, decision: Decision, *, stream: bool
    ) -> Awaitable[None] | None:
        exchange.decision = decision
        if not decision.allowed:
            verdict = decision.ruling.verdict
            reason, hint = getattr(verdict, "reason", "refused"), getattr(verdict, "hint", "")
            policy = decision.ruling.policy
            exchange.dialect.refused(exchange, decision)
            self._answer(
                flow,
                refusal_status(policy),
                policy,
                reason,
                hint,
                decision.id,
                detail=decision.message,
                approval=decision.approval,
            )
            return None
        if decision.approval is not None and has_left(flow):
            self._abort(flow, exchange, "the client left before the approved request was sent")
            return None
        if exchange.peer.blocked:
            self._abort(flow, exchange, exchange.peer.blocked)
            return None
        route = exchange.route
        key = (route.upstream_host, route.upstream_port)
        address = exchange.peer.pinned.get(key)
        is_known = (
            address is not None
            and exchange.peer.upstreams.get((*address, route.upstream_scheme == "https")) is route
            and not exchange.dialect.must_prepare
        )
        if is_known and address is not None:
            self._forward(flow, exchange, address, stream=stream)
            return None
        return self._forward_later(flow, exchange, stream=stream)

    async def _forward_later(self, flow: http.HTTPFlow, exchange: Exchange, *, stream: bool) -> None:
        try:
            await exchange.dialect.prepare()
            address = await pin(exchange.peer, exchange.route, self._destinations)
        except SecretError as error:
            log.error("%s", error)  # noqa: TRY400  its place is known
            self._abort(flow, exchange, "the gateway has no credential for this resource")
            return
        except RefusedDestinationError as error:
            self._abort(flow, exchange, error.reason)
            self._refuse(flow, exchange.peer, 403, error.policy, error.reason, error.hint, exchange.route.resource.name)
            return
        except OSError as error:
            log.warning("%s does not resolve: %s", exchange.route.upstream_host, type(error).__name__)
            self._abort(flow, exchange, f"{exchange.route.upstream_host} does not resolve")
            return
        self._forward(flow, exchange, address, stream=stream)

    def _forward(self, flow: http.HTTPFlow, exchange: Exchange, address: tuple[str, int], *, stream: bool) -> None:
        """Turn the request into what goes upstream: the gateway's credential, the pinned address, one framing."""
        request, route, head = flow.request.data, exchange.route, exchange.head
        fields = head.fields
        credential = self.credential(route)
        if credential is not None:
            fields = credential.apply(fields)
        fields = self._masks.request_fields(exchange, fields)
        fields = exchange.dialect.request_fields(exchange, fields)
        is_http2 = request.http_version == b"HTTP/2.0"
        default = 443 if route.scheme == "https" else 80
        name = bracket(route.host) if route.port == default else f"{bracket(route.host)}:{route.port}"
        host = name.encode()
        fields = [(n, v) for n, v in fields if n.lower() != b"host"]
        if not is_http2:
            fields.insert(0, (b"Host", host))
        fields.append((b"accept-encoding", IDENTITY))
        framed = head.content_length is not None or head.chunked
        if not stream and head.content_length is not None and head.content_length != len(request.content or b""):
            fields = [(n, v) for n, v in fields if n.lower() != b"content-length"]
            framed = False
        if not framed and not stream and (request.content or exchange.method in ("POST", "PUT", "PATCH")):
            fields.append((b"content-length", str(len(request.content or b"")).encode()))
        request.headers = http.Headers(fields)
        request.path = exchange.dialect.target(exchange)
        request.authority = host if is_http2 else b""
        request.host, request.port = address
        request.scheme = route.upstream_scheme.encode()
        if stream:
            self._stream(flow, exchange)

    def _stream(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        def fail(reason: str) -> None:
            self._peers.kill(exchange.peer.id, reason)

        exchange.up = Stream(
            exchange,
            self._auditor,
            "to_upstream",
            limit=self._limit,
            expected=exchange.head.content_length,
            on_end=lambda: None,
            on_failure=fail,
            check=GrpcFrames() if exchange.head.grpc else None,
        )
        flow.request.stream = exchange.up

    # --- refusals

    def _abort(self, flow: http.HTTPFlow, exchange: Exchange, reason: str) -> None:
        if exchange.decision is not None and not exchange.finished:
            exchange.finished = True
            self._auditor.abort(exchange.decision, reason)
        if not is_answered(flow):
            record = exchange.decision.id if exchange.decision is not None else ""
            self._answer(flow, 502, "onrecord:gateway", reason, "", record)

    def _refuse(
        self, flow: http.HTTPFlow, peer: Peer, status: int, policy: str, reason: str, hint: str = "", resource: str = ""
    ) -> None:
        record = self._record(flow, peer, policy, reason, "", resource)
        self._answer(flow, status, policy, reason, hint, record)

    def _record(self, flow: http.HTTPFlow, peer: Peer, policy: str, reason: str, detail: str, resource: str) -> str:
        return self._auditor.refuse(
            RefusalRecord(
                what=policy,
                reason=reason[:1000],
                protocol=protocol_of(peer.tunnel),
                client=peer.client,
                text=_text(flow),
                detail=detail,
                resource=resource or (peer.tunnel.resource.name if peer.tunnel is not None else ""),
                identity=peer.identity,
            )
        )

    def _answer(
        self,
        flow: http.HTTPFlow,
        status: int,
        policy: str,
        reason: str,
        hint: str,
        record: str,
        *,
        detail: str = "",
        approval: Approved | None = None,
    ) -> None:
        is_head = flow.request.data.method == b"HEAD"
        peer = self._peers.get(flow.client_conn.id)
        dialect = self.dialect(peer.tunnel if peer is not None and status != 407 else None)
        answer(
            flow,
            dialect.refusal(
                status,
                policy=policy,
                reason=reason,
                hint=hint,
                record=record,
                detail=detail,
                head=is_head,
                approval=approval,
            ),
        )


def _bound(exchange: Exchange, body: bytes | None, *, stream: bool) -> Bound:
    """What an approval binds to: the request as it came, whatever of it its command tells."""
    head = [exchange.method, exchange.target, exchange.head.content_type]
    content = hashlib.sha256("\0".join(head).encode("utf-8", "surrogateescape") + b"\0" + (body or b"")).hexdigest()
    return Bound(
        exact=not stream,
        keep=True,
        rests_on=(("the request as it came", f"sha256:{content}"),),
        unbound=_STREAMED if stream else _UNBOUND,
    )


def _text(flow: http.HTTPFlow) -> str:
    """A refused request in one line, without its query."""
    request = flow.request.data
    method = request.method.decode("latin-1")[:32]
    scheme = request.scheme.decode("latin-1")[:8] or "http"
    path = request.path.decode("latin-1").partition("?")[0]
    return f"{method} {scheme}://{request.host}:{request.port}{path}"[:1000]
