"""Fail closed: whatever raises, and wherever, nothing passes, the session ends and the others do not notice."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable
from typing import Any

import psycopg
import pytest

from onrecord.policies.model import Command
from onrecord.policies.verdict import Allow, Ruling
from onrecord.recordings.frames import Kind
from onrecord.shims.postgres import (
    backend,
    cancelling,
    commands,
    deciding,
    entrance,
    exchange,
    extended,
    namespace,
    requests,
    responses,
    results,
    server,
    templates,
)
from onrecord.shims.postgres.link import Link
from onrecord.shims.postgres.messages import TERMINATE, encode_query
from tests.helpers import wait_until
from tests.shims.postgres.conftest import Shim
from tests.shims.postgres.raw import RawClient

SECRET = "marker-8f1c"


class BugError(RuntimeError):
    """What no code expects."""


def bug(*_: Any, **__: Any) -> Any:
    raise BugError(SECRET)


# Every step of a session on which an allowed statement depends, before its bytes go upstream.
BEFORE = [
    (requests.Requests, "feed"),
    (requests.Requests, "run"),
    (requests.Requests, "_send_bind"),
    (extended, "decode_parse"),
    (extended, "decode_bind"),
    (extended, "parameter_texts"),
    (templates.Templates, "of"),
    (commands.Template, "bound"),
    (deciding.Deciding, "_resolved"),
    (namespace.Namespace, "lookup"),
    (namespace.Namespace, "change"),
    (exchange.Exchange, "put_portal"),
    (exchange, "Running"),
    (extended, "Entry"),
    (requests, "Entry"),
]
# Every step between PostgreSQL's answer and its delivery.
AFTER = [
    (responses.Responses, "feed"),
    (responses.Responses, "_rows"),
    (responses.Responses, "_head"),
    (responses.Responses, "_finish"),
    (responses, "decode_row_description"),
    (results.Running, "add"),
    (results.Running, "keep"),
    (results.Running, "finish"),
    (results.Running, "digest"),
    (results, "decode_row"),
]
# Every step before a session is one.
ENTRY = [
    (entrance, "negotiate"),
    (entrance, "decode_packet"),
    (entrance.Entrance, "identify"),
    (server.Server, "authenticate"),
    (server.Server, "authorised"),
    (server, "run_id"),
    (backend.Backend, "connect"),
    (backend, "encode_startup"),
    (server, "check_setting"),
    (cancelling.Cancels, "new_key"),
]


def written(shim: Shim) -> int:
    """Rows that reached the table, counted past the gateway."""
    resource = shim.server._backends["orders"].resource
    with psycopg.connect(
        host=resource.host,
        port=resource.port,
        dbname=resource.database,
        user=resource.user,
        password=shim.server._backends["orders"].secrets.resolve(resource.password),  # type: ignore[arg-type]
    ) as direct:
        row = direct.execute("SELECT count(*) FROM customers WHERE name = %s", [SECRET]).fetchone()
    assert row is not None
    return int(row[0])


INSERT = "INSERT INTO customers (id, name, email, city, created_at) VALUES (999999, %s, 'x@example.com', 'Ulm', now())"


def name_of(step: tuple[Any, str]) -> str:
    return f"{step[0].__name__.rpartition('.')[2]}.{step[1]}"


@pytest.mark.parametrize("step", BEFORE, ids=name_of)
def test_a_step_that_raises_before_the_command_goes_stops_it(
    shim: Shim, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str]
) -> None:
    with shim.connect() as other, shim.connect() as connection:
        other.execute("SELECT 1")
        with monkeypatch.context() as patch:
            patch.setattr(*step, bug)
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(INSERT, [SECRET], prepare=step[1] == "lookup")
        assert "internal error of the gateway" in str(caught.value)
        assert "BugError" not in str(caught.value)
        assert other.execute("SELECT 1").fetchone() == (1,)
    assert written(shim) == 0
    shim.wait_ended()
    assert shim.refusals()[-1]["what"] == "onrecord:engine"


@pytest.mark.parametrize("step", AFTER, ids=name_of)
def test_a_step_that_raises_before_the_answer_is_delivered_stops_it(
    shim: Shim, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str]
) -> None:
    with shim.connect() as other, shim.connect() as connection:
        other.execute("SELECT 1")
        with monkeypatch.context() as patch:
            patch.setattr(*step, bug)
            with pytest.raises(psycopg.Error) as caught:
                connection.execute("SELECT 'hidden' || 'row'")
        assert "hiddenrow" not in str(caught.value)
        assert other.execute("SELECT 1").fetchone() == (1,)
    shim.wait_ended()
    assert {outcome["status"] for text, _, outcome in shim.commands() if "hidden" in text} == {"aborted"}


@pytest.mark.parametrize("step", ENTRY, ids=name_of)
def test_a_step_that_raises_during_login_lets_nobody_in(
    shim: Shim, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str]
) -> None:
    with shim.connect() as other:
        with monkeypatch.context() as patch:
            patch.setattr(*step, bug)
            with pytest.raises(psycopg.Error) as caught:
                shim.connect()
        assert SECRET not in str(caught.value)
        assert other.execute("SELECT 1").fetchone() == (1,)
    shim.wait_ended()
    sessions, ends = shim.of(Kind.SESSION), shim.of(Kind.SESSION_END)
    assert len(sessions) == len(ends)


def test_a_journal_that_cannot_write_stops_command_and_answer(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with shim.connect() as connection:
        connection.execute("SELECT 1")
        with monkeypatch.context() as patch:
            patch.setattr(shim.auditor.journal, "_write", full)
            with pytest.raises(psycopg.Error, match="No space left"):
                connection.execute(INSERT, [SECRET])
    assert written(shim) == 0
    with shim.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_policy_that_fails_while_it_waits_ends_the_session_and_nothing_passes(shim: Shim) -> None:
    async def late(_: Command) -> Ruling:
        await asyncio.sleep(0)
        raise BugError(SECRET)

    with shim.connect() as connection:
        shim.engine.rule = late
        with pytest.raises(psycopg.Error, match="internal error"):
            connection.execute(INSERT, [SECRET])
    assert written(shim) == 0


def test_the_record_of_a_command_precedes_its_bytes_and_the_outcome_its_answer(
    shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on disk is looked at from inside each write."""
    seen: list[tuple[str, list[str]]] = []
    real = Link.write

    def spying(link: Link, data: bytes) -> None:
        if data[:1] in (b"Q", b"T"):
            kinds = [record.kind.name for record in shim.records() if record.kind in (Kind.COMMAND, Kind.OUTCOME)]
            seen.append((data[:1].decode(), kinds))
        real(link, data)

    monkeypatch.setattr(Link, "write", spying)
    with shim.connect() as connection:
        connection.pgconn.exec_(b"SELECT 2")
    assert seen == [("Q", ["COMMAND"]), ("T", ["COMMAND", "OUTCOME"])]


