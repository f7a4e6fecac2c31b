"""What a bare name stands for."""

from __future__ import annotations

from typing import Any

import pytest

from onrecord.policies.sql.names import Level, Scope, in_scope, qualify, resolve


@pytest.mark.parametrize(
    ("relation", "path", "found"),
    [
        ({"relname": "t"}, ("public",), ["public.t"]),
        ({"relname": "t"}, ("a", "b"), ["a.t", "b.t"]),
        ({"relname": "t"}, (), ["pg_temp.t"]),
        ({"relname": "t", "schemaname": "s"}, ("public",), ["s.t"]),
        ({"relname": "t", "schemaname": "s", "catalogname": "c"}, ("public",), ["s.t"]),
        ({"relname": "pg_class"}, ("public",), ["pg_catalog.pg_class"]),
        ({"relname": "pg_class"}, ("pg_catalog", "a"), ["pg_catalog.pg_class"]),
        ({"relname": "pg_class"}, ("a", "pg_catalog"), ["a.pg_class", "pg_catalog.pg_class"]),
        ({"relname": "pg_stat_statements"}, ("public",), ["public.pg_stat_statements"]),
    ],
)
def test_relations(relation, path, found):
    assert qualify(relation, path) == found


def test_a_cte_sees_those_before_it_and_those_around_it():
    outer = Scope(None, {"o": 0}, 1)
    inner = Scope(outer, {"a": 0, "b": 1}, 1)
    assert [in_scope(inner, name) for name in ("o", "a", "b", "c")] == [True, True, False, False]


def column(*parts: str) -> list[dict[str, Any]]:
    return [{"A_Star": {}} if part == "*" else {"String": {"sval": part}} for part in parts]


def test_a_column_may_belong_to_any_relation_around_it():
    outer = Level(None)
    outer.add("c", ["public.customers"])
    inner = Level(outer)
    inner.add("orders", ["public.orders"])
    inner.columns += [column("email"), column("c", "id"), column("s", "t", "x"), column("*"), column("nowhere", "y")]
    assert resolve([outer, inner]) == {
        "public.orders.email",
        "public.customers.email",
        "public.customers.id",
        "s.t.x",
        "public.orders.*",
        "*.y",
    }


def test_many_relations_do_not_multiply_with_many_columns():
    level = Level(None)
    for number in range(1000):
        level.add(f"t{number}", [f"public.t{number}"])
    level.columns += [column(f"c{number}") for number in range(1000)]
    found = resolve([level])
    assert "*.c999" in found
    assert len(found) < 20_000
