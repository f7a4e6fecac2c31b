"""Relations by name: their columns and the base columns behind those, as far as the catalog knows them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from onrecord.policies.sql.catalog import Catalog, Relation
from onrecord.policies.sql.lineage.functions import Functions
from onrecord.policies.sql.lineage.scopes import Item
from onrecord.policies.sql.lineage.system import RELATIONS, SCHEMAS
from onrecord.policies.sql.lineage.values import EMPTY, Column, Node, Result, Value, either, merged
from onrecord.policies.sql.names import CATALOG

# What `Relation.definition` selects, evaluated with the names of `Knowledge`.
Define = Callable[[str, "Knowledge"], Result]

_VIEWS = frozenset("vm")
_DEEPEST = 64
_MOST = 2000  # names remembered: a text can hold any


class Views:
    """The columns of all relations of one catalog; each view is evaluated once."""

    def __init__(self, catalog: Catalog, define: Define) -> None:
        self._catalog = catalog
        self._define = define
        self._known: dict[str, tuple[Result, Value]] = {}
        self._under_way: list[str] = []
        self._names: Knowledge | None = None
        self._lock = threading.RLock()

    def of(self, relation: Relation) -> tuple[Result, Value]:
        """The columns, and the row as one value."""
        found = self._known.get(relation.full_name)
        if found is None:
            with self._lock:
                found = self._evaluated(relation)
        return found

    def _evaluated(self, relation: Relation) -> tuple[Result, Value]:
        name = relation.full_name
        found = self._known.get(name)
        if found is None:
            if name in self._under_way or len(self._under_way) > _DEEPEST:
                return self._own(relation, unsure=True)
            self._under_way.append(name)
            try:
                found = self._view(relation) if relation.kind in _VIEWS else self._own(relation)
            finally:
                self._under_way.remove(name)
            self._known[name] = found
        return found

    def _own(self, relation: Relation, *, unsure: bool = False) -> tuple[Result, Value]:
        family = (relation.full_name, *relation.parents, *relation.children)
        row = Value(frozenset([f"{name}.*" for name in family]), False, unsure)
        columns = [
            Column(
                column.name,
                Value(
                    frozenset([f"{name}.{own}" for name in family for own in (column.name, *column.made_of)]),
                    not unsure and not column.made_of,
                    unsure,
                ),
            )
            for column in relation.columns
        ]
        return Result(tuple(columns)), row

    def _view(self, relation: Relation) -> tuple[Result, Value]:
        """The definition's columns under the view's names; the view's own name for each beside its sources."""
        if self._names is None:
            # pg_get_viewdef leaves out the schema where its own search_path finds the name: any schema is possible.
            self._names = Knowledge(self._catalog, tuple(sorted({*self._catalog.schemas, "public"})), self)
        inner = self._define(relation.definition, self._names)
        named, _ = self._own(relation, unsure=True)
        if inner.rest is not None or len(inner.columns) != len(named.columns):
            whole = inner.whole().sources
            columns = [
                Column(column.name, Value(column.value.sources | whole, False, True)) for column in named.columns
            ]
        else:
            columns = [
                Column(own.name, Value(own.value.sources | value.sources, value.plain, value.unsure))
                for own, (_, value) in zip(named.columns, inner.columns, strict=True)
            ]
        row = merged([column.value for column in columns])
        return Result(tuple(columns)), Value(row.sources | {f"{relation.full_name}.*"}, False, row.unsure)


class Knowledge:
    """What names mean under one catalog and search_path."""

    def __init__(self, catalog: Catalog | None, path: tuple[str, ...], views: Views | None) -> None:
        self.catalog = catalog
        self.path = path
        self.views = views
        self.functions = Functions(catalog, path)
        self._items: dict[tuple[str, str], tuple[Result, tuple[str, ...], tuple[str, ...], Value]] = {}

    def item(self, fields: Node, alias: str) -> Item:
        """The relation of a RangeVar; several where search_path leaves open which."""
        key = (fields.get("schemaname", ""), fields.get("relname", ""))
        found = self._items.get(key)
        if found is None:
            found = self._look_up(*key)
            if len(self._items) < _MOST:
                self._items[key] = found
        result, tables, unseen, row = found
        item = Item(alias, result, tables, unseen, row)
        known = self.catalog.by_name if self.catalog is not None else {}
        for table in tables:
            if table in known and known[table].children:
                item.children = (*item.children, *known[table].children)
        return item

    def relations(self, fields: Node) -> tuple[list[Relation], list[str]]:
        """The relations of the catalog that a RangeVar can mean, and the names of those that it does not know."""
        schema, name = fields.get("schemaname", ""), fields.get("relname", "")
        known = self.catalog.by_name if self.catalog is not None else {}
        names = [f"{entry}.{name}" for entry in ([schema] if schema else self.path)]
        found = [known[full] for full in names if full in known]
        return found, [] if found else names or [f"pg_temp.{name}"]

    def _look_up(self, schema: str, name: str) -> tuple[Result, tuple[str, ...], tuple[str, ...], Value]:
        if self._is_system(schema, name):
            full = f"{schema or 'pg_catalog'}.{name}"
            result = RELATIONS[full]
            return result, (full,), (), result.whole()
        relations, unseen = self.relations({"schemaname": schema, "relname": name})
        if self.views is None or unseen:
            row = Value(frozenset([f"{full}.*" for full in unseen]), False, True)
            return Result((), row), tuple(unseen), tuple(unseen), row
        several = [self.views.of(relation) for relation in relations]
        tables = tuple([relation.full_name for relation in relations])
        if len(several) == 1:
            return several[0][0], tables, (), several[0][1]
        return _overlaid([result for result, _ in several]), tables, (), merged([row for _, row in several])

    def _is_system(self, schema: str, name: str) -> bool:
        if schema:
            return schema in SCHEMAS and f"{schema}.{name}" in RELATIONS
        if f"pg_catalog.{name}" not in RELATIONS and name not in CATALOG:
            return False
        # A path that names pg_catalog behind another schema lets that schema's relations stand in for it.
        late = "pg_catalog" in self.path[1:]
        return not late and f"pg_catalog.{name}" in RELATIONS


def _overlaid(results: list[Result]) -> Result:
    """One of several relations of the same name."""
    names = [column.name for column in results[0].columns]
    if all([column.name for column in result.columns] == names for result in results):
        rows = zip(*(result.columns for result in results), strict=True)
        return Result(tuple([Column(row[0].name, either([column.value for column in row])) for row in rows]))
    every = merged([result.whole() for result in results])
    found: dict[str, list[Value]] = {}
    for result in results:
        for name, value in result.columns:
            found.setdefault(name, []).append(value)
    # `rest` only keeps `*` from being counted: every name that can be meant is listed.
    return Result(
        tuple([Column(name, merged(values)) for name, values in found.items()]), Value(every.sources or EMPTY)
    )
