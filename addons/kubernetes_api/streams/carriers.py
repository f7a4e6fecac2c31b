"""What carries a stream's bytes between two hops: a WebSocket, or the bare connection after an upgrade to SPDY/3.1.

No I/O: bytes in, pieces out. Each hop answers its own pings; what a peer says when it closes goes no further than the
reason, which is ours to tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import wsproto.events as ws
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.utilities import ProtocolError

from onrecord.addons.kubernetes_api.streams.errors import StreamError

_BROKEN = frozenset({1002, 1007, 1009})
MAX_REASON = 120  # bytes of a close frame's reason


class Piece(NamedTuple):
    """Payload; `whole` where it ends a message."""

    data: bytes
    whole: bool


class Reply(NamedTuple):
    """Bytes for the side that just sent: the answer to a ping or a close."""

    data: bytes


class Closed(NamedTuple):
    """The sender closes: with which code, 0 where the carrier has none."""

    code: int


Carried = Piece | Reply | Closed


class Carrier(Protocol):
    """Both sides of one upgraded connection."""

    def receive(self, data: bytes, *, from_client: bool) -> Iterator[Carried]: ...

    def send(self, payload: bytes, *, to_client: bool) -> bytes: ...

    def close(self, code: int, reason: str, *, to_client: bool) -> bytes: ...

    def ping(self, *, to_client: bool) -> bytes: ...


class BareCarrier:
    """The connection itself."""

    def receive(self, data: bytes, *, from_client: bool) -> Iterator[Carried]:  # noqa: ARG002
        """All of it is payload."""
        if data:
            yield Piece(data, True)

    def send(self, payload: bytes, *, to_client: bool) -> bytes:  # noqa: ARG002
        """As it is."""
        return payload

    def close(self, code: int, reason: str, *, to_client: bool) -> bytes:  # noqa: ARG002
        """There is nothing to say."""
        return b""

    def ping(self, *, to_client: bool) -> bytes:  # noqa: ARG002
        """It has none of its own."""
        return b""


class WebSocketCarrier:
    """A WebSocket on either side, without extensions. `text`: what is sent is text and not binary."""

    def __init__(self, *, text: bool) -> None:
        self._text = text
        self._sides = {
            True: Connection(ConnectionType.SERVER),
            False: Connection(ConnectionType.CLIENT),
        }

    def receive(self, data: bytes, *, from_client: bool) -> Iterator[Carried]:
        """Messages as they come, in parts where they are long. Raises StreamError."""
        side = self._sides[from_client]
        try:
            side.receive_data(data)
            for event in side.events():
                if isinstance(event, ws.Message):
                    # Kubernetes does not ask which of the two a message is, and clients in Python send text.
                    part = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                    yield Piece(part, event.message_finished)
                elif isinstance(event, ws.Ping):
                    yield Reply(side.send(event.response()))
                elif isinstance(event, ws.CloseConnection):
                    if event.code in _BROKEN:  # wsproto reports bytes that it cannot read in this way
                        raise StreamError(f"a WebSocket that breaks its protocol ({int(event.code)})")
                    yield Closed(int(event.code))
                    return
                elif not isinstance(event, ws.Pong):
                    raise StreamError("a WebSocket frame of a kind that is not known")
        except ProtocolError:
            raise StreamError("bytes that are no WebSocket frame") from None

    def send(self, payload: bytes, *, to_client: bool) -> bytes:
        """`payload` as one message."""
        message: ws.Event = ws.TextMessage(payload.decode("ascii")) if self._text else ws.BytesMessage(payload)
        side = self._sides[to_client]
        return side.send(message) if side.state is ConnectionState.OPEN else b""

    def close(self, code: int, reason: str, *, to_client: bool) -> bytes:
        """A close frame, or the answer to the peer's; empty where that side is closed. Only a client reads a reason."""
        side = self._sides[to_client]
        if side.state not in {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}:
            return b""
        text = reason.encode()[:MAX_REASON].decode("utf-8", "ignore") if to_client else ""
        if code not in range(1000, 5000) or code in (1004, 1005, 1006, 1015):
            code = 1000
        return side.send(ws.CloseConnection(code=code, reason=text or None))

    def ping(self, *, to_client: bool) -> bytes:
        """An empty one; empty where that side is closed."""
        side = self._sides[to_client]
        return side.send(ws.Ping()) if side.state is ConnectionState.OPEN else b""
