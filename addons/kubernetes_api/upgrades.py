"""Requests that become a stream (exec, attach, port-forward): which are served."""

from __future__ import annotations

from urllib.parse import urlencode

from onrecord.addons.http_head import Head
from onrecord.addons.kubernetes_api.request import KubeRequest
from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.protocols import SUBRESOURCES, Carrier, Opening, read_opening
from onrecord.policies.verdict import Deny, Ruling

POLICY = "onrecord:kubernetes"
OFFERS = {"websocket": b"sec-websocket-protocol", "spdy": b"x-stream-protocol-version"}


def read_upgrade(request: KubeRequest, head: Head) -> tuple[Opening | None, Ruling | None]:
    """The stream that a request opens, and the gateway's own ruling on it; None where there is none."""
    is_stream = request.resource == "pods" and not request.group and request.subresource in SUBRESOURCES
    asks = head.websocket or head.spdy
    if not is_stream:
        reason = "an upgrade is served on exec, attach and portforward of pods only"
        return None, (Ruling(Deny(reason), POLICY) if asks else None)
    if not asks:
        hint = "use kubectl, or a client library that opens a WebSocket"
        return None, Ruling(Deny(f"{request.subresource} without an upgrade of the connection", hint), POLICY)
    carrier: Carrier = "websocket" if head.websocket else "spdy"
    offers = [value.decode("latin-1") for name, value in head.fields if name.lower() == OFFERS[carrier]]
    try:
        opening = read_opening(carrier, request.subresource, offers, urlencode(request.query))
    except StreamError as error:
        return None, Ruling(Deny(str(error)), POLICY)
    return opening, None


def upgrade_fields(opening: Opening, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The header fields that go upstream: only subprotocols that can be read are offered, and no token among them."""
    kept = [(n, v) for n, v in fields if n.lower().replace(b"_", b"-") not in OFFERS.values()]
    if opening.carrier == "websocket":
        return [*kept, (b"Sec-WebSocket-Protocol", ", ".join(opening.offered).encode())]
    return kept + [(b"X-Stream-Protocol-Version", name.encode()) for name in opening.offered]
