"""What a protocol on top of HTTP does otherwise: how a request reads as a command, how a refusal looks, what is masked.

The machinery (identity, routes, bounds, streams, records) is the same for all: http_audit.py and http_response.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onrecord.addons.http_command import build_command, check_form
from onrecord.addons.http_head import HeadError
from onrecord.addons.problem import problem
from onrecord.policies.model import Action, Command
from onrecord.policies.verdict import Ruling
from onrecord.recordings.approvals.bound import Bound
from onrecord.recordings.decision import Approved

if TYPE_CHECKING:
    from mitmproxy import http

    from onrecord.addons.body_masks import BodyMask
    from onrecord.addons.exchange import Exchange
    from onrecord.addons.response_masks import ResponseMasks
    from onrecord.recordings.auditor import Decision


class Asked(NamedTuple):
    """A request as a command.

    `detail` is its detail as JSON, `extra` one more ruling, `body` what goes upstream instead of the body that came.
    `bound` is what an approval of it binds to, where it is not what holds for all of HTTP.
    """

    command: Command
    detail: bytes
    extra: Ruling | None = None
    body: bytes | None = None
    bound: Bound | None = None


class Dialect:
    """Plain HTTP."""

    def ask(self, exchange: Exchange, body: bytes | None, action: Action | None, /) -> Asked:
        """The command. `body` is None where it is streamed. Raises HeadError for what is refused."""
        route, head = exchange.route, exchange.head
        if head.spdy:
            raise HeadError(400, "an upgrade to 'spdy/3.1' is not supported", "only websocket is")
        if body:
            check_form(head.content_type, body)
        command, detail = build_command(
            exchange.opened.session,
            method=exchange.method,
            scheme=route.scheme,
            host=route.host,
            port=route.port,
            target=exchange.target,
            fields=head.fields,
            content_type=head.content_type,
            body=body,
            action=action,
        )
        return Asked(command, detail)

    def refused(self, exchange: Exchange, decision: Decision, /) -> None:
        """The command of `exchange` was refused."""

    async def prepare(self) -> None:
        """Anything that must be waited for before the request is forwarded. Raises SecretError."""

    @property
    def must_prepare(self) -> bool:
        """Whether `prepare` has something to wait for."""
        return False

    def request_fields(self, _exchange: Exchange, fields: list[tuple[bytes, bytes]], /) -> list[tuple[bytes, bytes]]:
        """The header fields that go upstream, the credential already in them."""
        return fields

    def target(self, exchange: Exchange) -> bytes:
        """The path and query that go upstream."""
        return exchange.target.encode("ascii", "surrogateescape")

    def switched(
        self, exchange: Exchange, _response: http.Response, fields: list[tuple[bytes, bytes]], /
    ) -> list[tuple[bytes, bytes]]:
        """The header fields of a 101, without those of the hop. Raises ValueError for a switch nobody asked for."""
        if not exchange.head.websocket:
            raise ValueError("an upgrade nobody asked for")
        kept = [(n, v) for n, v in fields if n.lower() != b"sec-websocket-extensions"]
        return [*kept, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]

    def mask(self, exchange: Exchange, response: http.Response, masks: ResponseMasks) -> BodyMask | None:
        """What masks the body of an answer. Raises ValueError for one that cannot be read."""
        return masks.body(exchange, response)

    def keeps_answer(self, _exchange: Exchange, /) -> bool:
        """Whether the body that is delivered may stand on record; else its size and digest do."""
        return True

    def refusal(
        self,
        status: int,
        *,
        policy: str,
        reason: str,
        hint: str = "",
        record: str = "",
        detail: str = "",
        head: bool = False,
        approval: Approved | None = None,
    ) -> http.Response:
        """The answer to a refused request."""
        return problem(
            status,
            policy=policy,
            reason=reason,
            hint=hint,
            record=record,
            detail=detail,
            head=head,
            approval=approval,
        )


PLAIN = Dialect()
