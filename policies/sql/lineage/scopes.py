"""What a name can mean at a place in a query."""

from __future__ import annotations

from onrecord.policies.sql.lineage.functions import Functions
from onrecord.policies.sql.lineage.system import SYSTEM_COLUMNS
from onrecord.policies.sql.lineage.values import EMPTY, NOTHING, Column, Result, Value, either, merged


class Item:
    """One entry of FROM under its alias.

    - `tables`: the relations that it stands for, `schema.name`; () for queries and functions.
    - `unseen`: those of them that the catalog does not know: any column may be theirs.
    """

    __slots__ = ("children", "columns", "name", "names", "rest", "row", "tables", "unseen")

    def __init__(
        self, name: str, result: Result, tables: tuple[str, ...] = (), unseen: tuple[str, ...] = (),
        row: Value | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.columns = result.columns
        self.rest = result.rest
        self.tables = tables
        self.unseen = unseen
        self.row = row if row is not None else result.whole()
        self.names: dict[str, Value] | None = None
        self.children: tuple[str, ...] = ()

    def below(self, column: str) -> frozenset[str]:
        """The names of `column` in the relation's children."""
        return frozenset([f"{child}.{column}" for child in self.children])

    def find(self, name: str) -> Value | None:
        """The column `name`, or None where the relation has none."""
        if self.names is None:
            self.names = by_name(self.columns)
        found = self.names.get(name)
        if found is not None:
            return found
        if name in SYSTEM_COLUMNS and self.tables:
            return NOTHING
        return self.guess(name) if self.rest is not None else None

    def guess(self, name: str) -> Value:
        """The column `name` of a relation whose columns are not all known."""
        rest = self.rest or NOTHING
        if not self.unseen:
            return rest
        return Value(
            frozenset([f"{table}.{name}" for table in self.unseen]) | (self.row.sources - self._stars()), False, True
        )

    def _stars(self) -> frozenset[str]:
        return frozenset([f"{table}.*" for table in self.unseen])


def by_name(columns: tuple[Column, ...] | list[Column]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, value in columns:
        found[name] = either([found[name], value]) if name in found else value
    return found


class Space:
    """What FROM makes visible: items by alias, and the columns of `*` in order; with `opens` there are more of them."""

    __slots__ = ("_names", "columns", "items", "opens")

    def __init__(self, items: list[Item] | None = None, columns: list[Column] | None = None) -> None:
        self.items = items or []
        self.columns = columns or []
        self.opens: list[Item] = []
        self._names: dict[str, Value] | None = None

    def add(self, item: Item) -> None:
        self.items.append(item)
        self.columns.extend(item.columns)
        if item.rest is not None:
            self.opens.append(item)
        self._names = None

    def extend(self, other: Space) -> None:
        self.items.extend(other.items)
        self.columns.extend(other.columns)
        self.opens.extend(other.opens)
        self._names = None

    def names(self) -> dict[str, Value]:
        if self._names is None:
            self._names = by_name(self.columns)
        return self._names

    def star(self) -> Result:
        return Result(tuple(self.columns), merged([item.row for item in self.opens]) if self.opens else None)


class Env:
    """One query level. `ctes` are those in sight by name; `windows` the named windows of this level."""

    __slots__ = ("ctes", "parent", "space", "windows")

    def __init__(self, parent: Env | None, ctes: dict[str, Result], space: Space | None = None) -> None:
        self.parent = parent
        self.ctes = ctes
        self.space = space or Space()
        self.windows: dict[str, Value] = {}

    def item(self, alias: str, schema: str = "") -> Item | None:
        """The relation `alias` (or `schema.alias`), from the inside out."""
        env: Env | None = self
        while env is not None:
            for item in env.space.items:
                if item.name == alias and (not schema or f"{schema}.{alias}" in item.tables):
                    return item
            env = env.parent
        return None

    def bare(self, name: str) -> Value:
        """A column reference of one name: a column, else a whole row."""
        env: Env | None = self
        guesses: list[Value] = []
        while env is not None:
            space = env.space
            found = space.names().get(name)
            if found is not None:
                return either([*guesses, found]) if guesses else found
            if name in SYSTEM_COLUMNS and any(item.tables for item in space.items):
                guesses.append(NOTHING)  # but views and foreign tables have none: it may be further out
            guesses += [item.guess(name) for item in space.opens]
            env = env.parent
        row = self.item(name)
        if row is not None:
            guesses.append(row.row)
            return merged(guesses)
        return merged(guesses) if guesses else self.lost(name)

    def qualified(self, parts: list[str], functions: Functions) -> Value:
        """`alias.name`, `schema.table.name`: a column, else a call on the row."""
        name = parts[-1]
        item = self.item(parts[-2], parts[-3] if len(parts) > 2 else "")
        if item is None:
            return self.lost(name)
        found = item.find(name)
        if found is not None:
            return found
        call = functions.field(name)
        row = item.row
        return Value(row.sources, False, row.unsure or call.unsure or not functions.known(name))

    def lost(self, name: str) -> Value:
        """A name that nothing here has: the statement fails, or the catalog is behind and any table in sight has it."""
        tables: set[str] = set()
        env: Env | None = self
        while env is not None:
            for item in env.space.items:
                tables.update(item.tables)
            env = env.parent
        return Value(frozenset([f"{table}.{name}" for table in tables]) or EMPTY, False, True)
