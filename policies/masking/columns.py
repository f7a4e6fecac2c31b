"""Patterns of columns, tables and types, as mitm.toml writes them. Pure.

A part that the pattern leaves out stands for any. Names are compared without regard to case, and a part of the name
that is not known ("") matches every pattern: more is masked rather than less.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^\s".]+(?: [^\s".]+)*))\s*')
_LENGTH = re.compile(r"\s*\([^()]*\)")  # of varchar(20), numeric(10, 2), timestamp(3) with time zone

# The names that SQL has for PostgreSQL's own types, as pg_type has them.
_ALIASES = {
    "bigint": "int8", "bigserial": "int8", "bit varying": "varbit", "boolean": "bool", "char": "bpchar",
    "character": "bpchar", "character varying": "varchar", "decimal": "numeric", "double precision": "float8",
    "int": "int4", "integer": "int4", "real": "float4", "serial": "int4", "smallint": "int2", "smallserial": "int2",
    "time with time zone": "timetz", "time without time zone": "time", "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}  # fmt: skip


class Pattern(NamedTuple):
    """`text` as mitm.toml has it, and one expression a part, the last part last."""

    text: str
    parts: tuple[re.Pattern[str], ...]

    def matches(self, *names: str) -> bool:
        """Whether `names`, as many as the pattern may have parts, are meant. "" is a name that is not known."""
        return all(not name or part.fullmatch(name) for part, name in zip(self.parts, names, strict=True))


def pattern(text: str, parts: int) -> Pattern:
    """`text` with up to `parts` parts; missing ones in front stand for any. Raises ValueError with the reason."""
    found: list[str] = []
    at = 0
    while True:
        match = _PART.match(text, at)
        if match is None:
            raise ValueError("a part is empty or holds white space or quotes that are not closed")
        quoted, bare = match.groups()
        found.append(re.escape(quoted.replace('""', '"')) if quoted else ".*".join(map(re.escape, bare.split("*"))))
        at = match.end()
        if at == len(text):
            break
        if text[at] != ".":
            raise ValueError(f"not understood from character {at + 1} on")
        at += 1
    if len(found) > parts:
        raise ValueError(f"{len(found)} parts, and at most {parts} are possible")
    found = [".*"] * (parts - len(found)) + found
    return Pattern(text, tuple(re.compile(part, re.IGNORECASE | re.DOTALL) for part in found))


def type_pattern(text: str) -> Pattern:
    """A type by its name in pg_type or in SQL; arrays of it are meant too. Raises ValueError with the reason."""
    schema, name = split_type(text)
    return Pattern(text, pattern(f"{schema}.{name}" if schema else name, 2).parts)


def split_type(text: str) -> tuple[str, str]:
    """`varchar(20)[]`, `_varchar`, `pg_catalog.varchar` → schema or "", and the name of the element type."""
    text = _LENGTH.sub("", text)
    while text.endswith("[]"):
        text = text[:-2].rstrip()
    schema, dot, name = text.rpartition(".")
    name = name.strip()
    if name.startswith("_") and len(name) > 1:
        name = name[1:]
    name = _ALIASES.get(name.lower(), name)
    return (schema.strip() if dot else ""), name
