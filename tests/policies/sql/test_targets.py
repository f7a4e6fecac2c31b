"""The relation that a statement writes, and what is said of its rows."""

from __future__ import annotations

import pgparse  # type: ignore[import-not-found]

from onrecord.policies.sql.targets import linked, mentions_row, target_of


def delete(text: str):
    (raw,) = pgparse.parse(text)
    return raw["stmt"]["DeleteStmt"]


def test_the_target_goes_by_its_alias():
    target = target_of(delete("with x as (select 1) delete from a.orders o using orders p, customers"))
    assert (target.alias, target.relation) == ("o", "orders")
    assert target.twins == {"p"}
    assert list(target.ctes) == ["x"]


def test_a_twin_is_linked_by_the_same_column():
    for condition, twin in (("o.id = p.id", "p"), ("p.id = o.id", "p"), ("o.id = p.parent", ""), ("o.id < p.id", "")):
        fields = delete(f"delete from orders o using orders p where {condition}")
        assert linked(fields["whereClause"], target_of(fields)) == twin


def test_columns_of_others_say_nothing_of_the_row():
    fields = delete("delete from orders using u where u.x = 1")
    assert not mentions_row(fields["whereClause"], target_of(fields))
