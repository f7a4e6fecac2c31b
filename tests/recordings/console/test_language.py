"""The filter language: what is read, what is refused and where, and that no value becomes SQL."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.console.conditions import Condition, compile_query
from onrecord.recordings.console.language import FIELDS, FilterError, Query, Term, Value, parse, quoted
from onrecord.recordings.migrations import migrate

NOW = 1_800_000_000.0


def test_terms_values_and_times_are_read():
    query = parse('identity:devin verdict:deny,hold resource:ord* text~drop -kind:http "two words" since:1h', NOW)
    assert query == Query(
        (
            Term("identity", (Value("devin"),)),
            Term("verdict", (Value("deny"), Value("hold"))),
            Term("resource", (Value("ord", begins=True),)),
            Term("text", (Value("drop"),), "contains"),
            Term("kind", (Value("http"),), negated=True),
            Term("", (Value("two words"),), "contains"),
        ),
        since=int((NOW - 3600) * 1e9),
    )


def test_nothing_is_a_filter_that_lets_everything_pass():
    assert compile_query(parse("  ")) == Condition()


def test_quotes_take_everything_and_escape_themselves():
    assert parse(r'identity:"a \"b\" \\ c, -d:e"').terms == (Term("identity", (Value('a "b" \\ c, -d:e'),)),)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("verdict:dany", 0, "'dany' is no verdict: one of allow, deny, hold, unreadable"),
        ("kind:sql verdikt:deny", 9, "there is no field 'verdikt'"),
        ("verdict:", 8, "a value is missing here"),
        ("identity:a,", 11, "a value is missing here"),
        ('identity:"abc', 9, 'this " is never closed'),
        ("verdict~deny", 0, "verdict takes ':', not '~'"),
        ("since:yesterday", 0, "'yesterday' is neither a span (15m, 2h, 1d) nor an ISO 8601 time"),
        ("-since:1h", 0, "since takes one time and no '-'"),
        ("session:xyz", 0, "'xyz' is not the beginning of an id"),
        ("kind:sql kind:http", 9, "write kind:a,b for either"),
        ('"a"b', 3, "a space is missing"),
        ("-", 1, "a value is missing here"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text, position, reason):
    with pytest.raises(FilterError) as raised:
        parse(text, NOW)
    assert raised.value.position == position
    assert reason in str(raised.value)
    assert f"character {position + 1}" in str(raised.value)


def test_words_without_a_letter_are_refused_not_ignored():
    with pytest.raises(FilterError, match="no letter or digit"):
        compile_query(parse('"--"'))


@pytest.fixture(scope="module")
def database():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


def run(database: sqlite3.Connection, condition: Condition) -> None:
    statement = f"SELECT c.seq FROM {condition.source} WHERE {condition.sql}"
    database.execute(statement, condition.values).fetchall()


@given(st.text(max_size=60))
def test_whatever_is_typed_is_read_or_refused(text):
    try:
        query = parse(text, NOW)
    except FilterError as error:
        query, position = Query(), error.position
        if not 0 <= position <= len(text):
            raise AssertionError(position) from error
    with contextlib.suppress(FilterError):
        compile_query(query)


@given(st.sampled_from(sorted(set(FIELDS) - {"since", "until", "verdict", "status", "session", "id"})), st.text())
def test_a_quoted_value_comes_back_as_it_was_and_is_no_sql(database, field, value):
    if len(value) > 500:
        return
    query = parse(f"{field}:{quoted(value)}")
    assert query.terms == (Term(field, (Value(value),)),)
    try:
        condition = compile_query(query)
    except FilterError:
        return
    bare = compile_query(parse(f"{field}:x")).sql
    assert condition.sql == bare  # the statement does not depend on the value
    run(database, condition)


@pytest.mark.parametrize("field", ["identity", "resource", "kind", "protocol", "run", "text"])
@pytest.mark.parametrize("value", ["' OR 1=1 --", '"; DROP TABLE records', "a AND b NEAR c", "x%_*", "x*"])
def test_injections_are_values(database, field, value):
    for sign in ":~":
        condition = compile_query(parse(f"{field}{sign}{quoted(value)}"))
        assert value not in condition.sql
        run(database, condition)
