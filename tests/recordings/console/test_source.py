"""Pages of the timeline: by key, in order, the same as `log` shows, and each step of bounded work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onrecord.recordings.console.conditions import TROUBLE, Condition, compile_query
from onrecord.recordings.console.language import parse
from onrecord.recordings.console.rows import Key
from onrecord.recordings.console.source import NEWEST, OLDEST, Source
from onrecord.recordings.frames import new_id
from onrecord.recordings.ingest import Ingest
from onrecord.recordings.queries import Filters
from tests.recordings.samples import Recorded, Writer, drain


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("source"))


@pytest.fixture
def source(recorded: Recorded) -> Iterator[Source]:
    with Source(recorded.path) as opened:
        yield opened


def ids(source: Source, text: str, **more: int) -> list[str]:
    return [row.id for row in source.page(compile_query(parse(text)), NEWEST, older=True, limit=1000, **more)][::-1]


def test_the_timeline_is_what_log_shows(source: Source) -> None:
    assert ids(source, "") == [view["id"] for view in source.log(Filters())]


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("verdict:deny", Filters(verdict="deny")),
        ("identity:devin", Filters(identity="devin")),
        ("identity:alice@example.com", Filters(identity="alice@example.com")),
        ("resource:billing", Filters(resource="billing")),
        ("run:run-1", Filters(run="run-1")),
        ("kind:sql", Filters(kind="sql")),
    ],
)
def test_fields_find_what_the_options_of_log_find(source: Source, text: str, filters: Filters) -> None:
    found = ids(source, text)
    assert found
    assert found == [view["id"] for view in source.log(filters)]


def test_everything_and_its_opposite_are_all(source: Source) -> None:
    for text in ("verdict:deny", "identity:devin", "kind:refusal", "text~drop", "resource~bill", "status:ok"):
        some, others = ids(source, text), ids(source, f"-{text}")
        assert some
        assert others
        assert sorted(some + others) == sorted(ids(source, ""))


def test_text_finds_beginnings_of_words_and_bare_words_also_results(source: Source) -> None:
    assert len(ids(source, "text~drop")) == 3
    assert len(ids(source, "text~DRO")) == 3
    assert ids(source, "text:dro") == []
    assert len(ids(source, '"drop table"')) == 3
    assert len(ids(source, "part")) == 3  # in chunks
    assert ids(source, "text:part") == []
    assert len(ids(source, "word7")) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("text", ["", "verdict:deny", "text~drop", "identity:nobody"])
def test_steps_of_any_size_find_the_same_lines_both_ways(source: Source, size: int, text: str) -> None:
    condition = compile_query(parse(text))
    expected = [row.key for row in source.page(condition, NEWEST, older=True, limit=1000)]
    for older, start in ((True, NEWEST), (False, OLDEST)):
        found: list[Key] = []
        reached: Key | None = start
        steps = 0
        while reached is not None:
            part = source.step(condition, reached, older=older, limit=2, size=size)
            found += [row.key for row in part.rows]
            reached = part.reached
            steps += 1
            assert steps < 500
        assert found == (expected if older else expected[::-1])


def test_times_bound_the_timeline_with_both_ends(source: Source) -> None:
    rows = source.page(Condition(), NEWEST, older=True, limit=1000)[::-1]
    low, high = rows[5].key.at, rows[20].key.at
    between = [row.key for row in rows if low <= row.key.at <= high]
    condition = Condition(since=low, until=high)
    assert [row.key for row in source.page(condition, NEWEST, older=True, limit=1000)][::-1] == between
    assert [row.key for row in source.page(condition, OLDEST, older=False, limit=1000)] == between


def test_pages_and_strip_are_found_by_index(source: Source) -> None:
    execute = source._connection.execute
    plan = execute(
        "EXPLAIN QUERY PLAN SELECT c.seq FROM commands c WHERE (c.at, c.seq) < (?, ?) AND c.at >= ? AND 1"
        " ORDER BY c.at DESC, c.seq DESC LIMIT 10", (1, 1, 0),
    ).fetchall()  # fmt: skip
    assert [row[3] for row in plan] == ["SEARCH c USING COVERING INDEX commands_by_time (at>? AND at<?)"]
    plan = execute(
        f"EXPLAIN QUERY PLAN SELECT c.outcome FROM commands c WHERE (c.at, c.seq) < (?, ?) AND c.at >= ? AND {TROUBLE}"
        " ORDER BY c.at DESC, c.seq DESC LIMIT 10", (1, 1, 0),
    ).fetchall()  # fmt: skip
    assert [row[3] for row in plan] == ["SEARCH c USING INDEX commands_in_trouble (at>? AND at<?)"]


def test_the_strip_counts_what_is_in_trouble_and_jumps_lead_there(source: Source) -> None:
    low, high = source.extent()
    counted = source.trouble(Condition(), low, high, 10)
    rows = source.page(Condition(), NEWEST, older=True, limit=1000)
    assert sum(bucket.denied for bucket in counted) == sum(row.verdict != "allow" for row in rows) == 6
    assert sum(bucket.failed for bucket in counted) == 0
    jump = source.step(Condition(), NEWEST, older=True, limit=1, trouble=True)
    assert [row.key for row in jump.rows] == [next(row.key for row in rows if row.troubled)]


def test_runs_hold_their_sessions(source: Source) -> None:
    runs = {group.id: group for group in source.run_groups(10)}
    assert set(runs) == {"run-1", "run-2"}
    (session,) = source.sessions_of("run-1", 10)
    assert (session.commands, session.who, session.place, session.ended) == (30, "devin", "orders", True)


def test_what_comes_while_one_reads_arrives_once_and_endings_are_seen(tmp_path) -> None:
    state, path = tmp_path / "state", tmp_path / "recordings.db"
    ingest = Ingest(state, path)
    writer = Writer(state)
    session = writer.session()
    writer.command(session, "SELECT 1")
    drain(ingest)
    with Source(path) as source:
        after = source.newest() - 1
        assert source.arrived(Condition(), after, 100) == ([], after)
        running = writer.command(session, "SELECT 2", status=None)
        drain(ingest)
        rows, after = source.arrived(Condition(), after, 100)
        assert [row.line for row in rows] == ["SELECT 2"]
        assert rows[0].open
        assert source.arrived(Condition(), after, 100)[0] == []
        from onrecord.policies.model import Outcome
        from onrecord.recordings.frames import Kind

        writer.journal.append(Kind.OUTCOME, Outcome(status="error"), session=session, command=running, id=new_id())
        writer.journal.flush()
        drain(ingest)
        (row,) = source.again([rows[0].key.seq])
        assert (row.status, row.mark, row.troubled) == ("error", "error", True)
    ingest.close()
    writer.journal.close()
