"""What names stand for under a catalog and a search_path: relations, functions, operators, types, with all they do.

Views stand for what their definitions read, functions in the language sql for what their bodies do, both to any depth.
Answers are kept for the life of the catalog. Nothing here is exact: where two objects may be meant, both are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from onrecord.policies.sql.catalog import Catalog, Function, Relation
from onrecord.policies.sql.errors import SqlError
from onrecord.policies.sql.facts import NOTHING, Facts, inside, judged, merged
from onrecord.policies.sql.functions import EXTENSION_READS, LISTED, RUNNERS
from onrecord.policies.sql.names import CATALOG
from onrecord.policies.sql.parser import parse
from onrecord.policies.sql.trace import Trace
from onrecord.policies.sql.wordlists import words

Node = dict[str, Any]

_DEPTH = 24
_PATHS = 64
_ENTRIES = 20_000
_BUILT_IN = ("pg_catalog", "information_schema")
# Types of an argument that takes a whole row.
_ROW_TYPES = words(
    "record any anyelement anynonarray anycompatible anycompatiblenonarray anyarray", prefix="pg_catalog."
)
# Operators that stand behind words: BETWEEN, CASE x WHEN, USING, IN (SELECT …).
_SILENT = ("=", "<>", "<", ">", "<=", ">=")


Along = Literal["none", "cascades", "all"]


class Tables(NamedTuple):
    """The relations that a name may stand for; `known` is false where the catalog has none of that name.

    `above` are the same with what they are partitions or children of.
    """

    names: tuple[str, ...]
    known: bool
    above: tuple[str, ...] = ()


class Known:
    """The names that statements of one search_path may use. `known` makes and keeps them."""

    def __init__(self, catalog: Catalog, path: tuple[str, ...], outer: tuple[str, ...]) -> None:
        self.catalog = catalog
        self.path = path
        self.outer = outer  # what functions run under that set no path of their own
        self._built_ins_first = "pg_catalog" not in path or path[0] == "pg_catalog"
        self._kept: dict[object, Facts | None] = {}
        self._tables: dict[tuple[str, str], Tables] = {}
        self._columns: dict[str, frozenset[str] | None] = {}

    # Relations

    def tables(self, schema: str, name: str) -> Tables:
        key = (schema, name)
        found = self._tables.get(key)
        if found is None:
            found = self._named(schema, name)
            relations = [self.catalog.by_name[one] for one in found.names if one in self.catalog.by_name]
            above = [*found.names, *(parent for relation in relations for parent in relation.parents)]
            found = found._replace(above=tuple(dict.fromkeys(above)))
            if len(self._tables) >= _ENTRIES:
                self._tables.clear()
            self._tables[key] = found
        return found

    def _named(self, schema: str, name: str) -> Tables:
        if schema:
            full = f"{schema}.{name}"
            own = schema == "information_schema" or (schema == "pg_catalog" and name in CATALOG)
            return Tables((full,), own or full in self.catalog.by_name)
        if name in CATALOG and self._built_ins_first:
            return Tables((f"pg_catalog.{name}",), known=True)
        schemas = (*self.path, *(() if "pg_catalog" in self.path else ("pg_catalog",)))
        found = [full for entry in schemas if (full := f"{entry}.{name}") in self.catalog.by_name]
        if name in CATALOG:
            found.append(f"pg_catalog.{name}")
        if not found and "information_schema" in self.path:
            found.append(f"information_schema.{name}")
        if found:
            return Tables(tuple(found), known=True)
        return Tables(tuple(f"{entry}.{name}" for entry in self.path) or (f"pg_temp.{name}",), known=False)

    def columns(self, table: str) -> frozenset[str] | None:
        """The columns of `schema.table`; None where they are not known."""
        if table not in self._columns:
            relation = self.catalog.by_name.get(table)
            if relation is None:
                return None
            self._columns[table] = frozenset(column.name for column in relation.columns)
        return self._columns[table]

    def family(self, table: str) -> Facts:
        """`schema.table` with its ancestors and descendants, as read."""
        relation = self.catalog.by_name.get(table)
        return NOTHING if relation is None else self._family(relation, only=False)

    def reading(self, table: str, trace: Trace, *, only: bool = False) -> Facts:
        """What reading `schema.table` reads and calls; `only`: without its descendants."""
        key = ("read", table, only)
        return self._kept.get(key) or self._keep(key, trace, lambda: self._read(table, trace, only=only)) or NOTHING

    def _read(self, table: str, trace: Trace, *, only: bool) -> Facts:
        relation = self.catalog.by_name.get(table)
        if relation is None:
            return Facts(read=frozenset({table}))
        own = self._family(relation, only=only)
        if relation.kind not in {"v", "m"}:
            return own
        defined = self.definition(relation, trace)
        if relation.kind == "m":  # what it calls was called when it was filled
            defined = Facts(
                read=defined.read, columns=defined.columns, foreign=defined.foreign, mentions=defined.mentions
            )
        return merged([own, defined])

    def _family(self, relation: Relation, *, only: bool) -> Facts:
        """A relation with its ancestors and, but for ONLY, its descendants."""
        names = {relation.full_name, *relation.parents, *(() if only else relation.children)}
        by_name = self.catalog.by_name
        foreign = frozenset(name for name in names if name in by_name and by_name[name].foreign)
        return Facts(read=frozenset(names), foreign=foreign)

    def definition(self, relation: Relation, trace: Trace) -> Facts:
        """What the query of a view reads and calls."""
        key = ("view", relation.full_name)
        return self._keep(key, trace, lambda: self._defined(relation, trace)) or NOTHING

    def _defined(self, relation: Relation, trace: Trace) -> Facts:
        what = f"view {relation.full_name}"
        parts = [inside(what, self.reading(name, trace)) for name in relation.reads]
        try:
            # The catalog is read under an empty search_path: every name in it that is not built in has its schema.
            if not relation.definition.strip():
                raise SqlError("it is missing")
            parts.append(inside(what, _walked(relation.definition, known(self.catalog, (), self.outer), trace)))
        except SqlError:
            parts.append(judged("unknown", f"the definition of {what} cannot be read"))
        return merged(parts)

    def writing(self, table: str, trace: Trace, *, only: bool = False, along: Along = "cascades") -> Facts:
        """What changing rows of `schema.table` writes, reads and calls.

        `along`: which tables with foreign keys on it change too: those that cascade (UPDATE, DELETE), all (TRUNCATE …
        CASCADE) or none (INSERT).
        """
        key = ("write", table, only, along)
        make = functools.partial(self._written, table, trace, only=only, along=along)
        return self._kept.get(key) or self._keep(key, trace, make) or NOTHING

    def _written(self, table: str, trace: Trace, *, only: bool, along: Along) -> Facts:
        relation = self.catalog.by_name.get(table)
        if relation is None:
            return Facts(written=frozenset({table}))
        family = self._family(relation, only=only)
        parts = [Facts(written=family.read, foreign=family.foreign)]
        for name in (table, *(() if only else relation.children)):
            one = self.catalog.by_name.get(name)
            if one is None:
                continue
            parts += [self._trigger(name, function) for function in one.trigger_functions]
            also = one.referenced_by if along == "all" else one.cascades if along == "cascades" else ()
            parts += [self.writing(other, trace, along=along) for other in also]
            parts += [
                inside(f"a rule on {name}", merged([self.writing(other, trace), self.reading(other, trace)]))
                for other in one.rule_tables
            ]
        if relation.kind in {"v", "m"}:
            parts.append(self.definition(relation, trace))
        if relation.kind == "v":
            parts += [self.writing(base, trace, along=along) for base in self._updatable(relation)]
        return merged(parts)

    @staticmethod
    def _trigger(table: str, function: str) -> Facts:
        return Facts(
            functions=frozenset({function}),
            mentions=frozenset({function.rpartition(".")[2]}),
            reasons=(f"write: {function} runs by a trigger or a rule on {table}",),
        )

    def _updatable(self, view: Relation) -> tuple[str, ...]:
        """The relation that PostgreSQL changes in the place of a simple view."""
        try:
            ((_, select),) = parse(view.definition)[0]["stmt"].items()
        except (SqlError, IndexError, KeyError, ValueError):
            return view.reads
        sources = select.get("fromClause", [])
        if len(sources) != 1:
            return ()
        base = sources[0].get("RangeVar")
        if base is None:
            return ()
        return self.tables(base.get("schemaname", ""), base.get("relname", "")).names

    # Functions

    def function(self, parts: list[str], trace: Trace) -> Facts | None:
        """What calling a function of this name does, all overloads together; None where no function has the name."""
        if parts[-1] not in self.catalog.functions_by_bare_name:
            return None
        return self._keep(("call", *parts), trace, lambda: self._called(parts, trace))

    def _called(self, parts: list[str], trace: Trace) -> Facts | None:
        schemas = [parts[-2]] if len(parts) > 1 else [*dict.fromkeys((*self.path, "pg_catalog"))]
        by_name = self.catalog.functions_by_name
        overloads = [one for schema in schemas for one in by_name.get(f"{schema}.{parts[-1]}", ())]
        return merged([self._overload(one, trace) for one in overloads]) if overloads else None

    def _overload(self, function: Function, trace: Trace) -> Facts:
        key = ("function", function.oid, function.full_name)
        return self._keep(key, trace, lambda: self._judge(function, trace)) or NOTHING

    def _judge(self, function: Function, trace: Trace) -> Facts:
        """Only what cannot write by its volatility or whose body can be read is a read."""
        name = function.full_name
        own = Facts(functions=frozenset({name}), mentions=frozenset({function.name}))
        listed = LISTED.get(function.name, ("read", ""))
        if function.extension and (listed[0] != "read" or function.extension in RUNNERS):
            action, why = (
                listed if listed[0] != "read" else ("unknown", f"belongs to the extension {function.extension}")
            )
            return merged([own, judged(action, f"function {name} {why}")])
        if function.kind == "a":
            return merged([own, self._aggregate(function, trace)])
        rights = NOTHING
        if function.security_definer:
            rights = Facts(reasons=(f"read: function {name} runs with the rights of its owner",))
        body = self._body(function, trace)
        if body is not None:
            return merged([own, rights, inside(f"function {name}", body)])
        if function.security_definer:
            why = "runs with the rights of its owner and its body cannot be read"
        elif function.volatility == "i":
            return own
        elif function.volatility == "s":
            if function.extension and function.language in {"c", "internal"}:
                return own
            why = "is stable and its body cannot be read"
        elif function.name in EXTENSION_READS.get(function.extension, ()):
            return own
        else:
            why = "is volatile and its body cannot be read"
        return merged([own, judged("unknown", f"function {name} {why}")])

    def _aggregate(self, function: Function, trace: Trace) -> Facts:
        """An aggregate calls its support functions; its own volatility says nothing."""
        support: tuple[str, ...] = function.support
        if not support:
            if function.extension:
                return NOTHING
            return judged("unknown", f"aggregate {function.full_name}: its support functions are not known")
        return inside(f"aggregate {function.full_name}", merged([self.by_full_name(name, trace) for name in support]))

    def by_full_name(self, name: str, trace: Trace) -> Facts:
        """What calling `schema.function` does; built-ins of that name are reads."""
        schema, _, bare = name.partition(".")
        found = self.function([schema, bare], trace)
        if found is not None:
            return found
        listed = LISTED.get(bare, ("read", ""))
        if schema == "pg_catalog":
            return NOTHING if listed[0] == "read" else judged(listed[0], f"function {name} {listed[1]}")
        return judged("unknown", f"function {name} is not in the catalog")

    def _body(self, function: Function, trace: Trace) -> Facts | None:
        """What the body of a function in the language sql does; None where it cannot be read."""
        if function.language != "sql" or not function.body.strip():
            return None
        text, path = function.body, self.outer
        if function.search_path is not None:
            # $user stands for a schema of the session's path.
            path = tuple(
                dict.fromkeys(
                    entry for given in function.search_path for entry in (self.outer if given == "$user" else (given,))
                )
            )
        standard = text.lstrip()[:12].upper().startswith(("BEGIN ATOMIC", "RETURN"))
        try:
            return _walked(text, known(self.catalog, () if standard else path, path), trace, standard=standard)
        except SqlError:
            return None

    @functools.cached_property
    def row_functions(self) -> frozenset[str]:
        """Bare names of functions that `alias.name` may call with a whole row."""
        composites = {f"{one.schema}.{one.name}" for one in self.catalog.types if one.kind == "c" or one.base}
        composites |= self.catalog.by_name.keys() | _ROW_TYPES
        return frozenset(
            function.name
            for function in self.catalog.functions
            if function.arguments and (function.arguments[0] in composites or function.arguments[0] == "?")
        )

    # Operators, casts and types

    def operator(self, parts: list[str], trace: Trace) -> Facts | None:
        """What an operator of this name may do; None where it is none of the catalog's."""
        if parts[-1] not in self.catalog.operators_by_name:
            return None
        return self._keep(("operator", *parts), trace, lambda: self._operated(parts, trace))

    def _operated(self, parts: list[str], trace: Trace) -> Facts | None:
        schemas = {parts[-2]} if len(parts) > 1 else {*self.path, "pg_catalog"}
        found = [one for one in self.catalog.operators_by_name[parts[-1]] if one.schema in schemas]
        calls = {one.function for one in found}
        facts = [self.by_full_name(name, trace) for name in sorted(calls)]
        if not found:
            return None
        return inside(f"operator {parts[-1]}", merged([one for one in facts if not one.plain]))

    @functools.cached_property
    def odd_operators(self) -> dict[str, Facts]:
        """Operators by bare name that do more than compute; a statement with such a name is looked at closely."""
        found = {}
        for name in self.catalog.operators_by_name:
            facts = self.operator([name], Trace())
            if facts is not None and not facts.plain:
                found[name] = facts
        return found

    @functools.cached_property
    def silent_operators(self) -> Facts:
        """What comparisons may do that are not written as operators."""
        return merged([self.odd_operators[name] for name in _SILENT if name in self.odd_operators])

    @functools.cached_property
    def odd_casts(self) -> tuple[tuple[frozenset[str], Facts], ...]:
        """Casts that do more than compute: the types of either side that are not built in, and what they do."""
        found = []
        for name in self.catalog.cast_functions:
            facts = self.by_full_name(name, Trace())
            if facts.plain:
                continue
            sides: set[str] = set()
            for one in self.catalog.functions_by_name.get(name, ()):
                sides |= {*one.arguments[:1], one.returns}
            own = frozenset(side for side in sides if not side.startswith("pg_catalog."))
            found.append((own, inside(f"cast by {name}", facts)))
        return tuple(found)

    def casts(self, names: set[str], tables: set[str], functions: set[str], *, parameters: bool) -> Facts:
        """What casts may do in a statement with types of these bare names, over these relations and functions."""
        types = self._types(names, tables, functions)
        return merged([facts for own, facts in self.odd_casts if parameters or not own or own & types])

    @functools.cached_property
    def _types_by_bare_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in self.catalog.types:
            found.setdefault(one.name, []).append(f"{one.schema}.{one.name}")
        return found

    def _types(self, names: set[str], tables: set[str], functions: set[str]) -> set[str]:
        catalog = self.catalog
        queue = [full for name in names for full in self._types_by_bare_name.get(name, ())]
        for table in tables:
            queue.append(table)
            relation = catalog.by_name.get(table)
            queue += [column.type for column in relation.columns] if relation else []
        for name in functions:
            for function in catalog.functions_by_name.get(name, ()):
                queue += [*function.arguments, function.returns]
        found: set[str] = set()
        while queue:
            name = queue.pop()
            if name in found:
                continue
            found.add(name)
            info = catalog.types_by_name.get(name)
            if info is not None:
                inner = [info.element, info.base, *(oid for _, oid in info.fields)]
                below = (catalog.types_by_oid.get(oid) for oid in inner if oid)
                queue += [f"{one.schema}.{one.name}" for one in below if one is not None]
        return found

    def is_type(self, parts: list[str]) -> bool:
        """Whether a type that is not built in has this name: `mytype('x')` is a cast where no function has it."""
        schemas = parts[-2:-1] or [*self.path, "pg_catalog"]
        return any(f"{schema}.{parts[-1]}" in self.catalog.types_by_name for schema in schemas)

    # Keeping answers

    def _keep(self, key: object, trace: Trace, make: Callable[[], Facts | None]) -> Facts | None:
        if key in self._kept:
            return self._kept[key]
        mark = (id(self), key)
        if mark in trace.active:
            trace.cut = True
            return NOTHING
        with _entered(trace, mark) as admitted:
            found = (
                make() if admitted else judged("unknown", "views and functions are nested too deeply to be followed")
            )
        if not trace.cut and admitted:
            if len(self._kept) >= _ENTRIES:
                self._kept.clear()
            self._kept[key] = found
        return found


@contextmanager
def _entered(trace: Trace, mark: object) -> Iterator[bool]:
    trace.left -= 1
    trace.active.append(mark)
    try:
        yield trace.left > 0 and len(trace.active) <= _DEPTH * 3
    finally:
        trace.active.pop()
        if not trace.active:
            trace.cut = False


def _walked(text: str, names: Known, trace: Trace, *, standard: bool = False) -> Facts:
    """What the statements of `text` do. Raises SqlError."""
    from onrecord.policies.sql.expansion import facts_of_text

    return facts_of_text(text, names, trace, standard=standard)


def known(catalog: Catalog, path: tuple[str, ...], outer: tuple[str, ...] | None = None) -> Known:
    """The names of `catalog` under `path`; kept with the catalog.

    `outer`: the path that is in force where `path` is only how a stored text names things.
    """
    kept: dict[tuple[tuple[str, ...], tuple[str, ...]], Known] = catalog.__dict__.setdefault("known", {})
    key = (path, path if outer is None else outer)
    found = kept.get(key)
    if found is None:
        if len(kept) >= _PATHS:
            kept.clear()
        found = kept[key] = Known(catalog, *key)
    return found
