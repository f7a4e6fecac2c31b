"""The table of Kubernetes' protobuf messages, out of the descriptors in a kubectl of at most 1.33.

`python -m onrecord.scripts.parts.kube_messages KUBECTL > addons/kubernetes_api/data/messages.json`. Names, numbers and
types only: what addons/kubernetes_api/protobuf.py needs to read a request's body.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_GZIP = re.compile(rb"\x1f\x8b\x08")
_WANTED = re.compile(
    r"k8s\.io/(?:api/[a-z]+/v[12]|apimachinery/(?:pkg/api/resource|pkg/apis/meta/v1|pkg/runtime|pkg/util/intstr))/"
)
_SCALARS = {3: "int", 4: "uint", 5: "int", 8: "bool", 9: "string", 12: "bytes", 13: "uint", 1: "double"}
_MESSAGE, _REPEATED = 11, 3


def descriptors(program: bytes) -> Iterator[list[tuple[int, Any]]]:
    """Every file descriptor (descriptor.proto) that a Go program holds."""
    for match in _GZIP.finditer(program):
        with contextlib.suppress(zlib.error, ValueError, IndexError):
            data = zlib.decompressobj(31).decompress(program[match.start() : match.start() + 2_000_000])
            if b".proto" in data[:200]:
                yield list(_fields(data))


def table(program: bytes) -> dict[str, dict[str, list[str]]]:
    """Message → number → [name, type, "" | "repeated" | "map"]; of a map the type is that of its values."""
    found: dict[str, dict[str, list[str]]] = {}
    for file in descriptors(program):
        if not _WANTED.match(_text(file, 1)):
            continue
        package = _text(file, 2)
        for message in (value for number, value in file if number == 4):
            _add(found, _short(package), list(_fields(message)))
    return dict(sorted(found.items()))


def _add(found: dict[str, dict[str, list[str]]], package: str, message: list[tuple[int, Any]]) -> None:
    name = f"{package}.{_text(message, 1)}"
    maps = {}
    for nested in (list(_fields(value)) for number, value in message if number == 3):
        entry = {next(v for n, v in f if n == 3): f for f in (list(_fields(v)) for n, v in nested if n == 2)}
        maps[_text(nested, 1)] = _type(entry[2])
    members: dict[str, list[str]] = {}
    for field in (list(_fields(value)) for number, value in message if number == 2):
        kind, form = _type(field), "repeated" if _number(field, 4) == _REPEATED else ""
        last = kind.rpartition(".")[2]
        if form and last in maps:
            kind, form = maps[last], "map"
        members[str(_number(field, 3))] = [_text(field, 1), kind, form]
    found[name] = members


def _type(field: list[tuple[int, Any]]) -> str:
    kind = _number(field, 5)
    return _short(_text(field, 6).lstrip(".")) if kind == _MESSAGE else _SCALARS[kind]


def _short(name: str) -> str:
    return re.sub(r"^k8s\.io\.(?:api\.|apimachinery\.pkg\.(?:apis\.|api\.|util\.)?)", "", name)


def _text(fields: list[tuple[int, Any]], number: int) -> str:
    return next((value.decode() for found, value in fields if found == number), "")


def _number(fields: list[tuple[int, Any]], number: int) -> int:
    return next((value for found, value in fields if found == number), 0)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value: Any
            value, at = _varint(data, at)
        elif key & 7 == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError("a wire type that descriptors do not have")
        yield key >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


if __name__ == "__main__":
    lines = (
        f"{json.dumps(name)}: {json.dumps(fields)}" for name, fields in table(Path(sys.argv[1]).read_bytes()).items()
    )
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
