"""No text harms the process: each shape is parsed in a process of its own, at both bounds."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pgparse  # type: ignore[import-not-found]
import pytest

from onrecord.policies.sql.errors import SqlError, SqlTooLarge
from onrecord.policies.sql.parser import LARGEST, SMALL, parse

# (start, repeated, end): deep to the left, deep to the right, wide.
SHAPES = [
    ("select 1", "+1", ""),
    ("select a", "||a", ""),
    ("select 1 where a", " and a or b", ""),
    ("select ", "not ", "true"),
    ("select ", "(", "1"),
    ("select 1", " union select 1", ""),
    ("select 1", "::int", ""),
    ("select a", "[1]", ""),
    ("select * from a", " join b using (c)", ""),
    ("select * from a", " cross join a", ""),
    ("select a", " collate x", ""),
    ("select a", " is null", ""),
    ("select a", " at time zone b", ""),
    ("select ", "- ", "1"),
    ("select ", "case when a then ", "1"),
    ("select ", "f(", "1"),
    ("delete from t where a", " = a is true", ""),
    ("insert into t values (1)", ",(1)", ""),
    ("select '", "é", "'"),
]

SCRIPT = """
import sys
from onrecord.policies.sql import SqlError, analyse
shapes, size = eval(sys.argv[1]), int(sys.argv[2])
for start, repeated, end in shapes:
    count = (size - len((start + end).encode())) // len(repeated.encode())
    text = start + repeated * count + end
    assert size - 64 < len(text.encode()) <= size
    try:
        analyse(text)
    except SqlError as error:
        print("SqlError", error)
    else:
        print("analysed")
"""


@pytest.mark.parametrize("size", [SMALL, 200 * 1024, LARGEST])
def test_no_shape_of_text_kills_the_process(size):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, repr(SHAPES), str(size)], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(SHAPES)


def test_text_over_the_bound_is_refused_by_its_size_in_bytes():
    with pytest.raises(SqlTooLarge, match="at most"):
        parse("select '" + "x" * LARGEST + "'")
    with pytest.raises(SqlTooLarge):
        parse("select '" + "é" * (LARGEST // 2) + "'")


@pytest.mark.parametrize("filler", ["/*", "+", "*/"])
def test_runs_of_operator_characters_are_refused_before_the_lexer_spends_quadratic_time(filler):
    with pytest.raises(SqlError, match="operator characters"):
        parse("select " + filler * 4000)


def test_the_stack_size_of_other_threads_is_left_alone():
    before = threading.stack_size()
    parse("select '" + "x" * 2 * SMALL + "'")
    assert threading.stack_size() == before


def test_an_error_on_the_large_stack_reaches_the_caller():
    with pytest.raises(SqlError, match="syntax error") as caught:
        parse("select '" + "x" * 2 * SMALL + "' from")
    assert caught.value.position > 2 * SMALL


def test_trees_are_those_that_the_json_module_makes(monkeypatch):
    texts = [
        "select 'é\U0001f600\x01\x7f', U&'\\0041', E'\\n', \"ü\", 1e400, 9223372036854775808, x'1f', -1",
        "insert into t values (1, null, true) on conflict do nothing; delete from t where a = $1",
    ]
    found = [parse(text) for text in texts]
    monkeypatch.setattr(pgparse, "json", json)
    assert [parse(text) for text in texts] == found
