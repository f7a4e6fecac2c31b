"""How an approval looks on a terminal: what could deceive is marked, as on the page and in the console."""

from __future__ import annotations

import msgspec
import pytest

from onrecord.policies.approvals import request_approval
from onrecord.recordings.approvals.views import approval_view
from onrecord.scripts.approvals_screen import print_approval
from tests.policies.test_approvals import NOW, request


def test_letters_that_look_like_others_and_hidden_ones_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    text = "DELETE FROM p\u0430yments /* \u202e \x1b[2J [bold]x[/] */" + " " * 3000 + "OR true"
    command = msgspec.Raw(msgspec.json.encode({"kind": "sql", "text": text}))
    print_approval(approval_view(request_approval(request(command=command), NOW)))
    shown = capsys.readouterr().out
    for word in (
        "look out: ",
        "lookalike",
        "CYRILLIC SMALL LETTER A",
        "U+202E",
        "3000 spaces",
        "[bold]x[/]",
        "OR true",
    ):
        assert word in " ".join(shown.replace("│", " ").split()), word
    assert not {"\x1b", "\u202e"} & set(shown)
