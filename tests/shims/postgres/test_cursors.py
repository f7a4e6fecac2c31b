"""The names of cursors and what may stand behind them."""

from __future__ import annotations

from onrecord.shims.postgres.commands import Template
from onrecord.shims.postgres.cursors import MAX_CURSORS, Cursors
from onrecord.shims.postgres.templates import Templates
from tests.shims.postgres.test_commands import SESSION

A = "DECLARE c CURSOR FOR SELECT * FROM a"
B = "DECLARE c CURSOR FOR SELECT * FROM b"
HELD = "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM a"


def one(text: str) -> Template:
    (template,) = Templates(SESSION, "svc").of(text)
    return template


def test_a_name_that_is_declared_again_may_be_either():
    cursors = Cursors()
    cursors.declare("c", one(A), 0)
    first = cursors.lookup("c")
    cursors.declare("c", one(A), 1)
    assert cursors.lookup("c") is first
    cursors.declare("c", one(B), 2)  # it may fail, because the first is still open
    found = cursors.lookup("c")
    assert found is not None
    assert {"a", "b"} <= {table.partition(".")[2] for table in found.template.command.tables_read}


def test_cursors_end_with_their_transaction_unless_they_are_held():
    cursors = Cursors()
    cursors.declare("c", one(A), 3)
    cursors.ended(2)  # an earlier answer
    assert cursors.lookup("c") is not None
    cursors.ended(3)
    assert cursors.lookup("c") is None
    cursors.declare("c", one(HELD), 4)
    cursors.declare("c", one(B), 5)
    cursors.ended(5)
    assert cursors.lookup("c") is not None


def test_more_cursors_than_can_be_remembered_are_all_unknown():
    cursors = Cursors()
    template = one(A)
    for i in range(MAX_CURSORS + 1):
        cursors.declare(f"c{i}", template, 0)
    assert cursors.lookup("c0") is None
    cursors.declare("c", template, 0)
    assert cursors.lookup("c") is None
