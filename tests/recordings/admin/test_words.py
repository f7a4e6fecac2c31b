"""recordings/admin/templates/macros.html: a command that a human let run is "granted", as `log` and the console say."""

from __future__ import annotations

from typing import Any

import pytest

from onrecord.recordings.admin import render as module

HELD = {"type": "hold", "approval": "a", "applied": True}


@pytest.mark.parametrize(
    ("view", "word"),
    [
        ({"verdict": HELD, "outcome": {"status": "ok"}}, "granted"),
        ({"verdict": HELD, "outcome": None}, "granted"),
        ({"verdict": HELD}, "granted"),
        ({"verdict": HELD, "outcome": {"status": "refused"}}, "hold"),
        ({"verdict": {"type": "hold"}, "outcome": {"status": "refused"}}, "hold"),
        ({"verdict": {"type": "deny"}}, "deny"),
        ({"verdict": {"type": "allow"}}, "allow"),
    ],
)
def test_the_page_says_granted_where_a_human_let_it_run(view: dict[str, Any], word: str) -> None:
    macros: Any = module._templates.get_template("macros.html").module
    assert f">{word}</span>" in str(macros.verdict(view))
