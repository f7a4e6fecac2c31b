"""recordings/words.py: what became of a command, in one word on every screen."""

from __future__ import annotations

import pytest

from onrecord.recordings.display.records import state
from onrecord.recordings.words import mark_of

CASES = [
    ("hold", True, "a", "ok", "granted"),
    ("hold", True, "a", "", "granted"),
    ("hold", True, "a", "error", "error"),
    ("hold", True, "a", "refused", "hold"),
    ("hold", True, "", "refused", "hold"),
    ("hold", False, "", "ok", "(hold)"),
    ("deny", True, "", "refused", "deny"),
    ("deny", False, "", "ok", "(deny)"),
    ("allow", True, "", "ok", "ok"),
    ("allow", True, "", "", "running"),
]


@pytest.mark.parametrize(("kind", "applied", "approval", "status", "word"), CASES)
def test_one_word_says_what_became_of_a_command(
    kind: str, applied: bool, approval: str, status: str, word: str
) -> None:
    assert mark_of(kind, applied=applied, approval=approval, status=status) == word
    verdict = {"type": kind, "applied": applied, "approval": approval}
    assert state({"verdict": verdict, "outcome": {"status": status} if status else None}).plain == word
