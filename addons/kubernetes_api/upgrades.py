"""Requests that become a stream (exec, attach, port-forward): which are served."""

from __future__ import annotations

from onrecord.addons.http_head import Head
from onrecord.addons.kubernetes_api.request import KubeRequest
from onrecord.policies.verdict import Deny, Ruling

STREAMS = frozenset({"exec", "attach", "portforward"})
POLICY = "onrecord:kubernetes"


def upgrade_ruling(request: KubeRequest, head: Head) -> Ruling | None:
    """The gateway's own ruling on a request that is, or should be, a stream; None where it has none."""
    is_stream = request.resource == "pods" and request.subresource in STREAMS
    if head.websocket and not is_stream:
        return Ruling(Deny("a WebSocket to this resource is not supported"), POLICY)
    if is_stream:
        return Ruling(Deny(f"{request.subresource} is not served in this version", "use kubectl logs or get"), POLICY)
    return None
