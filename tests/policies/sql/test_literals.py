"""Texts that differ only in integers share an analysis, and only where no integer can matter."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.sql import SqlError, analyse
from onrecord.policies.sql import analysis as module
from onrecord.policies.sql.literals import Literals

PATH = ("public",)


def key(sql: str) -> object:
    return Literals.key(sql, PATH)


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch):
    monkeypatch.setattr(module, "_literals", Literals())
    monkeypatch.setattr(module, "_cache", module._Cache(16, 1 << 20))


def test_a_text_that_differs_in_an_integer_has_its_own_text_and_the_same_analysis():
    first = analyse("  SELECT a FROM t WHERE id = 7;  ").statements[0]
    second = analyse("  SELECT a FROM t WHERE id = 123;  ").statements[0]
    assert (first.text, second.text) == ("SELECT a FROM t WHERE id = 7", "SELECT a FROM t WHERE id = 123")
    assert msgspec.structs.replace(second, text=first.text) == first
    assert second.detail_json == first.detail_json


@pytest.mark.parametrize(
    ("choosing", "vacuous"),
    [
        ("SELECT a FROM t WHERE 1 = 2", "SELECT a FROM t WHERE 1 = 1"),
        ("SELECT a FROM t WHERE id < 5 OR id > 10", "SELECT a FROM t WHERE id < 10 OR id > 5"),
        ("SELECT a FROM t WHERE NOT id BETWEEN 1 AND 2", "SELECT a FROM t WHERE NOT id BETWEEN 2 AND 1"),
        ("SELECT a FROM t WHERE id = 1 AND 1 = 2", "SELECT a FROM t WHERE 1 = 1 AND 2 = 2"),
    ],
)
def test_a_condition_that_chooses_does_not_answer_for_one_that_does_not(choosing, vacuous):
    assert analyse(choosing).statements[0].has_where
    assert not analyse(vacuous).statements[0].has_where


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'a1' FROM t WHERE id = 1",
        'SELECT a FROM "t 1" WHERE id = 1',
        "SELECT a FROM t -- 1",
        "SELECT a FROM t /* 1 */",
        "SELECT $$ 1 $$",
        "SELECT $a$ 1 $a$",
        "SELECT U&1",
        "SELECT 1::text",
        "SELECT 1 + 1",
        "SELECT 1 | 1",
        "SELECT a FROM t WHERE id = -1",
        "SELECT a FROM t1 WHERE x.id2 = 1.5",
        "SELECT 12345678901",
        "SELECT 1e5",
        "SELECT a FROM t",
        "SELECT a FROM t\r WHERE id = 1",
        "SELECT ünder 1",
    ],
)
def test_a_text_with_anything_but_plain_words_and_integers_has_no_key(sql):
    assert key(sql) is None


def test_names_keep_their_digits():
    assert key("SELECT a1 FROM t1 WHERE id = 1") != key("SELECT a2 FROM t1 WHERE id = 1")
    assert key("SELECT a FROM t1 WHERE id = 1") != key("SELECT a FROM t2 WHERE id = 1")
    assert key("SELECT $1 FROM t WHERE id = 1") != key("SELECT $2 FROM t WHERE id = 1")


@pytest.mark.parametrize(
    ("seen", "asked"),
    [
        ("DELETE FROM t WHERE 1 = 2", "DELETE FROM t WHERE 1 = 1"),
        ("UPDATE t SET a = 1 WHERE 1 = 2", "UPDATE t SET a = 1 WHERE 2 = 2"),
        ("SET work_mem = 1", "SET work_mem = 2"),
        ("SELECT 1; SELECT 2", "SELECT 3; SELECT 4"),
        ("WITH x AS (DELETE FROM t WHERE 1 = 2 RETURNING a) SELECT a FROM x",
         "WITH x AS (DELETE FROM t WHERE 1 = 1 RETURNING a) SELECT a FROM x"),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2 WHERE 1 = 2",
         "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2 WHERE 1 = 1"),
        ("EXECUTE p(1)", "EXECUTE p(2)"),
        ("PREPARE p1 AS SELECT 1", "PREPARE p1 AS SELECT 2"),
        ("SELECT unknown_function(1)", "SELECT unknown_function(2)"),
    ],
)  # fmt: skip
def test_what_an_integer_could_change_is_analysed_anew(seen, asked):
    analyse(seen)
    assert not module._literals._map
    fresh = analyse(asked)
    module._cache = module._Cache(16, 1 << 20)
    assert analyse(asked) == fresh


VOCABULARY = """
SELECT INSERT INTO VALUES FROM WHERE AND OR NOT t u a b id 1 22 333 0 007 ( ) , = < > * . ; $1 LIMIT ORDER BY GROUP IN
EXISTS UNION ALL WITH x AS DELETE UPDATE SET t1 FETCH FIRST ROWS ONLY FOR count sum float varchar
"""
WORDS = st.sampled_from(VOCABULARY.split())


@given(st.lists(WORDS, max_size=14), st.lists(st.integers(0, 999_999_999), min_size=30, max_size=30))
def test_a_shared_analysis_is_the_one_that_the_text_itself_would_get(words, values):
    sql = "SELECT " + " ".join(words)
    other = iter(values)
    asked = " ".join(str(next(other)) if word.isdigit() else word for word in sql.split(" "))
    try:
        analyse(sql)
        shared = analyse(asked)
    except SqlError:
        return
    module._literals = Literals()
    module._cache = module._Cache(16, 1 << 20)
    assert analyse(asked) == shared


def test_the_map_is_bounded():
    literals = Literals(entries=8)
    for number in range(50):
        sql = f"SELECT a{number} FROM t WHERE id = 1"
        found = Literals.key(sql, PATH)
        assert found is not None
        literals.put(found, sql, analyse(sql))
    assert len(literals._map) <= 8
