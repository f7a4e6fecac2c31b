"""Recorded terminals: what a hostile recording may not do, and that a seek shows what playing shows."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.recordings.casts import asciicast_v2, asciicast_v3
from onrecord.recordings.terminal.emulator import Emulator
from onrecord.recordings.terminal.film import Film
from onrecord.recordings.terminal.harmless import HarmlessTerminal, plain_text
from onrecord.recordings.terminal.paint import paint
from onrecord.recordings.terminal.pieces import Piece, has_terminal, pieces

ALLOWED = re.compile(
    r"(?:[^\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]|[\n\r\b\t]"
    r"|\x1b\[\??[0-9;]*[@A-HJ-MPSTXZ`adefghlmrsu]|\x1b[78DEHM])*"
)
HOSTILE = [
    "\x1b]52;c;Y3VybCBldmls\x07",
    "\x1b]0;title\x1b\\",
    "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "\x1bP+q544e\x1b\\",
    '\x1bP$q"p\x1b\\',
    "\x1b_Gi=1;AAAA\x1b\\",
    "\x1b^pm\x1b\\",
    "\x1bXsos\x1b\\",
    "\x9d52;c;evil\x9c",
    "\x9b6n",
    "\x1b[6n",
    "\x1b[c",
    "\x1b[>c",
    "\x1b[21t",
    "\x1b[3J",
    "\x1b[4i",
    "\x1b[?1000h",
    "\x1b[?2004h",
    "\x1b[200~",
    "\x1b#8",
    "\x1bc",
    "\x1b(0",
    "\x1b[1000000000b",
    "\x1b[" + "9" * 5000 + "A",
    "\x1b]" + "x" * 100_000,
    "\x05\x07\x0e\x0f\x00",
    "\u202eabc\u2066",
]


def harmless(*parts: str) -> str:
    terminal = HarmlessTerminal()
    return "".join(token for part in parts for token in terminal.feed(part))


@pytest.mark.parametrize("attack", HOSTILE)
def test_nothing_that_acts_on_the_viewers_terminal_is_left(attack: str) -> None:
    shown = harmless(f"before{attack}\nafter")
    assert ALLOWED.fullmatch(shown), shown
    assert shown.startswith("before")
    assert shown.endswith("after")
    assert "evil" not in shown


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from([one for one in HOSTILE if len(one) < 100]), st.text(max_size=20)), max_size=8),
    st.integers(1, 7),
)
def test_no_chunking_lets_more_through(parts: list[str], step: int) -> None:
    text = "".join(parts)
    cut = [text[start : start + step] for start in range(0, len(text), step)]
    assert harmless(*cut) == harmless(text)
    assert ALLOWED.fullmatch(harmless(text))


@settings(deadline=None)
@given(st.text(alphabet="\x1b[]?;0123456789hlmJKHABCDPX@`rsu78DEM \n\rab\u0301é漢\u202e", max_size=200))
def test_any_output_can_be_painted_and_only_with_our_own_sequences(text: str) -> None:
    emulator = Emulator(20, 5)
    emulator.play(Piece(0.0, "output", text))
    painted = paint(emulator, list(range(5)), 20, 5)
    assert re.fullmatch(r"(?:[^\x00-\x1f\x7f-\x9f\u202e]|\x1b\[(?:[0-9;]*[HKm]|\?25[hl]))*", painted)


def test_what_looks_alike_stays() -> None:
    assert (
        harmless("a\x1b[1;31mred\x1b[0m\x1b[2K\x1b[5;1Hé\ttab\r\n") == "a\x1b[1;31mred\x1b[0m\x1b[2K\x1b[5;1Hé\ttab\r\n"
    )


def test_a_flood_of_marks_is_cut() -> None:
    assert harmless("e" + "\u0301" * 1000) == "e" + "\u0301" * 4


def test_text_without_a_terminal_has_no_sequence() -> None:
    assert plain_text("\x1b[31mred\x1b[0m\x1b]0;t\x07!") == "red!"


def chunk(at: float, data: object, channel: str = "terminal", direction: str = "to_client", size: int = -1) -> Any:
    seconds = f"2026-01-01T00:00:{at:09.6f}+00:00"
    length = len(data.encode()) if isinstance(data, str) else 0
    return {
        "at": seconds,
        "channel": channel,
        "direction": direction,
        "data": data,
        "size": length if size < 0 else size,
        "note": "",
    }


def shell() -> dict[str, Any]:
    wide = "é".encode()
    return {
        "text": "exec -it web -- sh\x1b]0;x\x07",
        "outcome": {"code": "3"},
        "chunks": [
            chunk(1, {"columns": 40, "rows": 10}, "resize", "to_upstream"),
            chunk(1.5, "$ "),
            chunk(2, "ls\r", direction="to_upstream"),
            chunk(2.5, "ls\r\n\x1b[31mred\x1b[0m\x1b]52;c;evil\x07\r\n"),
            chunk(3, {"base64": base64.b64encode(wide[:1]).decode()}, size=1),
            chunk(4, {"base64": base64.b64encode(wide[1:]).decode()}, size=1),
            chunk(5, {"columns": 20, "rows": 5}, "resize", "to_upstream"),
            chunk(6, None, size=100),
        ],
    }


def test_characters_cut_over_chunks_are_whole_and_gaps_are_told() -> None:
    made = list(pieces(shell()))
    assert [piece.kind for piece in made] == ["resize", "output", "input", "output", "output", "resize", "gap"]
    assert made[4].text == "é"
    assert made[-1].text == "100 bytes of terminal: not kept"
    assert has_terminal(shell())


def test_output_without_a_terminal_gets_its_carriage_returns() -> None:
    view = {
        "chunks": [chunk(1, "a\nb\n", "stdout"), chunk(2, "x\n", "stderr"), chunk(2, "in\n", "stdin", "to_upstream")]
    }
    assert [(piece.kind, piece.text) for piece in pieces(view)] == [
        ("output", "a\r\nb\r\n"),
        ("output", "x\r\n"),
        ("input", "in\n"),
    ]


def test_asciicast_2_has_absolute_times() -> None:
    lines = [json.loads(line) for line in asciicast_v2(shell())]
    assert lines[0] == {"version": 2, "width": 40, "height": 10, "timestamp": 1767225601, "title": "exec -it web -- sh"}
    assert lines[1:] == [
        [0.5, "o", "$ "],
        [1.0, "i", "ls\r"],
        [1.5, "o", "ls\r\n\x1b[31mred\x1b[0m\r\n"],
        [3.0, "o", "é"],
        [4.0, "r", "20x5"],
        [5.0, "m", "100 bytes of terminal: not kept"],
    ]


def test_asciicast_3_has_intervals_and_the_exit_status() -> None:
    lines = [json.loads(line) for line in asciicast_v3(shell())]
    assert lines[0]["version"] == 3
    assert lines[0]["term"] == {"cols": 40, "rows": 10, "type": "xterm-256color"}
    assert [line[0] for line in lines[1:]] == [0.5, 0.5, 0.5, 1.5, 1.0, 1.0, 0.0]
    assert lines[-1] == [0.0, "x", "3"]


def test_a_cast_of_nothing_is_a_header() -> None:
    assert len(list(asciicast_v2({"chunks": []}))) == 1
    assert len(list(asciicast_v3())) == 1


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 200), st.lists(st.floats(0, 200), max_size=5))
def test_a_seek_shows_what_playing_shows(target: float, before: list[float]) -> None:
    film = Film(Piece(float(n), "output", f"line {n}\r\n\x1b[{30 + n % 8}m") for n in range(200))
    for seconds in before:
        film.seek(seconds)
    emulator, index = film.seek(target)
    plain = Emulator(*film.size)
    for piece in film.pieces[:index]:
        plain.play(piece)
    assert list(emulator.lines()) == list(plain.lines())
    assert emulator.screen.cursor.attrs == plain.screen.cursor.attrs


def test_the_alternate_screen_leaves_no_picture_behind() -> None:
    emulator = Emulator(20, 3)
    emulator.play(Piece(0, "output", "shell$ vim\r\n\x1b[?1049h\x1b[Hpicture"))
    assert "picture" in next(iter(emulator.lines()))
    emulator.play(Piece(0, "output", "\x1b[?1049l"))
    assert list(emulator.lines()) == ["shell$ vim", "", ""]


def test_a_resize_is_followed() -> None:
    emulator = Emulator(20, 3)
    emulator.play(Piece(0, "resize", "", 40, 10))
    assert emulator.size == (40, 10)
