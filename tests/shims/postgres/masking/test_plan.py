"""Which rule a column of a result is under: two witnesses, and doubt ends in masking."""

from __future__ import annotations

from typing import Any

import pytest

from onrecord.policies.masking import WHOLE
from onrecord.policies.sql.catalog import Catalog, CatalogColumn, Relation, TypeInfo
from onrecord.policies.sql.lineage import Lineage, Output
from onrecord.shims.postgres.masking.plan import Rules
from onrecord.shims.postgres.masking.types import Types
from onrecord.shims.postgres.messages import Column
from tests.shims.postgres.masking.conftest import masks_of


def column(name: str, number: int, type_oid: int = 25, type_name: str = "pg_catalog.text") -> CatalogColumn:
    return CatalogColumn(name, number, type_oid, type_name)


PEOPLE = (column("id", 1, 23, "pg_catalog.int4"), column("email", 2), column("doc", 3, 3802, "pg_catalog.jsonb"),
          column("ssn", 4, 25, "public.ssn"))  # fmt: skip
CATALOG = Catalog(
    relations=(
        Relation(oid=20001, schema="public", name="people", kind="r", columns=PEOPLE, children=("public.part",)),
        Relation(oid=20002, schema="public", name="part", kind="r", columns=PEOPLE, parents=("public.people",)),
        Relation(oid=20003, schema="public", name="seen", kind="v", columns=PEOPLE),
        Relation(oid=20004, schema="public", name="other", kind="r", columns=(column("email", 1), column("x", 2))),
        Relation(oid=20005, schema="public", name="copied", kind="m", columns=(column("x", 1),)),
    ),
    types=(
        TypeInfo(oid=30001, schema="public", name="people", kind="c", fields=(("id", 23), ("email", 25))),
        TypeInfo(oid=30002, schema="public", name="_people", kind="b", element=30001),
        TypeInfo(oid=30003, schema="public", name="ssn", kind="d", base=25),
    ),
)


def rules(lineage: Lineage | None, *columns: Column, **more: Any) -> list[str | None]:
    masks = masks_of(columns={"public.people.email": "partial"}, types={"public.ssn": "null"}, **more)
    found = Rules(masks, CATALOG, Types(CATALOG)).of(columns, lineage, kind="SELECT", writes=False)
    return [None if rule is None else "WHOLE" if rule is WHOLE else rule.name for rule in found]


def out(name: str, *sources: str, plain: bool = False, unsure: bool = False) -> Lineage:
    return Lineage(outputs=(Output(name, frozenset(sources), plain, unsure),))


@pytest.mark.parametrize(
    ("lineage", "announced", "expected"),
    [
        (out("email", "public.people.email", plain=True), Column("email", 20001, 2, 25, 0), "public.people.email"),
        (out("e", "public.people.email", plain=True), Column("e", 0, 0, 25, 0), "public.people.email"),
        (out("e", "public.part.email", plain=True), Column("e", 0, 0, 25, 0), "public.people.email"),
        (out("e", "public.people.email"), Column("e", 0, 0, 25, 0), "WHOLE"),
        (out("e", "public.people.*"), Column("e", 0, 0, 25, 0), "WHOLE"),
        (out("e", "public.people.id"), Column("e", 0, 0, 25, 0), None),
        (out("e", "public.people.ssn"), Column("e", 0, 0, 25, 0), "WHOLE"),
        (out("e", "public.other.email"), Column("e", 0, 0, 25, 0), None),
        (out("e", "public.new.x"), Column("e", 0, 0, 25, 0), "WHOLE"),
        (out("e"), Column("e", 0, 0, 25, 0), None),
        (out("e", unsure=True), Column("e", 20001, 1, 23, 0), "WHOLE"),
        (out("other", "public.people.id"), Column("e", 0, 0, 25, 0), "WHOLE"),
        (out("e"), Column("e", 20001, 2, 25, 0), "public.people.email"),
        (out("e"), Column("e", 20002, 2, 25, 0), "public.people.email"),
        (None, Column("e", 20001, 1, 23, 0), None),
        (None, Column("e", 20001, 2, 25, 0), "public.people.email"),
        (None, Column("e", 20001, 4, 25, 0), "public.ssn"),
        (None, Column("e", 20003, 1, 23, 0), "WHOLE"),
        (None, Column("e", 20005, 1, 25, 0), "WHOLE"),
        (None, Column("e", 20001, 9, 25, 0), "WHOLE"),
        (None, Column("e", 29999, 1, 25, 0), "WHOLE"),
        (None, Column("e", 0, 0, 25, 0), "WHOLE"),
        (None, Column("e", 1259, 2, 19, 0), None),
        (None, Column("e", 2619, 2, 19, 0), "WHOLE"),
        (out("e"), Column("e", 0, 0, 30001, 0), "WHOLE"),
        (out("e"), Column("e", 0, 0, 30002, 0), "WHOLE"),
        (out("e"), Column("e", 0, 0, 30003, 0), "public.ssn"),
        (out("e", "pg_catalog.pg_stats.most_common_vals"), Column("e", 0, 0, 25, 0), "WHOLE"),
        (out("e", "pg_catalog.pg_class.relname"), Column("e", 0, 0, 25, 0), None),
    ],
)  # fmt: skip
def test_a_column_passes_only_where_both_witnesses_let_it(
    lineage: Lineage | None, announced: Column, expected: str | None
) -> None:
    assert rules(lineage, announced) == [expected]


def test_another_number_of_columns_makes_all_unsure() -> None:
    two = (Column("a", 0, 0, 25, 0), Column("b", 20001, 1, 23, 0))
    assert rules(out("a"), *two) == ["WHOLE", None]


def test_without_a_catalog_nothing_is_sure() -> None:
    masks = masks_of(columns={"email": "redact"})
    found = Rules(masks, None, Types(None)).of([Column("a", 20001, 1, 23, 0)], None, kind="SELECT", writes=False)
    assert found == (WHOLE,)


def test_a_statement_that_writes_proves_nothing_by_its_columns() -> None:
    masks = masks_of(columns={"public.people.email": "redact"})
    found = Rules(masks, CATALOG, Types(CATALOG)).of([Column("x", 20004, 2, 25, 0)], None, kind="INSERT", writes=True)
    assert found == (WHOLE,)


def test_json_paths_reach_into_expressions_over_documents() -> None:
    masks = masks_of(json_paths={"$.email": "redact"})
    asked = Rules(masks, CATALOG, Types(CATALOG))
    for lineage, expected in ((out("e", "public.people.doc"), WHOLE), (out("e", "public.people.doc", plain=True), None),
                              (out("e", "public.people.id"), None), (None, None)):  # fmt: skip
        assert asked.of([Column("e", 0, 0, 25, 0)], lineage, kind="SELECT", writes=False) == (expected,)
