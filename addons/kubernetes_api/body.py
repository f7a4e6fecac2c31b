"""The body of a write, parsed. Pure; what a body says is what goes upstream, or it is refused.

JSON goes upstream as it came. YAML has too many readings, and protobuf no names: what is read of them goes upstream as
JSON, which is YAML too. CBOR is refused; clients then fall back to JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import yaml

from onrecord.addons.kubernetes_api.protobuf import MEDIA_TYPE, read_protobuf
from onrecord.addons.kubernetes_api.request import KubeRequestError
from onrecord.policies.kubernetes import PatchError, operations

PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
MAX_DEPTH = 200
MAX_NODES = 200_000
_JSON_TYPES = frozenset({"", "application/json"})
_YAML_TYPES = frozenset({"application/yaml", "application/apply-patch+yaml"})
_UTF8 = re.compile(r";\s*charset=\"?utf-?8\"?\s*", re.ASCII | re.IGNORECASE)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][+-]?[0-9]{1,3})?")
# Plain words that one YAML reads as text and another as a truth value, a number in another base, or nothing.
_TWO_READINGS = re.compile(
    r"(?i:y|yes|n|no|on|off)|[+-]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9]+)?|[+-]?0[xob][0-9a-fA-F_]+"
    r"|[+-]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|[+-]?\.(?i:inf)|\.(?i:nan)|[+-]?\.[0-9_]+(?:[eE][+-]?[0-9]+)?"
    r"|=|<<"
)


class KubeBody(NamedTuple):
    """`value` is the parsed body, None where there is none.

    `raw` goes upstream in its place where it is not None, with `content_type` where that is not "".
    """

    value: Any = None
    patch_type: str = ""
    raw: bytes | None = None
    content_type: str = ""


def media_type(content_type: str) -> str:
    """The media type, where the charset is UTF-8 or none is named. Raises KubeRequestError."""
    kind, semicolon, _ = content_type.partition(";")
    if semicolon and not _UTF8.fullmatch(content_type[len(kind) :]):
        raise KubeRequestError(f"a Content-Type with parameters: {content_type[:80]!r}", "send JSON in UTF-8", 415)
    return kind.strip()


def read_body(method: str, content_type: str, body: bytes) -> KubeBody:
    """Parse `body`. Raises KubeRequestError for one that is not what its Content-Type says, or cannot be read here."""
    kind = media_type(content_type)
    patch_type = PATCHES.get(kind, "")
    if method in ("GET", "HEAD"):
        if body:
            raise KubeRequestError("a body with a request that only reads")
        return KubeBody()
    if method == "PATCH" and not patch_type:
        hint = "kubectl sends one of " + ", ".join(PATCHES)
        raise KubeRequestError(f"a patch of the type {kind[:80] or 'unknown'!r} cannot be read", hint, 415)
    if method != "PATCH" and patch_type:
        raise KubeRequestError(f"a patch with {method}", "patches are sent with PATCH", 415)
    if not body:
        return KubeBody(patch_type=patch_type)
    if kind == MEDIA_TYPE and not patch_type:
        value = read_protobuf(body)
        _check_text(value)
        return KubeBody(value, "", json.dumps(value, separators=(",", ":")).encode(), "application/json")
    if kind in _YAML_TYPES and not _is_json(body):
        value = _read_yaml(body)
        return KubeBody(_object(value, patch_type), patch_type, json.dumps(value, separators=(",", ":")).encode())
    if kind in _JSON_TYPES or kind in _YAML_TYPES or patch_type:
        return KubeBody(_object(read_json(body), patch_type), patch_type)
    raise KubeRequestError(
        f"a body of the type {kind[:80]!r} cannot be read here",
        "set the client's content type to application/json",
        415,
    )


def read_json(body: bytes) -> Any:
    """A strictly read JSON document. Raises KubeRequestError."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        _check_text(value)
    except UnicodeError:
        raise KubeRequestError("a body that is not UTF-8") from None
    except (ValueError, RecursionError):
        raise KubeRequestError("a body that calls itself JSON and is none", "check the Content-Type") from None
    return value


def _is_json(body: bytes) -> bool:
    return body.lstrip(b" \t\r\n")[:1] in (b"{", b"[")


def _object(value: Any, patch_type: str) -> Any:
    if patch_type == "json":
        try:
            return operations(value)
        except PatchError as error:
            raise KubeRequestError(str(error)) from None
    if not isinstance(value, dict):
        raise KubeRequestError("a body that is no object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise KubeRequestError("a name stands twice in an object of the body", "readers differ on which one counts")
    return made


def _no_constant(text: str) -> Any:
    raise KubeRequestError(f"{text} is no JSON")


def _check_text(value: Any) -> None:
    """No value is nested deeper than anyone writes; half surrogates are JSON escapes that no UTF-8 holds."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            break
    else:
        raise KubeRequestError(f"a body that is nested more than {MAX_DEPTH} levels deep")
    json.dumps(value, ensure_ascii=False).encode()


class _Loader(yaml.SafeLoader):
    """YAML with one reading: no anchors, tags, merge keys or second documents, no name twice, no doubtful words."""

    depth = nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise KubeRequestError("YAML with anchors or aliases", "write it out")
        if getattr(event, "tag", None) is not None:
            raise KubeRequestError("YAML with tags", "quote the value instead")
        self.depth += 1
        self.nodes += 1
        if self.depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise KubeRequestError("YAML that is nested too deep or too long")
        try:
            return super().compose_node(parent, index)  # type: ignore[no-untyped-call]
        finally:
            self.depth -= 1


def _read_yaml(body: bytes) -> Any:
    try:
        loader = _Loader(body.decode())  # type: ignore[no-untyped-call]
        try:
            value = _constructed(loader.get_single_node())  # type: ignore[no-untyped-call]
        finally:
            loader.dispose()  # type: ignore[no-untyped-call]
        _check_text(value)
    except UnicodeError:
        raise KubeRequestError("a body that is not UTF-8") from None
    except (yaml.YAMLError, RecursionError):
        raise KubeRequestError("a body that calls itself YAML and is none", "check the Content-Type") from None
    return value


def _constructed(node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _unique([(_key(key), _constructed(value)) for key, value in node.value])
    if isinstance(node, yaml.SequenceNode):
        return [_constructed(item) for item in node.value]
    if not isinstance(node, yaml.ScalarNode):
        raise KubeRequestError("a body that calls itself YAML and holds nothing")
    text = str(node.value)
    return text if node.style is not None else _plain(text)


def _key(node: Any) -> str:
    value = _constructed(node)
    if not isinstance(value, str):
        raise KubeRequestError("YAML with a name that is no text", "quote it")
    return value


def _plain(text: str) -> Any:
    """What a word without quotes is. One that two readers of YAML take differently is refused."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _INTEGER.fullmatch(text) and text != "-0":
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _TWO_READINGS.fullmatch(text):
        raise KubeRequestError(f"the YAML word {text[:40]} has two readings", "put it in quotes")
    return text
