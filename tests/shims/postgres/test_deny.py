"""What a refused client reads."""

from __future__ import annotations

import psycopg
import pytest

from onrecord.policies.verdict import Hold, Ruling
from onrecord.shims.postgres.deny import Trick
from onrecord.shims.postgres.messages import error
from tests.shims.postgres.conftest import Shim


def test_a_held_statement_is_refused_and_says_who_must_approve(shim: Shim) -> None:
    shim.engine.rule = lambda _: Ruling(Hold("dba", "unfiltered DELETE on orders"), "orders_policy")
    with shim.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
        connection.execute("SELECT 1")
    assert caught.value.diag.message_primary == (
        "onrecord: orders_policy: approval required by dba: unfiltered DELETE on orders"
    )
    shim.wait_ended()
    assert shim.commands()[0][1] == "hold"


def test_the_record_id_that_the_client_reads_is_the_records(shim: Shim) -> None:
    with shim.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
        connection.execute("DROP TABLE orders")
    detail = caught.value.diag.message_detail or ""
    assert any(record.id and record.id in detail for record in shim.records())


def test_words_differ_between_sessions_and_only_its_own_is_recognised() -> None:
    one, other = Trick(), Trick()
    word = one.query[5:-1].decode()
    assert one.caused(error("42601", f'syntax error at or near "{word}"'))
    assert not other.caused(error("42601", f'syntax error at or near "{word}"'))


def test_a_refused_bind_leaves_the_prepared_statements_alone(shim: Shim) -> None:
    with shim.connect() as connection:
        connection.prepare_threshold = 0
        connection.execute("SELECT %s::int", [1])
        engine, rule = shim.engine, shim.engine.rule
        engine.rule = lambda _: Ruling(Hold("dba"), "p")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT %s::int", [2])
        engine.rule = rule
        assert connection.execute("SELECT %s::int", [3]).fetchone() == (3,)
