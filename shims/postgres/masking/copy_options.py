"""The options of a COPY to the client, as far as they say how its data are written. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from onrecord.policies.masking import MaskError
from onrecord.policies.sql.errors import SqlError
from onrecord.policies.sql.parser import parse

_UTF8 = frozenset({"utf8", "utf-8", "unicode"})
_FORMATS = frozenset({"text", "csv", "binary"})


class CopyOptions(NamedTuple):
    """As the manual of COPY names them. `header`: the first line holds names."""

    format: str = "text"
    delimiter: bytes = b"\t"
    null: bytes = b"\\N"
    quote: bytes = b'"'
    escape: bytes = b'"'
    header: bool = False


def copy_options(text: str) -> CopyOptions:
    """The options of the one COPY statement `text`. Raises MaskError where its data could not be taken apart."""
    try:
        statements = parse(text)
    except SqlError as error:
        raise MaskError(f"the options of COPY cannot be read: {error}") from None
    nodes = [node for node in map(_copy_of, statements) if node is not None]
    if len(nodes) != 1:
        raise MaskError("the options of COPY cannot be read")
    given = {
        str(item["DefElem"]["defname"]).lower(): item["DefElem"].get("arg") for item in nodes[0].get("options", ())
    }
    encoding = _text(given.get("encoding"))
    if encoding is not None and encoding.strip("'\" ").lower() not in _UTF8:
        raise MaskError("COPY with an ENCODING other than UTF8 cannot be masked")
    form = (_text(given.get("format")) or "text").lower()
    if form not in _FORMATS:
        raise MaskError(f"COPY with the format {form[:40]!r} cannot be masked")
    csv = form == "csv"
    quote = _byte(given.get("quote"), b'"')
    null = _text(given.get("null"))
    return CopyOptions(
        form,
        _byte(given.get("delimiter"), b"," if csv else b"\t"),
        (b"" if csv else b"\\N") if null is None else null.encode(),
        quote,
        _byte(given.get("escape"), quote),
        "header" in given and _truth(given["header"]),
    )


def _copy_of(statement: dict[str, Any]) -> dict[str, Any] | None:
    node: Any = statement.get("stmt", {})
    found = node.get("CopyStmt")
    return found if isinstance(found, dict) else None


def _text(arg: Any) -> str | None:
    if not isinstance(arg, dict):
        return None
    value = arg.get("String")
    if isinstance(value, dict):
        return str(value.get("sval", ""))
    for name, field in (("Integer", "ival"), ("Float", "fval"), ("Boolean", "boolval")):
        value = arg.get(name)
        if isinstance(value, dict):
            return str(value.get(field, 0)).lower()
    return None


def _truth(arg: Any) -> bool:
    """Without a value it is on; `match` is for COPY FROM."""
    text = _text(arg)
    return text is None or text.lower() not in ("false", "off", "0")


def _byte(arg: Any, default: bytes) -> bytes:
    text = _text(arg)
    if text is None:
        return default
    data = text.encode()
    if len(data) != 1:
        raise MaskError("COPY with a delimiter, quote or escape of more than one byte cannot be masked")
    if data in b"\r\n":  # where a row ends could not be told from where a value begins
        raise MaskError("COPY with a line end as delimiter, quote or escape cannot be masked")
    return data
