"""Which conditions choose rows."""

from __future__ import annotations

import pgparse  # type: ignore[import-not-found]
import pytest

from onrecord.policies.sql.predicates import is_vacuous
from onrecord.policies.sql.targets import Target


def query(sql: str):
    (raw,) = pgparse.parse(sql)
    return raw["stmt"]["SelectStmt"]


TARGET = Target(
    "t",
    "orders",
    frozenset({"twin"}),
    {
        "all_of_them": query("select id from orders"),
        "some_of_them": query("select id from orders where total > 5"),
    },
)

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
    "1 is distinct from 2",
    "null is distinct from 1",
    "null is not distinct from null",
    "1::int = '1'::int",
    "'01'::int = '1'::int",
    "9007199254740993.0 = 9007199254740993",
    "true::text = 'true'",
    "'a' < 'B'",
    "(1 = 1) <> false",
    "(id = id) <> false",
    "not (id <> id)",
    "not id is distinct from id",
    "not (id = 1 and id <> 1)",
    "not (id is null and id is not null)",
    "id + 0 = id",
    "id = 1 * id",
    "-id = -id",
    "id - id = 0",
    "id * 0 = 0",
    "id::bigint = id",
    "note || '' = note",
    "coalesce(note, '') like '%'",
    "id = greatest(id, id)",
    "nullif(id, id) is null",
    "coalesce(id = id, true)",
    "ctid is not null",
    "t.xmin is not null and true",
    "(id is null) is not null",
    "paid in (true, false)",
    "paid = true or paid = false",
    "paid is true or paid is not true",
    "id > 5 or id < 10",
    "5 > id or id >= 5",
    "id <> 1 or id <> 2",
    "id not between 1 and 0",
    "not (id between 1 and 0)",
    "id = any (array[1, id])",
    "id <= all (array[id])",
    "id <> all ('{}')",
    "id <> all (array[]::int[])",
    "note ~ '.*'",
    "id = any (select id from orders)",
    "id = any (array(select id from orders))",
    "id in (select o.id from orders o where true)",
    "id in (select id from orders where id = id)",
    "id in (select id from orders union select 1)",
    "id in (select id from orders group by id)",
    "id in (select id from (select * from orders) x)",
    "id in (select id from all_of_them)",
    "id in (select t.id from u)",
    "id in (select t.id)",
    "exists (select 1 from orders o where o.id = t.id)",
    "exists (select 1 from u where t.id = t.id)",
    "t.id = twin.id",
    "t.id = twin.id and t.customer = twin.customer",
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
    "id = 1 is distinct from true",
    "note is distinct from 'x'",
    "id < 5 or id > 10",
    "id > 5 and id < 10",
    "id >= 5 and id <= 5",
    "id between 1 and 5",
    "id = any ($1)",
    "id = any ('{}')",
    "paid in (true)",
    "paid = true or id = 1",
    "a + 0 = b",
    "a - b = 0",
    "id in (select id from orders o where o.total > 5)",
    "id in (select id from some_of_them)",
    "id in (select id from orders except select 1)",
    "id in (select id from (select * from orders limit 5) x)",
    "exists (select 1 from orders o where o.id = t.id and o.total > 5)",
    "exists (select 1 from orders o where o.parent = t.id)",
    "t.id = twin.id and twin.total > 5",
    "t.email = twin.email and t.id < twin.id",
    "t.id = twin.parent",
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


def test_comparing_long_expressions_takes_no_exponential_time():
    assert is_vacuous(where("a" + " - a" * 400 + " = a" + " - a" * 400), TARGET)
    assert not is_vacuous(where("(" * 60 + "a" + " = a)" * 60 + " = b"), TARGET)


def test_depth_hides_nothing():
    assert is_vacuous(where("(" * 200 + "true" + " is true)" * 200), TARGET)
