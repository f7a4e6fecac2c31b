"""What the database's own catalog says of its relations and functions: an immutable snapshot, without I/O.

Only what is not PostgreSQL's own is in it; built-ins are known from data/*.txt. The snapshot is read by a side
connection (shims/postgres/catalog/) and sees neither temporary nor uncommitted objects.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import msgspec

_serials = itertools.count(1)


class CatalogColumn(msgspec.Struct, frozen=True):
    """A live column: its name, attnum, and its type as OID and `schema.name` (of a domain: the domain's).

    `made_of`: the columns of its row that it is generated from.
    """

    name: str
    number: int
    type_oid: int
    type: str
    made_of: tuple[str, ...] = ()


class Relation(msgspec.Struct, frozen=True, kw_only=True):
    """A table, view, materialised view, foreign table, partitioned table or sequence (`kind` is pg_class.relkind).

    - `definition`: the SELECT of a view or materialised view, as pg_get_viewdef gives it; "" for others.
    - `parents`: all ancestors by inheritance or partitioning, nearest first; `children`: all descendants.
    - `rule_tables`: what rewrite rules other than a view's own refer to; `trigger_functions`: what its triggers call.
    - `reads`: for a view, the relations that its rule depends on (pg_depend), one step down. Names are `schema.name`.
    - `referenced_by`: tables with a foreign key on this one; `cascades`: those whose rows change with it, by ON DELETE
      or ON UPDATE CASCADE, SET NULL or SET DEFAULT. Both are one step.
    - `has_policies`: row security is on.
    """

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[CatalogColumn, ...] = ()
    definition: str = ""
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    rule_tables: tuple[str, ...] = ()
    trigger_functions: tuple[str, ...] = ()
    referenced_by: tuple[str, ...] = ()
    cascades: tuple[str, ...] = ()
    has_policies: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def foreign(self) -> bool:
        return self.kind == "f"


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function, procedure or aggregate that is not PostgreSQL's own, one overload.

    - `volatility`: "i", "s" or "v"; `kind`: pg_proc.prokind ("f", "p", "a", "w").
    - `arguments`: the types of its input arguments as `schema.name`; `returns` likewise.
    - `body`: the source of a function in the language sql, "" for others; `search_path`: of its own SET, None without.
    - `extension`: the extension that it belongs to, "" for none; `support`: the functions that an aggregate calls.
    """

    oid: int
    schema: str
    name: str
    volatility: str
    security_definer: bool
    language: str
    kind: str = "f"
    arguments: tuple[str, ...] = ()
    returns: str = ""
    returns_set: bool = False
    body: str = ""
    search_path: tuple[str, ...] | None = None
    extension: str = ""
    support: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


class Operator(msgspec.Struct, frozen=True):
    """An operator that is not PostgreSQL's own, and the function behind it as `schema.name`."""

    schema: str
    name: str
    function: str


class Catalog(msgspec.Struct, frozen=True, kw_only=True, dict=True, eq=False):
    """One snapshot. `serial` differs for each: analysis caches use it as part of their key.

    `types` maps the OIDs of types that are not built in to (schema.name, typtype, element OID or base OID, columns):
    see `TypeInfo`. `cast_functions` are functions behind casts that are not PostgreSQL's own.
    """

    relations: tuple[Relation, ...] = ()
    functions: tuple[Function, ...] = ()
    operators: tuple[Operator, ...] = ()
    types: tuple[TypeInfo, ...] = ()
    cast_functions: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ("public",)
    serial: int = msgspec.field(default_factory=lambda: next(_serials))

    @functools.cached_property
    def by_name(self) -> dict[str, Relation]:
        """`schema.name` → relation."""
        return {relation.full_name: relation for relation in self.relations}

    @functools.cached_property
    def bare_names(self) -> frozenset[str]:
        """The names of all relations, functions, operators and types, without their schemas."""
        named: tuple[Relation | Function | Operator | TypeInfo, ...]
        named = (*self.relations, *self.functions, *self.operators, *self.types)
        return frozenset(one.name for one in named)

    @functools.cached_property
    def by_oid(self) -> dict[int, Relation]:
        return {relation.oid: relation for relation in self.relations}

    @functools.cached_property
    def functions_by_name(self) -> dict[str, tuple[Function, ...]]:
        """`schema.name` → all overloads."""
        return _grouped(self.functions, lambda function: function.full_name)

    @functools.cached_property
    def functions_by_oid(self) -> dict[int, Function]:
        return {function.oid: function for function in self.functions}

    @functools.cached_property
    def functions_by_bare_name(self) -> dict[str, tuple[Function, ...]]:
        return _grouped(self.functions, lambda function: function.name)

    @functools.cached_property
    def operators_by_name(self) -> dict[str, tuple[Operator, ...]]:
        return _grouped(self.operators, lambda operator: operator.name)

    @functools.cached_property
    def types_by_oid(self) -> dict[int, TypeInfo]:
        return {info.oid: info for info in self.types}

    @functools.cached_property
    def types_by_name(self) -> dict[str, TypeInfo]:
        """`schema.name` → type."""
        return {f"{info.schema}.{info.name}": info for info in self.types}


class TypeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A type that is not built in. `kind` is pg_type.typtype: "b", "c", "d", "e", "r", "m".

    `element`: the element's OID of an array, else 0; `base`: of a domain, else 0; `fields`: name and type OID of a
    composite's columns (a table's row type included).
    """

    oid: int
    schema: str
    name: str
    kind: str
    element: int = 0
    base: int = 0
    fields: tuple[tuple[str, int], ...] = ()


def _grouped[T](items: tuple[T, ...], key: Callable[[T], str]) -> dict[str, tuple[T, ...]]:
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return {name: tuple(group) for name, group in found.items()}
