"""Content negotiation, narrowed to what can be read here: JSON, with its Tables and partial objects. Pure.

Protobuf and CBOR answers would pass unread. Their only exception are the OpenAPI documents, for older kubectl cannot
read those as JSON; they hold no objects.
"""

from __future__ import annotations

from onrecord.addons.kubernetes_api.request import KubeRequest

MAX_TYPES = 50
_SCHEMA = frozenset(
    {
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
    }
)
_AS = frozenset({"as", "v", "g", "q", "profile"})


def narrowed(request: KubeRequest, accept: str) -> str:
    """The Accept that goes upstream."""
    if request.is_proxy:
        return accept or "*/*"
    kept: list[str] = []
    for part in accept.split(",")[:MAX_TYPES]:
        kind, *parameters = [piece.strip() for piece in part.split(";")]
        if kind.lower() == "application/json" and _plain(parameters):
            kept.append(";".join([kind.lower(), *parameters]))
        elif request.is_schema and kind in _SCHEMA and _plain(parameters):
            kept.append(";".join([kind, *parameters]))
    if request.subresource == "log" or not request.resource:
        kept.append("*/*;q=0.1" if kept else "*/*")
        if not request.is_schema:
            return ",".join(kept)
    if not any(part.startswith("application/json") and ";as=" not in part for part in kept):
        kept.append("application/json")
    return ",".join(part for part in kept if not part.startswith("*/*"))


def _plain(parameters: list[str]) -> bool:
    return all(parameter.partition("=")[0] in _AS for parameter in parameters)
