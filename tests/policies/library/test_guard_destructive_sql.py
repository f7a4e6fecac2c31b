"""library:guard_destructive_sql stops what destroys many rows at once."""

from __future__ import annotations

import pytest

from onrecord.policies import Deny
from onrecord.policies.library.guard_destructive_sql import addons
from tests.policies.library.sql_commands import sql

(policy,) = addons


@pytest.mark.parametrize(
    "text",
    [
        "drop table orders",
        "truncate orders",
        "alter table orders add x int, drop column note",
        "delete from orders",
        "update orders set total = 0",
        "delete from orders where true",
        "delete from orders where id = id or 1 = 1",
        "with x as (delete from orders returning *) select * from x",
        "explain analyze delete from orders",
        "prepare p as delete from orders",
        "copy (delete from orders returning *) to stdout",
        "merge into orders using (select 1) s on true when matched then delete",
        "delete from orders using (select 1 as one) u where u.one = 1",
        "with x as (select id from orders) delete from orders where id in (select id from x)",
        "insert into orders select * from orders on conflict (id) do update set total = 0",
        "alter table orders alter column note type text using ''",
        "select lo_unlink(oid) from pg_largeobject_metadata",
        "select (oid).lo_unlink from pg_largeobject_metadata",
    ],
)
def test_destruction_is_denied_with_a_way_out(text):
    verdict = policy.sql(sql(text))
    assert isinstance(verdict, Deny)
    assert verdict.hint


@pytest.mark.parametrize(
    "text",
    [
        "select * from orders",
        "insert into orders values (1)",
        "delete from orders where id = 1",
        "update orders set total = 0 where id = $1",
        "alter table orders add column x int",
        "merge into orders o using s on o.id = s.id when matched then update set total = 0",
        "merge into orders o using s on o.id = s.id when not matched then insert values (1)",
        "explain delete from orders",
        "insert into orders select * from staging on conflict (id) do update set total = excluded.total",
        "alter table orders alter column note type int using note::int",
    ],
)
def test_all_else_is_left_to_other_policies(text):
    assert policy.sql(sql(text)) is None
