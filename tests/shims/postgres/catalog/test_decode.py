"""Answers of the catalog that are not what was asked for."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.postgres.catalog.decode import CatalogError, decode_catalog, decode_texts
from onrecord.shims.postgres.catalog.queries import FACTS

EMPTY = dict.fromkeys(FACTS, "[]")


def test_an_empty_database_is_an_empty_catalog():
    catalog = decode_catalog(EMPTY, {}, {})
    assert (catalog.relations, catalog.functions, catalog.schemas) == ((), (), ())


def test_a_loop_of_inheritance_ends():
    relations = '[[1,"s","a","r",false],[2,"s","b","r",false]]'
    answers = EMPTY | {"relations": relations, "inherits": "[[1,2],[2,1]]"}
    catalog = decode_catalog(answers, {}, {})
    assert catalog.by_name["s.a"].parents == ("s.b",)
    assert catalog.by_name["s.a"].children == ("s.b",)


@given(st.sampled_from(sorted(FACTS)), st.text())
def test_junk_is_the_catalogs_error(name: str, junk: str):
    with contextlib.suppress(CatalogError):
        decode_catalog(EMPTY | {name: junk}, {}, {})


@given(st.text())
def test_junk_in_texts_is_the_catalogs_error(junk: str):
    with contextlib.suppress(CatalogError):
        decode_texts(junk)


def test_a_missing_answer_is_the_catalogs_error():
    with pytest.raises(CatalogError):
        decode_catalog({}, {}, {})
