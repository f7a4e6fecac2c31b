"""Which conditions choose rows."""

from __future__ import annotations

import pgparse  # type: ignore[import-not-found]
import pytest

from onrecord.policies.sql.predicates import Target, is_vacuous

TARGET = Target("t", "orders")

VACUOUS = [
    "true",
    "1 = 1",
    "1 + 1 = 2",
    "'a' <> 'b'",
    "not false",
    "not (1 > 2)",
    "id = id",
    "id >= id",
    "t.id = t.id",
    "id = 1 or true",
    "true or id = 1",
    "(1 = 1) and (2 = 2)",
    "id is null or id is not null",
    "a > 1 or a <= 1",
    "a = 1 or a <> 1",
    "id = 1 or not id = 1",
    "null is null",
    "'t'::bool",
    "(id = 1) = (id = 1)",
    "true is true",
    "coalesce(true, false)",
    "case when id = 1 then true else true end",
    "(select true)",
    "exists (select 1)",
    "exists (select * from other)",
    "now() > '2000-01-01'",
    "$1 = 1",
    "current_user = 'x'",
    "note like '%'",
    "note ilike '%%'",
    "id in (1, id)",
    "id between id and id",
    "random() < 2",
    "u.x = 1",
    "exists (select 1 from u where u.x = 1)",
    "exists (select 1 from u where x = 1)",
    "exists (select 1 from u as t where t.x = 1)",
    "(select max(id) from u) > 0",
    "id in (select id from orders)",
    "t.id in (select distinct o.id from orders o)",
]
CHOOSING = [
    "id = 1",
    "id = $1",
    "t.id = 1",
    "id > 0",
    "id = 1 and true",
    "1 = 1 and id = 1",
    "id in (1, 2)",
    "note like 'a%'",
    "note is null",
    "paid",
    "not paid",
    "id = 1 or id = 2",
    "a < 1 or a > 1",
    "coalesce(paid, true)",
    "exists (select 1 from u where u.id = t.id)",
    "id in (select id from u)",
    "id = (select max(id) from u)",
    "id in (select id from orders limit 3)",
    "id in (select id from orders where id = 1)",
    "id in (select customer_id from orders)",
    "exists (select 1 from u join v using (a) where u.id = t.id)",
    "current of c",
    "false",
    "1 = 2",
    "null",
    "id = other",
    "case when id = 1 then true else false end",
]


def where(condition: str):
    (raw,) = pgparse.parse(f"delete from t where {condition}")
    return raw["stmt"]["DeleteStmt"]["whereClause"]


@pytest.mark.parametrize("condition", VACUOUS)
def test_a_condition_that_takes_every_row_is_vacuous(condition):
    assert is_vacuous(where(condition), TARGET)


@pytest.mark.parametrize("condition", CHOOSING)
def test_a_condition_on_the_row_is_not_vacuous(condition):
    assert not is_vacuous(where(condition), TARGET)


def test_no_condition_is_vacuous():
    assert is_vacuous(None)


def test_depth_hides_nothing():
    assert is_vacuous(where("(" * 200 + "true" + " is true)" * 200), TARGET)
