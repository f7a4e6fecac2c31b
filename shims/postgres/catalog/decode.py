"""The answers of queries.py → a Catalog. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from onrecord.policies.errors import OnrecordError
from onrecord.policies.sql.catalog import Catalog, CatalogColumn, Function, Operator, Relation, TypeInfo
from onrecord.shims.postgres.search_path import split_identifiers

_FIRST_OWN = 16384  # FirstNormalObjectId, access/transam.h
_BUILT_IN = frozenset({"pg_catalog", "information_schema"})


class CatalogError(OnrecordError):
    """The catalog cannot be read; the text is for operators."""


type _Texts = list[str] | None
type _Function = tuple[int, str, str, str, bool, str, str, list[int], int, bool, str, _Texts, str | None, _Texts]


class Facts(msgspec.Struct, frozen=True):
    """All answers, each as its query builds it; `views` and `bodies` are texts by OID."""

    schemas: list[str]
    relations: list[tuple[int, str, str, str, bool]]
    columns: list[tuple[int, list[tuple[str, int, int, list[int] | None]]]]
    types: list[tuple[int, str, str, str, int, int, int]]
    inherits: list[tuple[int, int]]
    references: list[tuple[int, int, bool]]
    rules: list[tuple[int, bool, str, int]]
    triggers: list[tuple[int, str, str]]
    functions: list[_Function]
    operators: list[tuple[str, str, str, str]]
    casts: list[tuple[str, str]]


_decode = msgspec.json.Decoder(Facts).decode
_decode_texts = msgspec.json.Decoder(list[tuple[int, str]]).decode


def decode_texts(answer: str) -> dict[int, str]:
    """Texts by OID. Raises CatalogError."""
    try:
        return dict(_decode_texts(answer))
    except msgspec.MsgspecError as error:
        raise CatalogError(f"an answer of the catalog cannot be read: {error}") from None


def decode_catalog(answers: dict[str, str], views: dict[int, str], bodies: dict[int, str]) -> Catalog:
    """`answers` by the names of queries.FACTS. Raises CatalogError."""
    whole = "{" + ",".join(f'"{name}":{text}' for name, text in answers.items()) + "}"
    try:
        facts = _decode(whole)
    except msgspec.MsgspecError as error:
        raise CatalogError(f"an answer of the catalog cannot be read: {error}") from None
    types = {oid: f"{schema}.{name}" for oid, schema, name, *_ in facts.types}
    columns = {
        relation: tuple(
            CatalogColumn(
                name,
                number,
                oid,
                types.get(oid, "?"),
                tuple(other for other, place, *_ in found if place in made_of) if made_of else (),
            )
            for name, number, oid, made_of in found
        )
        for relation, found in facts.columns
    }
    functions = tuple(_functions(facts, types, bodies))
    return Catalog(
        relations=tuple(_relations(facts, columns, views, functions)),
        functions=functions,
        operators=tuple(
            Operator(schema, name, f"{function_schema}.{function}")
            for schema, name, function_schema, function in facts.operators
        ),
        types=tuple(_types(facts, columns)),
        cast_functions=tuple(f"{schema}.{name}" for schema, name in facts.casts),
        schemas=tuple(facts.schemas),
    )


def _relations(
    facts: Facts, columns: dict[int, tuple[CatalogColumn, ...]], views: dict[int, str], functions: tuple[Function, ...]
) -> Iterable[Relation]:
    names = {oid: f"{schema}.{name}" for oid, schema, name, *_ in facts.relations}
    function_names = {function.oid: function.full_name for function in functions}
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for child, parent in facts.inherits:
        above.setdefault(child, []).append(parent)
        below.setdefault(parent, []).append(child)
    referring: dict[int, set[str]] = {}
    cascading: dict[int, set[str]] = {}
    for target, source, cascades in facts.references:
        if source in names:
            referring.setdefault(target, set()).add(names[source])
            if cascades:
                cascading.setdefault(target, set()).add(names[source])
    reads: dict[int, set[str]] = {}
    rule_tables: dict[int, set[str]] = {}
    called: dict[int, set[str]] = {}
    for relation, own, what, oid in facts.rules:
        if what == "f":
            if not own and oid in function_names:
                called.setdefault(relation, set()).add(function_names[oid])
        elif oid in names:
            (reads if own else rule_tables).setdefault(relation, set()).add(names[oid])
    for relation, schema, name in facts.triggers:
        called.setdefault(relation, set()).add(f"{schema}.{name}")
    for oid, schema, name, kind, secured in facts.relations:
        if kind == "c":  # a composite type: see TypeInfo
            continue
        yield Relation(
            oid=oid,
            schema=schema,
            name=name,
            kind=kind,
            columns=columns.get(oid, ()),
            definition=views.get(oid, ""),
            parents=tuple(names[one] for one in _reach(oid, above) if one in names),
            children=tuple(names[one] for one in _reach(oid, below) if one in names),
            reads=tuple(sorted(reads.get(oid, ()))),
            rule_tables=tuple(sorted(rule_tables.get(oid, ()))),
            trigger_functions=tuple(sorted(called.get(oid, ()))),
            referenced_by=tuple(sorted(referring.get(oid, ()))),
            cascades=tuple(sorted(cascading.get(oid, ()))),
            has_policies=secured,
        )


def _reach(start: int, edges: dict[int, list[int]]) -> list[int]:
    """All that can be reached from `start`, nearest first, without it."""
    found = dict.fromkeys(edges.get(start, ()))
    queue = list(found)
    for one in queue:
        for further in edges.get(one, ()):
            if further not in found and further != start:
                found[further] = None
                queue.append(further)
    return list(found)


def _functions(facts: Facts, types: dict[int, str], bodies: dict[int, str]) -> Iterable[Function]:
    for row in facts.functions:
        (
            oid,
            schema,
            name,
            volatility,
            definer,
            language,
            kind,
            arguments,
            returns,
            is_set,
            source,
            config,
            owner,
            support,
        ) = row
        yield Function(
            oid=oid,
            schema=schema,
            name=name,
            volatility=volatility,
            security_definer=definer,
            language=language,
            kind=kind,
            arguments=tuple(types.get(one, "?") for one in arguments),
            returns=types.get(returns, "?"),
            returns_set=is_set,
            body=bodies.get(oid) or source,
            search_path=_path(config),
            extension=owner or "",
            support=tuple(support or ()),
        )


def _path(config: list[str] | None) -> tuple[str, ...] | None:
    for setting in config or ():
        name, _, value = setting.partition("=")
        if name.lower() == "search_path":
            return split_identifiers(value) or ()
    return None


def _types(facts: Facts, columns: dict[int, tuple[CatalogColumn, ...]]) -> Iterable[TypeInfo]:
    for oid, schema, name, kind, element, base, relation in facts.types:
        if oid >= _FIRST_OWN or schema not in _BUILT_IN:
            fields = tuple((column.name, column.type_oid) for column in columns.get(relation, ()))
            yield TypeInfo(oid=oid, schema=schema, name=name, kind=kind, element=element, base=base, fields=fields)
