"""The value of search_path as PostgreSQL reads it. Pure."""

from __future__ import annotations


def split_identifiers(text: str) -> tuple[str, ...] | None:
    """The names of a list, unquoted ones in lower case (SplitIdentifierString, varlena.c); None for bad syntax."""
    names: list[str] = []
    rest = text.strip(_SPACE)
    if not rest:
        return ()
    while True:
        if rest.startswith('"'):
            name, rest = _quoted(rest)
            if name is None:
                return None
        else:
            end = 0
            while end < len(rest) and rest[end] not in "," + _SPACE:
                end += 1
            name, rest = _lower(rest[:end]), rest[end:]
        if not name:
            return None
        names.append(cut(name))
        rest = rest.lstrip(_SPACE)
        if not rest:
            return tuple(names)
        if not rest.startswith(","):
            return None
        rest = rest[1:].lstrip(_SPACE)


def cut(name: str) -> str:
    """`name` as the server keeps it: no more than 63 bytes, whole characters (truncate_identifier, scansup.c)."""
    data = name.encode("utf-8", "surrogatepass")
    return name if len(data) <= _NAME_BYTES else data[:_NAME_BYTES].decode("utf-8", "ignore")


def _quoted(rest: str) -> tuple[str | None, str]:
    """The quoted name that `rest` begins with (a doubled quote stands for one), and what follows it."""
    position, parts = 1, []
    while True:
        end = rest.find('"', position)
        if end < 0:
            return None, ""
        parts.append(rest[position:end])
        if rest[end + 1 : end + 2] != '"':
            return '"'.join(parts), rest[end + 1 :]
        position = end + 2


def _lower(name: str) -> str:
    """A to Z only, as PostgreSQL does under multi-byte encodings."""
    return name.translate(_FOLD)


_NAME_BYTES = 63
_SPACE = " \t\n\r\f\v"
_FOLD = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
