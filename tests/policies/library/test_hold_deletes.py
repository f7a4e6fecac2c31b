"""library:hold_deletes lets a human decide before rows of certain tables go."""

from __future__ import annotations

import pytest

from onrecord.policies import Hold
from onrecord.policies.library.hold_deletes import addons
from tests.policies.library.sql_commands import sql

(policy,) = addons


@pytest.mark.parametrize(
    "text",
    [
        "delete from orders where id = 1",
        "DELETE FROM public.customers",
        "with gone as (delete from orders where id = 1 returning *) select * from gone",
        "explain analyze delete from orders where id = 1",
    ],
)
def test_a_delete_waits_for_a_human(text: str) -> None:
    assert isinstance(policy.sql(sql(text)), Hold)


@pytest.mark.parametrize("text", ["select * from orders", "delete from notes where id = 1", "update orders set x = 1"])
def test_anything_else_does_not(text: str) -> None:
    assert policy.sql(sql(text)) is None
