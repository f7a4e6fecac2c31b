"""What is known of one value, of one column, and of the columns of a query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

Node = dict[str, Any]

EMPTY: frozenset[str] = frozenset()


class Value(NamedTuple):
    """Where a value comes from; the fields are those of Output."""

    sources: frozenset[str] = EMPTY
    plain: bool = False
    unsure: bool = False


NOTHING = Value()
UNKNOWN = Value(EMPTY, False, True)


class Column(NamedTuple):
    name: str
    value: Value


class Result(NamedTuple):
    """The columns of a query or a relation. With `rest` there are more of them, at places and under names that are not
    known: `rest` is the union of their values.
    """

    columns: tuple[Column, ...] = ()
    rest: Value | None = None

    def whole(self) -> Value:
        """Of a row as one value."""
        return merged([*(column.value for column in self.columns), *([self.rest] if self.rest is not None else [])])


OPEN = Result((), UNKNOWN)


def merged(values: Iterable[Value]) -> Value:
    """Of an expression over `values`."""
    found: list[frozenset[str]] = []
    unsure = False
    for value in values:
        if value.sources:
            found.append(value.sources)
        unsure = unsure or value.unsure
    if len(found) < 2:
        return Value(found[0] if found else EMPTY, False, unsure)
    return Value(EMPTY.union(*found), False, unsure)


def either(values: list[Value]) -> Value:
    """Of a value that is one of `values` as it stands: plain where they are all the same."""
    first = values[0]
    if len(values) == 1 or all(value == first for value in values):
        return first
    return merged(values)


def renamed(result: Result, names: list[str]) -> Result:
    """`AS alias (names)`: the first columns get other names."""
    if not names:
        return result
    if result.rest is not None or len(names) > len(result.columns):
        # Which column a name stands for is not known; too many of them, and neither are the columns.
        whole = result.whole()
        value = Value(whole.sources, False, True) if result.rest is None else whole
        return Result(tuple([Column(name, value) for name in names]), value)
    first = [Column(name, column.value) for name, column in zip(names, result.columns, strict=False)]
    return Result((*first, *result.columns[len(names) :]))


def strings(nodes: Iterable[Node]) -> list[str]:
    """The names in a list of String nodes."""
    return [str(node["String"].get("sval", "")) for node in nodes if "String" in node]
