"""The channels of a Kubernetes WebSocket: messages ↔ events. Pure.

The first byte of a message is its channel. exec and attach: 0 stdin, 1 stdout, 2 stderr, 3 error (the end's Status),
4 resize and, with v5, 255 (half-close: the byte behind it is the channel). port-forward: two channels a port, data and
error, whose first two bytes from the server are the port. In the base64 forms a message is text: a digit, then base64.

After k8s.io/apimachinery, pkg/util/remotecommand, and k8s.io/kubelet's streaming server.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.events import Data, Ended, Event, Kind, Opened, PortNamed

CLOSE = 255
MAX_WHOLE = 64 * 1024  # bytes of a message that has to be taken whole: error, resize, close
MAX_BASE64 = 1024 * 1024  # bytes of a message of the base64 forms
_KINDS: tuple[Kind, ...] = ("stdin", "stdout", "stderr", "error", "resize")
_FROM_CLIENT = frozenset({"stdin", "resize", "data"})


class ChannelWire:
    """One upgraded WebSocket. `ports`: those of a port-forward. Not to be used any more after a StreamError."""

    def __init__(self, protocol: str, ports: tuple[int, ...] | None = None) -> None:
        self._base64 = "base64" in protocol
        self._half_closes = protocol.startswith("v5")
        self._ports = ports
        self._inbox = {True: _Inbox(), False: _Inbox()}
        self._named: dict[int, bytes] = {}
        self._ended: set[tuple[bool, int]] = set()

    @property
    def is_text(self) -> bool:
        """Whether messages are text."""
        return self._base64

    def opening(self) -> Iterator[Event]:
        """The streams that are there from the beginning."""
        for index, port in enumerate(self._ports or ()):
            yield Opened(2 * index, "data", port, index)
            yield Opened(2 * index + 1, "error", port, index)

    def feed(self, data: bytes, *, from_client: bool, whole: bool = True) -> Iterator[Event]:
        """The events in a message, or a part of one (`whole` false: more of it follows). Raises StreamError."""
        inbox = self._inbox[from_client]
        if self._base64:
            inbox.held += data
            if len(inbox.held) > MAX_BASE64:
                raise StreamError(f"a message of more than {MAX_BASE64} bytes")
            if not whole:
                return
            data = _from_base64(bytes(inbox.held))
            inbox.held.clear()
        if inbox.channel is None:
            if not data:
                if whole:
                    raise StreamError("a message without a channel")
                return
            inbox.channel, data = data[0], data[1:]
            self._kind(inbox.channel)
        channel = inbox.channel
        if whole:
            inbox.channel = None
        yield from self._message(channel, data, inbox, from_client=from_client, whole=whole)

    def close(self, *, from_client: bool) -> None:
        """The connection's end. Raises StreamError where it cuts a message."""
        inbox = self._inbox[from_client]
        if inbox.channel is not None or inbox.held:
            raise StreamError("the connection ended inside a message")

    def encode(self, event: Event, *, to_client: bool) -> bytes:  # noqa: ARG002
        """The message that tells the other side of `event`; empty where there is nothing to tell."""
        match event:
            case Data(stream, _, data):
                return self._packed(stream, data)
            case Ended(stream) if self._half_closes and self._ports is None:
                return self._packed(CLOSE, bytes([stream]))
            case PortNamed(stream, port):
                return self._packed(stream, port.to_bytes(2, "little"))
            case Opened():
                return b""
        raise StreamError(f"a WebSocket of this version cannot say {type(event).__name__}")

    def _packed(self, channel: int, data: bytes) -> bytes:
        if not self._base64:
            return bytes([channel]) + data
        return b"%d" % channel + base64.b64encode(data)

    def _kind(self, channel: int) -> Kind | None:
        """What a channel is for; None is the half-close. Raises StreamError."""
        if self._ports is not None:
            if channel >= 2 * len(self._ports):
                raise StreamError(f"a message on the channel {channel}, which was not opened")
            return "error" if channel % 2 else "data"
        if channel == CLOSE and self._half_closes:
            return None
        if channel >= len(_KINDS):
            raise StreamError(f"a message on the channel {channel}, which is not known")
        return _KINDS[channel]

    def _message(self, channel: int, data: bytes, inbox: _Inbox, *, from_client: bool, whole: bool) -> Iterator[Event]:
        kind = self._kind(channel)
        if self._base64 is False and kind in (None, "error", "resize"):
            inbox.held += data
            if len(inbox.held) > MAX_WHOLE:
                raise StreamError(f"a message of more than {MAX_WHOLE} bytes on the channel {channel}")
            if not whole:
                return
            data = bytes(inbox.held)
            inbox.held.clear()
        if kind is None:
            yield self._half_close(data, from_client=from_client)
            return
        if data and (kind in _FROM_CLIENT) != from_client and not (kind == "data" and not from_client):
            raise StreamError(f"data on {kind} from the {'client' if from_client else 'server'}")
        if (from_client, channel) in self._ended and data:
            raise StreamError(f"data on {kind} behind its end")
        if self._ports is not None and not from_client:
            named = self._named.setdefault(channel, b"")
            if len(named) < 2:
                data, named = data[2 - len(named) :], named + data[: 2 - len(named)]
                self._named[channel] = named
                if len(named) < 2:
                    return
                port = int.from_bytes(named, "little")
                if port != self._ports[channel // 2]:
                    raise StreamError("the server names another port than the one that was asked for")
                yield PortNamed(channel, port)
                if not data:
                    return
        if data or whole:
            yield Data(channel, kind, data, whole)

    def _half_close(self, data: bytes, *, from_client: bool) -> Event:
        if len(data) != 1:
            raise StreamError("a half-close that does not name one channel")
        kind = self._kind(data[0])
        if kind is None or (kind in _FROM_CLIENT) != from_client:
            raise StreamError("a half-close of a channel that its sender does not write")
        if (from_client, data[0]) in self._ended:
            raise StreamError(f"a second half-close of {kind}")
        self._ended.add((from_client, data[0]))
        return Ended(data[0], kind)


class _Inbox:
    """A message of one direction that has not come whole."""

    __slots__ = ("channel", "held")

    def __init__(self) -> None:
        self.channel: int | None = None
        self.held = bytearray()


def _from_base64(message: bytes) -> bytes:
    """The binary form of a text message."""
    if not message[:1].isdigit():
        raise StreamError("a message without a channel")
    try:
        return bytes([message[0] - 0x30]) + base64.b64decode(message[1:], validate=True)
    except binascii.Error:
        raise StreamError("a message that is not base64") from None
