"""Filter terms → a condition in SQL over the index tables. Pure. Values are parameters, never text.

The condition speaks of `c`, a row of `commands`, and `s`, the row of its session (all NULL where there is none).
"""

from __future__ import annotations

import msgspec

from onrecord.recordings.console.language import FilterError, Query, Term, Value
from onrecord.recordings.queries import encodable
from onrecord.recordings.search import fts_query

SOURCE = "commands c LEFT JOIN sessions s ON s.seq = (SELECT min(o.seq) FROM sessions o WHERE o.id = c.session)"
ALONE = "commands c"
TROUBLE = "(c.verdict <> 'allow' OR c.status <> 'ok')"  # word for word that of the index commands_in_trouble

_COLUMNS = {
    "identity": ("c.subject", "c.on_behalf_of", "s.subject", "s.on_behalf_of"),
    "verdict": ("c.verdict",),
    "resource": ("c.resource", "s.resource"),
    "kind": ("c.kind",),
    "protocol": ("s.protocol",),
    "run": ("s.run",),
}
_IN_TEXT = "c.seq IN (SELECT rowid FROM search WHERE search MATCH ?)"
_ANYWHERE = (
    "(c.seq IN (SELECT rowid FROM search WHERE search MATCH ?)"
    " OR c.outcome IN (SELECT rowid FROM search WHERE search MATCH ?)"
    " OR EXISTS (SELECT 1 FROM chunks k WHERE k.command = c.id"
    " AND k.seq IN (SELECT rowid FROM search WHERE search MATCH ?)))"
)

Parameter = str | int | bytes


class Condition(msgspec.Struct, frozen=True):
    """`sql` with `?` for each of `values`; `source` is what it selects from; both time bounds are included."""

    sql: str = "1"
    values: tuple[Parameter, ...] = ()
    source: str = ALONE
    since: int | None = None
    until: int | None = None


def compile_query(query: Query) -> Condition:
    """The condition of a whole filter. Raises FilterError where words to search for have no letter in them."""
    parts: list[str] = []
    values: list[Parameter] = []
    for term in query.terms:
        either: list[str] = []
        for value in term.values:
            sql, more = _compare(term, value)
            either.append(sql)
            values += more
        sql = f"({' OR '.join(either)})"
        parts.append(f"{sql} IS NOT TRUE" if term.negated else sql)
    text = " AND ".join(parts) or "1"
    return Condition(text, tuple(values), SOURCE if "s." in text else ALONE, query.since, query.until)


def _compare(term: Term, value: Value) -> tuple[str, list[Parameter]]:
    text = encodable(value.text)
    if term.field in ("", "text"):
        phrase = text.replace('"', " ")
        begins = value.begins or term.how == "contains"
        match = fts_query(phrase + "*" if begins and " " not in phrase.strip() else f'"{phrase}"')
        if not match:
            raise FilterError(0, f"{value.text!r} has no letter or digit to search for")
        return (_IN_TEXT, [match]) if term.field else (_ANYWHERE, [match] * 3)
    if term.field == "status":
        return ("c.status IS NULL", []) if text == "running" else ("c.status = ?", [text])
    if term.field in ("session", "id"):
        digits = text.replace("-", "").lower()
        column = "c.session" if term.field == "session" else "c.id"
        bounds = [bytes.fromhex(digits.ljust(32, end)) for end in "0f"]
        return f"{column} BETWEEN ? AND ?", list(bounds)
    columns = _COLUMNS[term.field]
    more: list[Parameter]
    if term.how == "contains":
        each, more = "instr(lower({}), lower(?)) > 0", [text]
    elif value.begins:
        each, more = "substr({}, 1, ?) = ?", [len(text), text]
    else:
        each, more = "{} = ?", [text]
    sql = " OR ".join(each.format(column) for column in columns)
    return f"({sql})", [*more] * len(columns)
