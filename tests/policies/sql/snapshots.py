"""Catalogs for tests, without a server."""

from __future__ import annotations

import itertools

from onrecord.policies.sql.catalog import Catalog, CatalogColumn, Function, Operator, Relation, TypeInfo

_oids = itertools.count(20_000)


def relation(name: str, columns: str = "id", kind: str = "r", **fields) -> Relation:
    schema, bare = name.split(".")
    made = tuple(CatalogColumn(one, number, 25, "pg_catalog.text") for number, one in enumerate(columns.split(), 1))
    return Relation(oid=next(_oids), schema=schema, name=bare, kind=kind, columns=made, **fields)


def view(name: str, definition: str, reads: str = "", columns: str = "id", kind: str = "v", **fields) -> Relation:
    return relation(name, columns, kind, definition=definition, reads=tuple(reads.split()), **fields)


def function(name: str, body: str = "", volatility: str = "v", language: str = "", **fields) -> Function:
    schema, bare = name.split(".")
    language = language or ("sql" if body else "plpgsql")
    definer = fields.pop("definer", False)
    return Function(
        oid=next(_oids),
        schema=schema,
        name=bare,
        volatility=volatility,
        security_definer=definer,
        language=language,
        body=body,
        **fields,
    )


def snapshot(*things: Relation | Function | Operator | TypeInfo, casts: str = "") -> Catalog:
    def of[T](kind: type[T]) -> tuple[T, ...]:
        return tuple(one for one in things if isinstance(one, kind))

    return Catalog(
        relations=of(Relation),
        functions=of(Function),
        operators=of(Operator),
        types=of(TypeInfo),
        cast_functions=tuple(casts.split()),
        schemas=("public", "audit"),
    )


TABLES = (
    relation("public.customers", "id name email gone"),
    relation("public.orders", "id customer_id total note paid at"),
    relation("public.payments", "id order_id amount"),
    relation("audit.log", "id at what"),
)
