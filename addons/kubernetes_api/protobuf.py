"""A request's body in Kubernetes' protobuf, as the JSON that it stands for. Pure.

Newer clients send it by default (kubectl create secret, auth can-i). What is read here goes upstream as JSON, so that
nothing is decided on one reading and carried out on another. The messages are those of Kubernetes 1.33
(data/messages.json, made by scripts/parts/kube_messages.py); a field or a message that is not among them is refused.
The frame: "k8s\\0" and a runtime.Unknown (k8s.io/apimachinery/pkg/runtime/serializer/protobuf).
"""

from __future__ import annotations

import base64
import datetime
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from onrecord.addons.kubernetes_api.request import KubeRequestError

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_MAX_DEPTH = 60
_UNKNOWN = "runtime.Unknown"
_SCALARS = frozenset({"int", "uint", "bool", "string", "bytes", "double"})
# Fields whose members stand beside the others in JSON (`json:",inline"`).
_INLINE = frozenset(
    {
        ("core.v1.Volume", "volumeSource"),
        ("core.v1.PersistentVolumeSpec", "persistentVolumeSource"),
        ("core.v1.Probe", "handler"),
        ("core.v1.EphemeralContainer", "ephemeralContainerCommon"),
        ("core.v1.SecretKeySelector", "localObjectReference"),
        ("core.v1.ConfigMapKeySelector", "localObjectReference"),
        ("core.v1.SecretEnvSource", "localObjectReference"),
        ("core.v1.ConfigMapEnvSource", "localObjectReference"),
        ("core.v1.SecretProjection", "localObjectReference"),
        ("core.v1.ConfigMapProjection", "localObjectReference"),
        ("networking.v1.IngressRule", "ingressRuleValue"),
        ("admissionregistration.v1.RuleWithOperations", "rule"),
        ("admissionregistration.v1.NamedRuleWithOperations", "ruleWithOperations"),
    }
)
_LISTS = frozenset(
    {"authentication.v1.ExtraValue", "authorization.v1.ExtraValue", "certificates.v1.ExtraValue", "meta.v1.Verbs"}
)

Messages = dict[str, dict[str, list[str]]]


@functools.cache
def _messages() -> Messages:
    found: Messages = json.loads((Path(__file__).parent / "data" / "messages.json").read_text())
    return found


def read_protobuf(body: bytes) -> dict[str, Any]:
    """The object as JSON has it. Raises KubeRequestError."""
    if not body.startswith(_MAGIC):
        raise KubeRequestError("a body that calls itself Kubernetes' protobuf and is none", "check the Content-Type")
    try:
        unknown = _message(_UNKNOWN, body[len(_MAGIC) :], 0)
        kind = unknown.get("typeMeta", {})
        api_version, name = kind.get("apiVersion", ""), kind.get("kind", "")
        if unknown.get("contentEncoding") or unknown.get("contentType"):
            raise KubeRequestError("a protobuf body that holds another encoding")
        message = _message_of(api_version, name)
        value = _message(message, base64.b64decode(unknown.get("raw", "")), 0)
    except (IndexError, UnicodeDecodeError, OverflowError, ValueError):
        raise KubeRequestError("a body that calls itself protobuf and is none", "check the Content-Type") from None
    return {"apiVersion": api_version, "kind": name, **value}