def test_what_was_asked_before_the_client_left_is_done_and_has_its_outcome(shim: Shim) -> None:
    with RawClient(shim) as client:
        client.send(encode_query("SELECT pg_sleep(0.1); SELECT 'done'") + TERMINATE)
    shim.wait_ended()
    assert [outcome["status"] for _, _, outcome in shim.commands()] == ["ok", "ok"]


def test_a_client_that_vanishes_leaves_no_session_and_no_command_without_outcome(shim: Shim) -> None:
    with RawClient(shim) as client:
        client.send(encode_query("SELECT pg_sleep(0.1)"))
        client.sock.shutdown(socket.SHUT_RDWR)
    shim.wait_ended()
    assert all(outcome for _, _, outcome in shim.commands())
    assert len(shim.of(Kind.SESSION)) == len(shim.of(Kind.SESSION_END))


def test_the_insert_of_these_tests_does_reach_the_table_where_nothing_fails(shim: Shim) -> None:
    with psycopg.connect(shim.dsn()) as connection:
        connection.execute(INSERT, [SECRET])
        row = connection.execute("SELECT count(*) FROM customers WHERE name = %s", [SECRET]).fetchone()
        connection.rollback()
    assert row == (1,)


def test_an_outcome_that_cannot_be_written_leaves_another_and_its_answer_does_not_go_out(
    shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shim.auditor.journal.flush

    def full() -> None:
        real_buffer = shim.auditor.journal._buffer
        if real_buffer and b'"tag":"SELECT' in b"".join(real_buffer):
            monkeypatch.setattr(shim.auditor.journal, "_write", _full)
            try:
                real()
            finally:
                monkeypatch.undo()
        else:
            real()

    with shim.connect() as connection:
        monkeypatch.setattr(shim.auditor.journal, "flush", full)
        with pytest.raises(psycopg.Error, match="No space left"):
            connection.execute("SELECT 'never' || 'seen'")
    shim.wait_ended()
    ((_, _, outcome),) = shim.commands()
    assert (outcome["status"], outcome["error"]) == ("aborted", "it ended, and its outcome could not be written")


def _full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_statements_allowed_while_another_of_the_text_is_thought_about_have_an_outcome(shim: Shim) -> None:
    async def never(_: Command) -> Ruling:
        await asyncio.sleep(0)
        raise BugError(SECRET)

    def rule(command: Command) -> Ruling | Awaitable[Ruling]:
        return never(command) if "2" in command.text else Ruling(Allow(), "p")

    shim.engine.rule = rule
    with RawClient(shim) as client:
        client.send(encode_query("SELECT 1; SELECT 2; SELECT 3"))
        assert b"internal error" in client.rest()[-1][1]
    shim.wait_ended()
    assert [(text, outcome["status"]) for text, _, outcome in shim.commands()] == [
        ("SELECT 1", "aborted"),
        ("SELECT 3", "aborted"),
    ]


def test_a_client_that_reads_nothing_keeps_no_connection_after_the_end(
    shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onrecord.shims.postgres.relay._LINGER", 0.05)
    with RawClient(shim) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(encode_query("SELECT repeat('x', 1000000) FROM generate_series(1, 50)"))
        (relay,) = shim.on_loop(lambda: list(shim.server._relays))
        sizes: list[int] = []

        def stuck() -> bool:
            sizes.append(relay._client.transport.get_write_buffer_size())
            return sizes[-1] > 0 and sizes[-30:] == sizes[-1:] * 30

        wait_until(stuck, what="rows that nobody takes")
        shim.on_loop(relay._expired)
        shim.wait_ended()
        wait_until(lambda: relay._client.closed and relay._upstream.closed, what="both connections to close")
