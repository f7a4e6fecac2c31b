"""The server's side: any chunking gives the same bytes and counts; junk raises WireError only."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import Identity, Resource
from onrecord.recordings.auditor import Auditor
from onrecord.recordings.journal import Journal
from onrecord.shims.postgres.exchange import Exchange, SessionFatal
from onrecord.shims.postgres.messages import encode_query, encode_status, error
from onrecord.shims.postgres.reported import before_15, check_setting
from onrecord.shims.postgres.requests import Requests
from onrecord.shims.postgres.responses import Responses
from onrecord.shims.postgres.wire import WireError, message
from tests.shims.postgres.conftest import TestControl, TestEngine, guard


class Both:
    """A session without sockets: what the client sent, what the server answered."""

    def __init__(self, auditor: Auditor, engine: TestEngine) -> None:
        identity = Identity(issuer="i", subject="s", expires_at=time.time() + 60)
        opened = auditor.open_session(
            identity, Resource(name="r", type="postgres"), run="r", protocol="postgres", client="c"
        )
        self.engine = engine
        self.exchange = Exchange(auditor, opened, role="u", sample_limit=100)
        self.requests, self.responses = Requests(self.exchange), Responses(self.exchange)

    def client(self, data: bytes) -> bytes:
        self.requests.feed(data)
        assert self.requests.run() is None
        out = b"".join(one for one in self.exchange.to_upstream if isinstance(one, bytes))
        self.exchange.to_upstream.clear()
        return out

    def server(self, data: bytes) -> bytes:
        self.responses.feed(data)
        out = b"".join(self.exchange.to_client)
        self.exchange.to_client.clear()
        return out


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Auditor, TestEngine]]:
    journal = Journal(Path(tmp_path_factory.mktemp("journal")), "j")
    engine = TestEngine(guard)
    yield Auditor(journal, engine, TestControl()), engine
    journal.close()


DESCRIPTION = message(b"T", b"\0\1a\0" + bytes(6) + (25).to_bytes(4, "big") + b"\xff\xff\xff\xff\xff\xff\0\0")
READY = message(b"Z", b"I")


def row(size: int) -> bytes:
    return message(b"D", b"\0\1" + size.to_bytes(4, "big") + b"x" * size)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.integers(0, 40) | st.just(7) | st.just(300_000), max_size=40),
    st.lists(st.integers(1, 5000), min_size=1),
)
def test_any_chunking_delivers_the_same_bytes_and_counts_the_same_rows(
    auditor: tuple[Auditor, TestEngine], sizes: list[int], cuts: list[int]
) -> None:
    both = Both(*auditor)
    query = encode_query("SELECT a FROM t")
    assert both.client(query) == query
    answer = DESCRIPTION + b"".join(map(row, sizes)) + message(b"C", b"SELECT 0\0") + READY
    delivered, position, turn = b"", 0, 0
    while position < len(answer):
        size = cuts[turn % len(cuts)] * (1 if turn < 200 else 1000)
        delivered += both.server(answer[position : position + size])
        position, turn = position + size, turn + 1
    assert delivered == answer
    assert (both.engine.outcomes[-1].rows, both.engine.outcomes[-1].size) == (
        len(sizes),
        sum(len(row(n)) for n in sizes),
    )


@pytest.mark.parametrize("counts", [[600], [15, 1, 300], [17, 2, 17, 2]])
def test_runs_of_equal_rows_are_counted_one_by_one_all_the_same(
    auditor: tuple[Auditor, TestEngine], counts: list[int]
) -> None:
    both = Both(*auditor)
    both.client(encode_query("SELECT a FROM t"))
    rows = b"".join(row(200 + i) * n for i, n in enumerate(counts))
    answer = DESCRIPTION + rows + message(b"C", b"SELECT 0\0") + READY
    assert both.server(answer) == answer
    assert both.engine.outcomes[-1].rows == sum(counts)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.sampled_from(b"TDCIZE123tnsSNARGKvq"), st.binary(max_size=30)), max_size=8))
def test_junk_of_the_server_raises_only_our_errors(
    auditor: tuple[Auditor, TestEngine], messages: list[tuple[int, bytes]]
) -> None:
    both = Both(*auditor)
    both.client(encode_query("SELECT 1; SELECT 2"))
    with contextlib.suppress(OnrecordError):
        for kind, body in messages:
            both.server(message(bytes([kind]), body))


def test_a_refused_query_becomes_a_word_that_the_client_never_sees(auditor: tuple[Auditor, TestEngine]) -> None:
    both = Both(*auditor)
    sent = both.client(encode_query("DROP TABLE orders"))
    assert b"DROP" not in sent
    word = sent[5:-1].decode()
    answer = both.server(error("42601", f'syntax error at or near "{word}"') + READY)
    assert word.encode() not in answer
    assert b"C42501" in answer
    assert answer.endswith(READY)


def test_a_server_that_carries_out_what_was_refused_ends_the_session(auditor: tuple[Auditor, TestEngine]) -> None:
    both = Both(*auditor)
    both.client(encode_query("DROP TABLE orders"))
    with pytest.raises(WireError):
        both.server(message(b"C", b"DROP TABLE\0"))


@pytest.mark.parametrize("kind", [b"G", b"H", b"W", b"V", b"R", b"K"])
def test_answers_that_nothing_asked_for_end_the_session(auditor: tuple[Auditor, TestEngine], kind: bytes) -> None:
    both = Both(*auditor)
    both.client(encode_query("SELECT 1"))
    with pytest.raises(WireError):
        both.server(message(kind, bytes(8)))


def test_a_setting_that_changes_under_the_session_ends_it(auditor: tuple[Auditor, TestEngine]) -> None:
    both = Both(*auditor)
    both.server(encode_status("TimeZone", "UTC"))
    with pytest.raises(SessionFatal):
        both.server(encode_status("standard_conforming_strings", "off"))


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1252", "ISO_8859_5", "KOI8R"])
def test_a_database_that_folds_names_beyond_ascii_is_refused(encoding: str) -> None:
    with pytest.raises(SessionFatal, match="folds unquoted names"):
        check_setting("server_encoding", encoding)


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII", "EUC_JP"])
def test_other_encodings_are_served(encoding: str) -> None:
    check_setting("server_encoding", encoding)


@pytest.mark.parametrize(
    ("version", "old"), [("14.20", True), ("13.1 (Debian 13.1-1)", True), ("15.0", False), ("18.4", False), ("", True)]
)
def test_the_version_of_a_server_says_whether_it_is_older_than_15(version: str, old: bool) -> None:
    assert before_15(version) is old
