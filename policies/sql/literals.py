"""One analysis for texts that differ only in plain integers: `… WHERE id = 7` answers for `… WHERE id = 8`.

Generated SQL often carries its values in the text, so that no text comes twice and parsing would be most of the cost
of a query. A fingerprint is no safe key (`SET ROLE a` and `SET ROLE b` share one); this key keeps the whole text except
integers, and is made only where an integer's value cannot matter to the analysis:

- the text has no quote, comment, escape, operator or sign that could make a digit anything but an integer constant;
- each integer has at most nine digits, so that the grammar gives all of them the same token;
- it is one SELECT or INSERT that is plainly a read or a write: no reason, no setting, no prepared name, no redaction.
  Of UPDATE and DELETE the analysis compares constants (`WHERE 1 = 1`), so their values do matter. So they do in the
  WHERE of a SELECT, unless each integer there is compared with a column and nothing but AND joins the comparisons.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from onrecord.policies.sql.statement import Analysis, Statement

_PLAIN = re.compile(r"(?:[A-Za-z0-9_ \t\n.,=<>()*;]|\$[0-9])*")
_INTEGER = re.compile(r"(?<![\w.$])[0-9]{1,9}(?![\w.$])")
_KINDS = frozenset({"SELECT", "INSERT"})
_MAX_TEXT = 2048
_ENTRIES = 1024

Key = tuple[str, tuple[str, ...], int]


class Literals:
    """Analyses by text without integers. `get` costs about two microseconds."""

    def __init__(self, entries: int = _ENTRIES) -> None:
        self._entries = entries
        self._map: dict[Key, tuple[Statement, int, int]] = {}

    @staticmethod
    def key(sql: str, search_path: tuple[str, ...], serial: int = 0) -> Key | None:
        """The text with a mark for each integer; None where it is not plain or has no integer."""
        if len(sql) > _MAX_TEXT or _PLAIN.fullmatch(sql) is None:
            return None
        template, count = _INTEGER.subn("\0", sql)
        return (template, search_path, serial) if count else None

    def get(self, key: Key, sql: str) -> Analysis | None:
        """The analysis of `sql`, whose key is `key`, if a text of that key was seen."""
        found = self._map.get(key)
        if found is None:
            return None
        statement, head, tail = found
        return Analysis((_with_text(statement, sql[head : len(sql) - tail]),))

    def put(self, key: Key, sql: str, analysis: Analysis) -> None:
        """Keep `analysis` for all texts of `key`, where that is safe."""
        if len(analysis.statements) != 1:
            return
        statement = analysis.statements[0]
        special = statement.reasons or statement.settings or statement.transaction or statement.copy or statement.loses
        named = (statement.prepares, statement.executes, statement.deallocates) != (None, None, None)
        head = sql.find(statement.text)
        if special or named or head < 0 or statement.kind not in _KINDS or statement.action not in {"read", "write"}:
            return
        if not _indifferent(key[0].lower(), statement.kind):
            return
        if len(self._map) >= self._entries:
            self._map.clear()
        _ = statement.detail_json  # made once, shared by all
        self._map[key] = (statement, head, len(sql) - head - len(statement.text))


# In a text without its integers, lower case: where an integer is compared with a column or limits the rows.
_COMPARED = re.compile(r"(?:\b[a-z_][a-z0-9_.]*\s*(?:=|<>|<=|>=|<|>)|\blimit|\boffset)\s*\0")
_WEIGHED = re.compile(r"\b(?:or|not|between|case|is|in)\b")


def _indifferent(template: str, kind: str) -> bool:
    """Whether `has_where` is the same whatever the integers are."""
    if "where" not in template:
        return True
    return kind == "SELECT" and _WEIGHED.search(template) is None and "\0" not in _COMPARED.sub("", template)


def _with_text(statement: Statement, text: str) -> Statement:
    copy = _replace(statement, text=text)
    copy.__dict__["detail_json"] = statement.detail_json  # it does not hold the text
    copy.__dict__["shape"] = statement
    return copy


_replace: Callable[..., Statement] = msgspec.structs.replace
