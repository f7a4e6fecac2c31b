"""What people type never is FTS5 syntax."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.search import fts_query


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("drop table", '"drop" "table"'),
        ('"drop table" orders', '"drop table" "orders"'),
        ("cust*", '"cust"*'),
        ("a OR b", '"a" "OR" "b"'),
        ("text:x", '"text:x"'),
        ("* - + ( )", ""),
        ('say "open', '"say" "open"'),
    ],
)
def test_every_word_is_a_quoted_term(text: str, query: str) -> None:
    assert fts_query(text) == query


@given(st.text(max_size=200))
def test_no_text_is_a_syntax_error(text: str) -> None:
    query = fts_query(text)
    if not query:
        return
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE search USING fts5(text, content='', columnsize=0)")
        try:
            connection.execute("SELECT rowid FROM search WHERE search MATCH ?", (query,)).fetchall()
        except UnicodeEncodeError:  # a lone surrogate: no terminal can type it
            assert not text.isprintable()
