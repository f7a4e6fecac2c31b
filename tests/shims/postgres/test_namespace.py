"""Names of prepared statements stay in step with the server's."""

from __future__ import annotations

from typing import cast

import pytest

from onrecord.shims.postgres.commands import Prepared, Template
from onrecord.shims.postgres.namespace import Namespace, Unsettled


def prepared() -> Prepared:
    return Prepared(cast(Template, None))


def test_a_change_counts_within_its_segment_and_is_unsettled_beyond() -> None:
    names, one = Namespace(), prepared()
    change = names.change("p", one)
    assert names.lookup("p") is one
    names.segment += 1
    with pytest.raises(Unsettled):
        names.lookup("p")
    names.commit(change)
    assert names.lookup("p") is one


def test_a_change_taken_back_leaves_what_was() -> None:
    names, one, two = Namespace(), prepared(), prepared()
    names.commit(names.change("p", one))
    change = names.change("p", two)
    names.cancel(change)
    names.segment += 1
    assert names.lookup("p") is one


def test_forgetting_all_names_is_unsettled_for_each_of_them() -> None:
    names, one = Namespace(), prepared()
    names.commit(names.change("p", one))
    wipe = names.wipe()
    assert names.lookup("p") is None
    names.segment += 1
    with pytest.raises(Unsettled):
        names.lookup("p")
    names.commit(wipe)
    assert names.lookup("p") is None


def test_a_name_given_after_forgetting_all_counts() -> None:
    names, one = Namespace(), prepared()
    wipe = names.wipe()
    change = names.change("p", one)
    assert names.lookup("p") is one
    names.commit(wipe)
    names.commit(change)
    assert names.lookup("p") is one
