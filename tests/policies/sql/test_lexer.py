"""Literals are found where PostgreSQL's lexer finds them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.sql.lexer import newer_numbers, tokens


def strings(text: str) -> list[str]:
    return [text[token.start : token.end] for token in tokens(text) if token.kind == "string"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("select 'a' , 'b'", ["'a'", "'b'"]),
        ("select 'it''s'", ["'it''s'"]),
        ("select '\\' , 'x'", ["'\\'", "'x'"]),
        ("select E'\\' , ' x", ["E'\\' , '"]),
        ("select $$a'b$$", ["$$a'b$$"]),
        ("select $a$ $b$ $a$ $b$", ["$a$ $b$ $a$", "$b$"]),
        ("select $1, '$x$'", ["'$x$'"]),
        ("select a$b$c, 'x'", ["'x'"]),
        ("-- 'a'\n'b'", ["'b'"]),
        ("/* 'a' /* 'b' */ 'c' */ 'd'", ["'d'"]),
        ("select \"a'b\" 'c'", ["'c'"]),
        ("select U&'x' U&\"'\" b'1' x'f' n'y'", ["U&'x'", "b'1'", "x'f'", "n'y'"]),
        ("'a'\n'b'", ["'a'\n'b'"]),
        ("'a' -- c\n 'b'", ["'a' -- c\n 'b'"]),
        ("'a' 'b'", ["'a'", "'b'"]),
        ("'open", ["'open"]),
        ("$$open", ["$$open"]),
    ],
)
def test_literals(text, found):
    assert strings(text) == found


@given(st.text(alphabet="'\"$aE&U\\-/*\n ;1", max_size=60))
def test_tokens_go_forward_and_stay_inside_the_text(text):
    end = 0
    for token in tokens(text):
        assert end <= token.start < token.end <= len(text)
        end = token.end


@pytest.mark.parametrize(
    "text", ["SELECT 1_000", "SELECT 0x1F", "x=0b1", "SELECT 0o7", "SELECT 1.5_0", "SELECT 1x, 'a'"]
)
def test_numbers_that_old_servers_take_apart_are_found(text):
    assert newer_numbers(text)


@pytest.mark.parametrize(
    "text", ["SELECT 1, 2.5, .5, 1e5, 1.5e-3, 1E+3", "SELECT t1_x, '0x1F', \"1_0\" -- 1_0", "SELECT $1, a1, $t$1_0$t$"]
)
def test_numbers_of_all_servers_and_other_text_are_none_of_them(text):
    assert not newer_numbers(text)
