"""SPDY/3.1 as Kubernetes uses it: both directions' bytes ↔ events. Pure.

The client opens every stream and says in a header what it is for; the server only answers. Each hop answers its own
pings. SETTINGS and WINDOW_UPDATE go no further: neither kubectl nor the API server has flow control of its own there,
and what nobody acts on could carry what nobody sees. HEADERS, streams of the server's and every header or kind of
stream that is not known are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from onrecord.addons.kubernetes_api.streams import spdy_frames as frames
from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.events import (
    Accepted,
    Data,
    Ended,
    Event,
    GoneAway,
    Kind,
    Opened,
    Pinged,
    Reset,
)

Use = Literal["command", "forward"]

MAX_STREAMS = 512  # open at once: 256 forwarded connections
MAX_IDLE_CONTROL = 100_000  # control frames without any other frame between them
_COMMAND_KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind) if kind != "data"}
_FORWARD_KINDS: dict[str, Kind] = {"data": "data", "error": "error"}
_CLIENT_SENDS = frozenset({"stdin", "resize", "data"})
_SERVER_SENDS = frozenset({"stdout", "stderr", "error", "data"})


@dataclass(slots=True)
class _Stream:
    kind: Kind
    port: int
    connection: int
    is_accepted: bool = False
    ended: set[bool] = field(default_factory=set)  # by the client (True), by the server (False)


@dataclass(slots=True)
class _Side:
    """One direction."""

    reader: frames.FrameReader = field(default_factory=frames.FrameReader)
    headers: frames.HeaderReader = field(default_factory=frames.HeaderReader)
    writer: frames.HeaderWriter = field(default_factory=frames.HeaderWriter)  # of what goes *to* this side


class SpdyWire:
    """One upgraded connection. Not to be used any more after a StreamError."""

    def __init__(self, use: Use) -> None:
        self._use = use
        self._client, self._server = _Side(), _Side()
        self._streams: dict[int, _Stream] = {}
        self._highest = 0
        self._idle = 0

    def feed(self, data: bytes, *, from_client: bool, whole: bool = True) -> Iterator[Event]:  # noqa: ARG002
        """The events in `data`. Raises StreamError; what was yielded before it holds."""
        side = self._client if from_client else self._server
        for frame in side.reader.feed(data):
            if isinstance(frame, frames.DataPart):
                self._idle = 0
                yield from self._data(frame, from_client=from_client)
            else:
                self._idle += 1
                if self._idle > MAX_IDLE_CONTROL:
                    raise StreamError("too many SPDY control frames")
                yield from self._control(frame, side, from_client=from_client)

    def close(self, *, from_client: bool) -> None:
        """The connection's end. Raises StreamError where it cuts a frame."""
        side = self._client if from_client else self._server
        if not side.reader.is_between_frames:
            raise StreamError("the connection ended inside a SPDY frame")

    def drop(self, stream: int) -> None:
        """Whatever still comes on `stream` is swallowed: it was refused, and answered, here."""
        self._streams.pop(stream, None)

    def encode(self, event: Event, *, to_client: bool) -> bytes:
        """The bytes that tell the other side of `event`."""
        side = self._client if to_client else self._server
        match event:
            case Data(stream, _, data):
                return frames.data_frames(stream, data) if data else b""
            case Ended(stream):
                return frames.data_frames(stream, b"", ends=True)
            case Opened(stream, kind, port, connection, ends):
                fields: dict[str, str] = {"streamtype": kind}
                if self._use == "forward":
                    fields |= {"port": str(port), "requestid": str(connection)}
                payload = struct.pack(">IIBB", stream, 0, 0, 0) + side.writer.write(fields)
                return frames.control(frames.SYN_STREAM, payload, frames.FLAG_FIN if ends else 0)
            case Accepted(stream, ends):
                payload = struct.pack(">I", stream) + side.writer.write({})
                return frames.control(frames.SYN_REPLY, payload, frames.FLAG_FIN if ends else 0)
            case Reset(stream, _, status):
                return frames.control(frames.RST_STREAM, struct.pack(">II", stream, status))
            case Pinged(id):
                return frames.control(frames.PING, struct.pack(">I", id))
            case GoneAway(last, status):
                return frames.control(frames.GOAWAY, struct.pack(">II", last, status))
        raise StreamError(f"SPDY cannot say {type(event).__name__}")

    def _control(self, frame: frames.Control, side: _Side, *, from_client: bool) -> Iterator[Event]:
        if frame.type == frames.SYN_STREAM:
            yield from self._opened(frame, side, from_client=from_client)
        elif frame.type == frames.SYN_REPLY:
            yield from self._accepted(frame, side, from_client=from_client)
        elif frame.type == frames.RST_STREAM:
            id, status = frames.words(frame, 2)
            if not 1 <= status <= 11:
                raise StreamError(f"a SPDY stream reset with the status {status}")
            stream = self._find(id)
            if stream is not None:
                del self._streams[id]
                yield Reset(id, stream.kind, status)
        elif frame.type == frames.PING:
            (id,) = frames.words(frame, 1)
            if id % 2 == from_client:  # the client's are odd; another one answers a ping that we never send
                yield Pinged(id)
        elif frame.type == frames.GOAWAY:
            last, status = frames.words(frame, 2)
            if last > self._highest + 1 or status > 11:
                raise StreamError("a SPDY GOAWAY that names a stream that never was")
            yield GoneAway(last, status)
        elif frame.type == frames.SETTINGS:
            (count,) = frames.words(frame, 1, exact=False)
            if len(frame.payload) != 4 + 8 * count:
                raise StreamError("a SPDY SETTINGS frame of another length than it says")
        elif frame.type == frames.WINDOW_UPDATE:
            frames.words(frame, 2)
        else:
            raise StreamError(f"a SPDY frame of {frame.name} is not spoken here")

    def _opened(self, frame: frames.Control, side: _Side, *, from_client: bool) -> Iterator[Event]:
        if not from_client:
            raise StreamError("a SPDY stream that the server opens")
        if len(frame.payload) < 10:
            raise StreamError("a SPDY SYN_STREAM that is cut short")
        if frame.flags & ~frames.FLAG_FIN:
            raise StreamError(f"a SPDY SYN_STREAM with the flags {frame.flags:#x}")
        id, parent = struct.unpack_from(">II", frame.payload)
        if not id & 1 or id >> 31 or id <= self._highest or parent:
            raise StreamError("a SPDY stream whose id is even, used before, or which belongs to another stream")
        if len(self._streams) >= MAX_STREAMS:
            raise StreamError(f"more than {MAX_STREAMS} SPDY streams at once")
        kind, port, connection = self._purpose(side.headers.read(frame.payload[10:]))
        self._highest = id
        stream = self._streams[id] = _Stream(kind, port, connection)
        ends = bool(frame.flags & frames.FLAG_FIN)
        if ends:
            stream.ended.add(True)
        yield Opened(id, kind, port, connection, ends)

    def _purpose(self, fields: Mapping[str, str]) -> tuple[Kind, int, int]:
        kinds = _COMMAND_KINDS if self._use == "command" else _FORWARD_KINDS
        known = {"streamtype"} if self._use == "command" else {"streamtype", "port", "requestid"}
        unknown = fields.keys() - known
        kind = kinds.get(fields.get("streamtype", ""))
        if unknown or kind is None:
            raise StreamError("a SPDY stream of a kind, or with a header, that is not known")
        if self._use == "command":
            if any(stream.kind == kind for stream in self._streams.values()):
                raise StreamError(f"a second SPDY stream for {kind}")
            return kind, 0, 0
        port, connection = _number(fields.get("port", ""), 65535), _number(fields.get("requestid", "0"), 1 << 53)
        if not port:
            raise StreamError("a forwarded connection to the port 0")
        return kind, port, connection

    def _accepted(self, frame: frames.Control, side: _Side, *, from_client: bool) -> Iterator[Event]:
        if from_client:
            raise StreamError("a SPDY stream that the client answers")
        if len(frame.payload) < 4 or frame.flags & ~frames.FLAG_FIN:
            raise StreamError("a SPDY SYN_REPLY that is cut short or has flags that are not known")
        (id,) = struct.unpack_from(">I", frame.payload)
        side.headers.read(frame.payload[4:])  # keeps the inflater in step; what it says goes no further
        stream = self._find(id)
        if stream is None:
            return
        if stream.is_accepted:
            raise StreamError("a SPDY stream that is answered twice")
        stream.is_accepted = True
        ends = bool(frame.flags & frames.FLAG_FIN)
        yield Accepted(id, ends)
        if ends:
            self._end(id, stream, from_client=False)

    def _data(self, part: frames.DataPart, *, from_client: bool) -> Iterator[Event]:
        stream = self._find(part.stream)
        if stream is None:
            return  # the other side has reset it meanwhile
        if from_client in stream.ended:
            raise StreamError("SPDY data behind a stream's end")
        if part.data:
            if stream.kind not in (_CLIENT_SENDS if from_client else _SERVER_SENDS):
                raise StreamError(f"data on {stream.kind} from the {'client' if from_client else 'server'}")
            yield Data(part.stream, stream.kind, part.data)
        if part.ends:
            yield Ended(part.stream, stream.kind)
            self._end(part.stream, stream, from_client=from_client)

    def _find(self, id: int) -> _Stream | None:
        stream = self._streams.get(id)
        if stream is None and (id > self._highest or not id & 1):
            raise StreamError("a frame of a SPDY stream that was never opened")
        return stream

    def _end(self, id: int, stream: _Stream, *, from_client: bool) -> None:
        stream.ended.add(from_client)
        if len(stream.ended) == 2:
            self._streams.pop(id, None)


def _number(text: str, limit: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > limit:
        raise StreamError("a SPDY header that should be a number and is none")
    return int(text)
