"""A long text is read on a thread: its session waits, the others go on."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from onrecord.policies.model import Identity
from onrecord.recordings.auditor import Auditor
from onrecord.recordings.frames import Kind
from onrecord.recordings.journal import Journal
from onrecord.shims.postgres import analysing
from onrecord.shims.postgres.analysing import EACH, LONG, SHOWN, Aside, Readers, Reading, Wanted, read
from onrecord.shims.postgres.messages import encode_query
from tests.helpers import wait_until
from tests.shims.postgres.conftest import Shim, TestControl, TestEngine, guard
from tests.shims.postgres.test_responses import Both

PADDING = f"WHERE 1 IN ({', '.join(['1'] * LONG)})"
TEXT = f"SELECT 41 {PADDING}"
ANNA, BERT = Identity(issuer="i", subject="anna"), Identity(issuer="i", subject="bert")


class Gate:
    """A reader that waits, in its thread, until the test lets it go on."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.read: list[str] = []

    def __call__(self, wanted: Wanted) -> Reading:
        self.reached.set()
        assert self.opened.wait(60)
        self.read.append(wanted.text)
        return read(wanted)


@pytest.fixture
def gate(shim: Shim) -> Iterator[Gate]:
    gate = Gate()
    before, shim.server._readers = shim.server._readers, Readers(gate)
    yield gate
    gate.opened.set()
    shim.server._readers.close()
    shim.server._readers = before


def in_thread(work: Any) -> Future[Any]:
    pool = ThreadPoolExecutor(1)
    found = pool.submit(work)
    pool.shutdown(wait=False)
    return found


def wanted(text: str = TEXT, *, refuses: bool = True) -> Wanted:
    return Wanted(text, ("public",), None, traced=False, refuses=refuses)


def outcomes_of(shim: Shim, beginning: str) -> list[dict[str, Any]]:
    return [outcome for text, _, outcome in shim.commands() if text.startswith(beginning)]


def test_another_session_is_served_while_a_long_text_is_read(shim: Shim, gate: Gate):
    with shim.connect() as slow, shim.connect() as other:
        answer = in_thread(lambda: slow.execute(TEXT).fetchone())
        assert gate.reached.wait(60)
        assert other.execute("SELECT 42").fetchone() == (42,)
        assert not answer.done()
        assert not gate.read
        assert not outcomes_of(shim, "SELECT 41")
        gate.opened.set()
        assert answer.result(60) == (41,)
    assert gate.read == [TEXT]


def test_what_a_session_sent_behind_a_long_text_stays_behind_it(shim: Shim, gate: Gate):
    with shim.connect() as session:
        gate.opened.set()
        with session.pipeline():
            cursors = [session.execute(text) for text in ("SELECT 1 AS first", TEXT, "SELECT 2 AS last")]
            assert [cursor.fetchone() for cursor in cursors] == [(1,), (41,), (2,)]
    texts = [text[:12] for text, _, _ in shim.commands() if text.startswith("SELECT")]
    # a Parse whose Bind comes in a later segment is a command of its own: the same text twice in a row
    texts = [text for text, _ in itertools.groupby(texts)]
    assert texts[-3:] == ["SELECT 1 AS ", "SELECT 41 WH", "SELECT 2 AS "]


def test_a_long_prepared_statement_is_read_once(shim: Shim, gate: Gate):
    gate.opened.set()
    with shim.connect() as session:
        for number in range(3):
            assert session.execute(f"SELECT %s::int {PADDING}", [number], prepare=True).fetchone() == (number,)
    assert len(gate.read) == 1


def test_a_refused_long_text_never_reaches_the_server(shim: Shim, gate: Gate):
    gate.opened.set()
    with shim.connect() as session:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(f"DROP TABLE orders /* {PADDING} */")
        assert session.execute("SELECT count(*) FROM orders").fetchone() is not None


def test_a_client_may_cancel_a_text_that_is_being_read(shim: Shim, gate: Gate):
    with shim.connect() as session:
        answer = in_thread(lambda: session.execute(TEXT).fetchone())
        assert gate.reached.wait(60)
        session.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled, match="cancelled by the client"):
            answer.result(60)
        assert session.execute("SELECT 43").fetchone() == (43,)  # the thread still reads
        assert not gate.read
    (outcome,) = outcomes_of(shim, "[")
    assert (outcome["status"], outcome["code"]) == ("refused", "57014")