def _message_of(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    package = f"{group.partition('.')[0] or 'core'}.{version}"
    for name in (f"{package}.{kind}", f"meta.v1.{kind}"):
        if name in _messages() and (name != f"meta.v1.{kind}" or kind.endswith("Options")):
            return name
    raise KubeRequestError(
        f"a protobuf body of {api_version[:60]} {kind[:60]}, which is not known here", "send it as JSON", 415
    )


def _message(name: str, data: bytes, depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise KubeRequestError("a protobuf body that is nested too deep")
    fields = _messages()[name]
    made: dict[str, Any] = {}
    seen: set[int] = set()
    for number, wire, raw in _fields(data):
        field = fields.get(str(number))
        if field is None:
            raise KubeRequestError(
                f"a protobuf field of {name} that is not known here ({number})", "send it as JSON", 415
            )
        label, kind, form = field
        if form == "map":
            key, value = _entry(kind, _bytes(wire, raw), depth)
            members = made.setdefault(label, {})
            if key in members:
                raise KubeRequestError("a name stands twice in a map of the body")
            members[key] = value
        elif form == "repeated":
            made.setdefault(label, []).append(_value(kind, wire, raw, depth))
        else:
            if number in seen:
                raise KubeRequestError("a protobuf field stands there twice")
            seen.add(number)
            value = _value(kind, wire, raw, depth)
            if (name, label) in _INLINE:
                if made.keys() & value.keys():
                    raise KubeRequestError("a protobuf body that names a member twice")
                made |= value
            else:
                made[label] = value
    return made


def _entry(kind: str, data: bytes, depth: int) -> tuple[str, Any]:
    key, value = "", None
    for number, wire, raw in _fields(data):
        if number == 1:
            key = _bytes(wire, raw).decode()
        elif number == 2:
            value = _value(kind, wire, raw, depth)
        else:
            raise KubeRequestError("a protobuf map with more than keys and values")
    if value is None:
        value = _value(kind, 0 if kind in ("int", "uint", "bool") else 2, 0 if kind in ("int", "bool") else b"", depth)
    return key, value


def _value(kind: str, wire: int, raw: Any, depth: int) -> Any:
    if kind in _SCALARS:
        return _scalar(kind, wire, raw)
    data = _bytes(wire, raw)
    special = _SPECIAL.get(kind)
    message = _message(kind, data, depth + 1)
    if special is not None:
        return special(message)
    return message.get("items", []) if kind in _LISTS else message


def _scalar(kind: str, wire: int, raw: Any) -> Any:
    if kind == "string":
        return _bytes(wire, raw).decode()
    if kind == "bytes":
        return base64.b64encode(_bytes(wire, raw)).decode()
    if wire != 0 or kind == "double":
        raise KubeRequestError("a protobuf field of another wire type than its own")
    if kind == "bool":
        return bool(raw)
    return raw - (1 << 64) if kind == "int" and raw >= 1 << 63 else raw


def _bytes(wire: int, raw: Any) -> bytes:
    if wire != 2:
        raise KubeRequestError("a protobuf field of another wire type than its own")
    return bytes(raw)


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value: Any
            value, at = _varint(data, at)
        elif wire == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise KubeRequestError("a protobuf body that ends too early")
            value, at = data[at : at + length], at + length
        else:
            raise KubeRequestError("a protobuf wire type that Kubernetes does not use")
        yield key >> 3, wire, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & ((1 << 64) - 1), at
        if shift > 63:
            raise KubeRequestError("a protobuf number that is too long")


def _time(message: dict[str, Any]) -> str | None:
    if not message:
        return None
    at = datetime.datetime.fromtimestamp(message.get("seconds", 0), datetime.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(message: dict[str, Any]) -> str | None:
    if not message:
        return None
    at = datetime.datetime.fromtimestamp(message.get("seconds", 0), datetime.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{message.get('nanos', 0) // 1000:06d}Z"


def _int_or_string(message: dict[str, Any]) -> int | str:
    kind = message.get("type", 0)
    if kind not in (0, 1):
        raise KubeRequestError("a protobuf IntOrString that is neither")
    found: int | str = message.get("strVal", "") if kind == 1 else message.get("intVal", 0)
    return found


def _raw(message: dict[str, Any], member: str) -> Any:
    """JSON inside of protobuf. Raw protobuf inside of it is not JSON, and refused."""
    from onrecord.addons.kubernetes_api.body import read_json

    data = base64.b64decode(message.get(member, ""))
    return read_json(data) if data else None


def _refused(_: dict[str, Any]) -> Any:
    raise KubeRequestError("a protobuf duration, which cannot be read here", "send it as JSON", 415)


_SPECIAL: dict[str, Callable[[dict[str, Any]], Any]] = {
    "meta.v1.Time": _time,
    "meta.v1.Timestamp": _refused,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.Duration": _refused,
    "meta.v1.FieldsV1": lambda message: _raw(message, "Raw"),
    "runtime.RawExtension": lambda message: _raw(message, "raw"),
    "resource.Quantity": lambda message: message.get("string", "0"),
    "resource.QuantityValue": lambda message: message.get("string", "0"),
    "intstr.IntOrString": _int_or_string,
}
