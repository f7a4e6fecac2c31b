"""library:read_only lets through what only reads, over all protocols."""

from __future__ import annotations

import pytest

from onrecord.policies import Deny
from onrecord.policies.library.read_only import addons
from tests.policies.library.sql_commands import http, sql

(policy,) = addons


@pytest.mark.parametrize("text", ["select * from orders", "explain delete from orders", "show all", "begin"])
def test_reading_is_left_to_the_default(text):
    assert policy.command(sql(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "delete from orders where id = 1",
        "with x as (delete from orders returning *) select * from x",
        "explain analyze delete from orders",
        "select nextval('s')",
        "select pg_read_file('/etc/passwd')",
        "select f()",
        "do $$ begin end $$",
        "set role postgres",
        "copy orders to program 'x'",
    ],
)
def test_all_else_is_denied(text):
    assert isinstance(policy.command(sql(text)), Deny)


def test_http_writes_are_denied_as_well():
    assert policy.command(http("a.example.com")) is None
    assert isinstance(policy.command(http("a.example.com", "POST")), Deny)
