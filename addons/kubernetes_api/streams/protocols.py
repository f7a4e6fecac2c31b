"""Which upgrade a request asks for, and which of it is spoken here. Pure.

An upgrade is understood on `exec`, `attach` and `portforward` of pods alone; the subprotocols that are offered to the
server are those that can be read, and it must choose one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl

from onrecord.addons.kubernetes_api.streams.errors import StreamError

Carrier = Literal["websocket", "spdy"]

SUBRESOURCES = frozenset({"exec", "attach", "portforward"})
TUNNEL = "SPDY/3.1+portforward.k8s.io"
_COMMAND_WEBSOCKET = (
    "v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io",
    "v4.base64.channel.k8s.io", "base64.channel.k8s.io",
)  # fmt: skip
_COMMAND_SPDY = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_FORWARD_WEBSOCKET = (TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io")
_FORWARD_SPDY = ("portforward.k8s.io",)
MAX_PORTS = 100


class Opening(NamedTuple):
    """An upgrade that is asked for: what carries it, and the subprotocols that may be offered."""

    carrier: Carrier
    subresource: str
    offered: tuple[str, ...]
    tty: bool
    ports: tuple[int, ...]


def read_opening(carrier: Carrier, subresource: str, offers: Iterable[str], query: str) -> Opening:
    """Raises StreamError for an upgrade that is not spoken here.

    `offers`: the values of Sec-WebSocket-Protocol or of X-Stream-Protocol-Version.
    """
    if subresource not in SUBRESOURCES:
        raise StreamError("an upgrade is understood on exec, attach and portforward of pods only")
    forward = subresource == "portforward"
    spoken: tuple[str, ...]
    if carrier == "websocket":
        spoken = _FORWARD_WEBSOCKET if forward else _COMMAND_WEBSOCKET
    else:
        spoken = _FORWARD_SPDY if forward else _COMMAND_SPDY
    wanted = [name.strip() for offer in offers for name in offer.split(",")]
    offered = tuple(dict.fromkeys(name for name in wanted if name in spoken))
    if not offered:
        raise StreamError(f"none of the offered subprotocols is spoken here; {', '.join(spoken)} are")
    fields = parse_qsl(query, keep_blank_values=True, max_num_fields=10_000)
    ports: tuple[int, ...] = ()
    if forward:
        ports = _ports(value for name, value in fields if name == "ports")
        if carrier == "websocket" and not ports and TUNNEL not in offered:
            raise StreamError("a port-forward over channels without ports")
        if not ports and TUNNEL in offered:
            offered = (TUNNEL,)
    return Opening(carrier, subresource, offered, _flag(fields, "tty"), ports)


def check_chosen(opening: Opening, upgrade: str, chosen: str | None) -> str:
    """The subprotocol of a 101. Raises StreamError where the server switched to something else."""
    if upgrade.strip().lower() != ("websocket" if opening.carrier == "websocket" else "spdy/3.1"):
        raise StreamError("the server switched to another protocol than the one asked for")
    if chosen is None or chosen not in opening.offered:
        raise StreamError("the server chose a subprotocol that was not offered")
    return chosen


def _flag(fields: list[tuple[str, str]], name: str) -> bool:
    """As the API server reads it: the first value counts, and all but "false" and "0" is true."""
    value = next((value for key, value in fields if key == name), "false")
    return value.lower() not in ("false", "0")


def _ports(values: Iterable[str]) -> tuple[int, ...]:
    found = []
    for value in values:
        for text in value.split(","):
            if not text.isascii() or not text.isdigit() or len(text) > 5 or not 0 < int(text) < 65536:
                raise StreamError("a port-forward to what is no port")
            found.append(int(text))
    if len(found) > MAX_PORTS:
        raise StreamError(f"a port-forward to more than {MAX_PORTS} ports")
    return tuple(found)
