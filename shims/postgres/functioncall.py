"""The FunctionCall message: a function by its OID, past all SQL. libpq builds its large-object API on it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from onrecord.policies.model import Action
from onrecord.policies.sql.functions import classify
from onrecord.shims.postgres.parameters import value_text
from onrecord.shims.postgres.wire import HEADER_SIZE, Reader, WireError

_INT, _BIGINT, _BYTEA, _OID = 23, 20, 17, 26
_TEXT_LIMIT = 1000  # characters of an argument in the text of the command
# OIDs of pg_proc.dat: the same in every version that has the function. Name and types of the arguments.
_KNOWN: dict[int, tuple[str, tuple[int, ...]]] = {
    715: ("lo_create", (_OID,)),
    952: ("lo_open", (_OID, _INT)),
    953: ("lo_close", (_INT,)),
    954: ("loread", (_INT, _INT)),
    955: ("lowrite", (_INT, _BYTEA)),
    956: ("lo_lseek", (_INT, _INT, _INT)),
    957: ("lo_creat", (_INT,)),
    958: ("lo_tell", (_INT,)),
    964: ("lo_unlink", (_OID,)),
    1004: ("lo_truncate", (_INT, _INT)),
    3170: ("lo_lseek64", (_INT, _BIGINT, _INT)),
    3171: ("lo_tell64", (_INT,)),
    3172: ("lo_truncate64", (_INT, _BIGINT)),
}
_RETURNS = {954: _BYTEA, 3170: _BIGINT, 3171: _BIGINT}


class FunctionCall(NamedTuple):
    """A call: `name` is empty where the OID is not known; `type` is that of the result, `format` its format code."""

    oid: int
    name: str
    arguments: tuple[str | None, ...]
    format: int
    type: int

    @property
    def action(self) -> Action:
        return classify(self.name)[0] if self.name else "unknown"

    @property
    def text(self) -> str:
        """What a human reads."""
        shown = ["NULL" if one is None else one[:_TEXT_LIMIT] for one in self.arguments]
        return f"FunctionCall {self.name or f'of function {self.oid}'}({', '.join(shown)})"


def decode_call(data: bytes) -> FunctionCall:
    """A whole FunctionCall message. Raises WireError."""
    reader = Reader(data, HEADER_SIZE)
    oid = reader.u32()
    formats = tuple(reader.u16() for _ in range(reader.u16()))
    name, types = _KNOWN.get(oid, ("", ()))
    count = reader.u16()
    if any(code > 1 for code in formats) or (len(formats) > 1 and len(formats) != count):
        raise WireError("a FunctionCall message has wrong format codes")
    arguments: list[str | None] = []
    for number in range(count):
        size = reader.i32()
        if size < -1:
            raise WireError("an argument of a FunctionCall message has an impossible length")
        if size < 0:
            arguments.append(None)
            continue
        code = formats[number] if len(formats) > 1 else formats[0] if formats else 0
        arguments.append(value_text(reader.take(size), types[number] if number < len(types) else 0, code))
    result = reader.u16()
    if result > 1:
        raise WireError("a FunctionCall message has wrong format codes")
    reader.end()
    return FunctionCall(oid, name, tuple(arguments), result, _RETURNS.get(oid, _INT if name else 0))


def decode_result(data: bytes) -> bytes | None:
    """The value in a FunctionCallResponse; None is NULL. Raises WireError."""
    reader = Reader(data, HEADER_SIZE)
    size = reader.i32()
    value = None if size == -1 else reader.take(size)
    reader.end()
    return value


def encode_result(value: bytes | None) -> bytes:
    """A FunctionCallResponse."""
    body = (2**32 - 1).to_bytes(4, "big") if value is None else len(value).to_bytes(4, "big") + value
    return b"V" + (len(body) + 4).to_bytes(4, "big") + body
