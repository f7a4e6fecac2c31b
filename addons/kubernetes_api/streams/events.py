"""What happens on exec, attach and port-forward, whatever carries it. Pure data.

`stream` is the wire's own number: a channel of a WebSocket, a stream of SPDY. `kind` is what it is for: "stdin",
"stdout", "stderr", "error" (the end's Status), "resize", or "data" (a forwarded connection, with its port).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["stdin", "stdout", "stderr", "error", "resize", "data"]


class Opened(NamedTuple):
    """A stream begins. `port` and `connection` (the request's number) are of port-forwards."""

    stream: int
    kind: Kind
    port: int = 0
    connection: int = 0
    ends: bool = False


class Accepted(NamedTuple):
    """The server's answer to a stream (SPDY)."""

    stream: int
    ends: bool = False


class Data(NamedTuple):
    """A piece. `whole`: the end of a message, where the wire has such."""

    stream: int
    kind: Kind
    data: bytes
    whole: bool = True


class Ended(NamedTuple):
    """Its sender sends no more on this stream."""

    stream: int
    kind: Kind


class Reset(NamedTuple):
    """The stream is over in both directions. `status` as in SPDY (1 to 11)."""

    stream: int
    kind: Kind
    status: int


class PortNamed(NamedTuple):
    """The server says which port a channel is for: the first two bytes on it."""

    stream: int
    port: int


class Pinged(NamedTuple):
    """To be answered on the connection that it came on."""

    id: int


class GoneAway(NamedTuple):
    """No stream beyond `last` will be served."""

    last: int
    status: int


Event = Opened | Accepted | Data | Ended | Reset | PortNamed | Pinged | GoneAway