def test_a_client_that_leaves_while_its_text_is_read_ends_its_session(shim: Shim, gate: Gate):
    ended = len(shim.of(Kind.SESSION_END))
    session = shim.connect()
    answer = in_thread(lambda: session.execute(TEXT))
    assert gate.reached.wait(60)
    session.pgconn.finish()
    with pytest.raises(psycopg.OperationalError):
        answer.result(60)
    wait_until(lambda: len(shim.of(Kind.SESSION_END)) > ended)
    gate.opened.set()
    assert not outcomes_of(shim, "SELECT 41")


def test_a_killed_session_waits_for_no_reading(shim: Shim, gate: Gate):
    session = shim.connect()
    answer = in_thread(lambda: session.execute(TEXT))
    assert gate.reached.wait(60)
    (relay,) = shim.server._relays
    shim.loop.call_soon_threadsafe(relay._killed, "stopped by a human")
    with pytest.raises(psycopg.errors.AdminShutdown, match="stopped by a human"):
        answer.result(60)
    assert not gate.read


def test_a_text_that_takes_too_long_is_refused(shim: Shim, gate: Gate, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(analysing, "LIMIT", 0.05)
    with shim.connect() as session:
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="too long to be analysed in time"):
            session.execute(TEXT)
        assert session.execute("SELECT 44").fetchone() == (44,)
    assert not gate.read


def test_a_reader_that_fails_lets_nothing_pass(shim: Shim, monkeypatch: pytest.MonkeyPatch):
    def broken(_: Wanted) -> Reading:
        raise RuntimeError("marker")

    monkeypatch.setattr(shim.server, "_readers", Readers(broken))
    session = shim.connect()
    with pytest.raises(psycopg.Error):
        session.execute(TEXT)
    assert session.closed
    shim.server._readers.close()


def test_one_identity_cannot_take_all_places():
    gate = Gate()
    readers = Readers(gate)
    begun = [readers.begin(wanted(), ANNA) for _ in range(EACH)]
    assert None not in begun
    assert readers.begin(wanted(), ANNA) is None
    other = readers.begin(wanted(), BERT)
    assert other is not None
    assert other.cancel()
    gate.opened.set()
    for one in begun:
        assert one is not None
        assert one.result(60).analysis is not None
    again = readers.begin(wanted(), ANNA)
    assert again is not None
    assert again.result(60).analysis is not None
    readers.close()


def test_a_place_is_free_again_only_when_the_thread_is_done():
    gate = Gate()
    readers = Readers(gate)
    running = readers.begin(wanted(), ANNA)
    assert running is not None
    assert gate.reached.wait(60)
    waiting = [readers.begin(wanted(), ANNA) for _ in range(EACH - 1)]
    assert not running.cancel()
    assert readers.begin(wanted(), ANNA) is None
    assert waiting[0] is not None
    assert waiting[0].cancel()
    assert readers.begin(wanted(), ANNA) is not None
    gate.opened.set()
    readers.close()


def test_of_a_text_beyond_all_bounds_only_the_beginning_is_recorded():
    reading = read(wanted("SELECT '" + "x" * 600_000 + "'"))
    assert reading.analysis is None
    assert len(reading.shown) < SHOWN + 100
    secret = read(wanted("ALTER ROLE a PASSWORD '" + "x" * 600_000 + "'"))
    assert "xxx" not in secret.shown
    late = read(wanted("SELECT 'marker' /* " + "x" * 600_000 + " */ PASSWORD"))  # its name stands behind what is shown
    assert "marker" not in late.shown


def test_a_policy_that_may_let_an_unreadable_text_pass_sees_all_of_it():
    reading = read(wanted("SELECT " + "x" * 600_000 + " END", refuses=False))
    assert reading.shown.endswith(" END")


def test_a_pipeline_without_end_lets_others_have_their_turn(tmp_path: Path):
    journal = Journal(tmp_path, "j")
    engine = TestEngine(guard)
    both = Both(Auditor(journal, engine, TestControl()), engine)
    both.exchange.aside = Aside(Readers(), ANNA)
    both.requests.feed(encode_query("SELECT 1") * 600)
    turns = 0
    while (waiting := both.requests.run()) is not None:
        turns += 1
        asyncio.run(cast(Coroutine[Any, Any, None], waiting))
    assert turns == 2
    assert len(both.exchange.queue) == 600
    journal.close()
