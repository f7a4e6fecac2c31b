"""Commands on a terminal: SQL as it was meant, parameters, results with what was masked."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from onrecord.recordings.replay import Event
from onrecord.recordings.views import View
from onrecord.scripts.screen import render_record, render_sample
from onrecord.scripts.screen_lists import ReplayScreen, print_runs, print_sessions

VIEW: dict[str, Any] = {
    "id": "01a20521-0000-7000-8000-000000000001",
    "at": "2026-11-22T18:35:14.123456Z",
    "kind": "sql",
    "run": "r1",
    "session": "01a20521-0000-7000-8000-000000000000",
    "identity": {"issuer": "onrecord:dev", "subject": "devin", "groups": ["agents"], "on_behalf_of": None},
    "resource": "orders",
    "protocol": "postgres",
    "client": "127.0.0.1:50412",
    "action": "read",
    "text": "SELECT id, email FROM customers WHERE id = $1 AND name <> $2 ORDER BY id LIMIT 10 OFFSET 0",
    "detail": {"kind": "SELECT", "parameters": ["7", None]},
    "verdict": {"type": "allow", "policy": "onrecord:default", "reason": "", "policies": "sha256:0000"},
    "approval": None,
    "cause": None,
    "outcome": {
        "status": "ok", "code": "00000", "rows": 2, "bytes": 64, "duration_ms": 0.4, "error": None,
        "masked": {"public.customers.email": 2},
        "sample": {"columns": ["id", "email"], "rows": [["7", "q***@w***.example"], ["8", None]]},
        "digest": None, "size": 64,
    },
}  # fmt: skip

DENIED = {"type": "deny", "policy": "p", "reason": "because it is Friday", "policies": "sha256:0000"}


def shown(view: dict[str, Any], *, color: bool = False) -> str:
    out = io.StringIO()
    system: Any = "standard" if color else None
    screen = Console(file=out, width=100, force_terminal=color, markup=False, highlight=False, color_system=system)
    screen.print(render_record(view))
    return out.getvalue()


def test_a_statement_its_parameters_and_its_masked_result_are_shown_together():
    lines = [line.rstrip() for line in shown(VIEW).splitlines()]
    start = lines.index("sql: read")
    statement = [line.strip() for line in lines[start + 1 : lines.index("verdict") - 1]]
    assert statement[:4] == ["SELECT", "id,", "email", "FROM customers"]
    assert "$1  7" in statement
    assert "$2  NULL" in statement
    outcome = [line.strip() for line in lines[lines.index("outcome") + 1 :]]
    assert "ok  00000  2 rows, 64 bytes, 0.4 ms" in outcome
    assert "masked  public.customers.email × 2" in outcome
    assert [line.split() for line in outcome if "@" in line] == [["7", "q***@w***.example"]]
    assert ["8", "NULL"] in [line.split() for line in outcome]


def test_what_was_masked_stands_out():
    assert "\x1b[30;43m***\x1b[0m" in shown(VIEW, color=True)


def test_a_statement_that_formatting_would_change_is_shown_as_it_was():
    text = "SELECT now(), 1 AS a_rather_long_name, 2 AS another_rather_long_name, 3 AS the_last_of_them_all"
    assert text.split(",")[0] in shown(VIEW | {"text": text})


def test_recorded_bytes_do_not_reach_the_terminal_raw():
    sample = {"columns": ["a\x1b[2J"], "rows": [["b\u202e\x07"]]}
    hostile = VIEW | {"text": "SELECT '\x1b]0;x\x07'", "outcome": VIEW["outcome"] | {"sample": sample}}
    out = shown(hostile)
    assert not set("\x1b\x07\u202e") & set(out)


def test_a_statement_that_would_hang_the_formatter_is_shown_as_it_was():
    text = "SELECT " + "ARRAY[" * 30 + "1" + "]" * 30 + " AS a_name_that_makes_the_line_long"
    assert "ARRAY[ARRAY[" in shown(VIEW | {"text": text})


def result(sample: dict[str, Any], width: int = 80, *, color: bool = False) -> str:
    out = io.StringIO()
    system: Any = "standard" if color else None
    screen = Console(file=out, width=width, force_terminal=color, markup=False, highlight=False, color_system=system)
    screen.print(render_sample(sample))
    return out.getvalue()


WIDE = {"columns": ["id", "note", "name"], "rows": [["7", "x" * 300, "Ada"], ["8", "y\nz", None]]}


def test_a_wide_table_fits_the_terminal_with_an_ellipsis():
    for width in (40, 80, 200):
        lines = result(WIDE, width).splitlines()
        assert max(map(len, lines)) <= width
        assert len(lines) == 3
        assert "…" in lines[1]
        assert "Ada" in lines[1]
        assert "y\\nz" in lines[2]


def test_too_many_columns_are_shown_one_value_a_line():
    columns = [f"column_{number}" for number in range(30)]
    out = result({"columns": columns, "rows": [[str(number) for number in range(30)]] * 25})
    assert "── row 1 ──" in out
    assert ["column_17", "17"] in [line.split() for line in out.splitlines()]
    assert max(map(len, out.splitlines())) <= 80
    assert "5 rows more" in out


def test_a_tall_table_has_a_bound_and_says_what_is_left_out():
    out = result({"columns": ["n"], "rows": [[str(number)] for number in range(120)]})
    assert "70 rows more" in out
    assert len(out.splitlines()) < 60


def test_masked_columns_are_marked_even_where_their_values_look_ordinary():
    sample = {"columns": ["id", "name"], "rows": [["7", "Xqz"], ["8", None]], "masked": [1]}
    out = result(sample, color=True)
    assert "name▒" in out
    assert "\x1b[30;43mXqz" in out
    assert "\x1b[30;43mNULL" in out
    assert "\x1b[30;43m7" not in out
    assert "▒ this column was masked" in result(sample)


def test_pseudonyms_are_marked_wherever_they_stand():
    word = "0123456789abcdef0123"
    for value in (f"{word}@pseudonym.invalid", f"pseudonym-{word}", "+99900000000001", "XX000000000000000001"):
        assert f"\x1b[30;43m{value}\x1b[0m" in result({"columns": ["a"], "rows": [[f"to {value}!"]]}, color=True)


def test_what_is_no_list_of_columns_is_no_mask():
    odd: object
    for odd in ("x", [None, "1", 99, {}], {"a": 1}, -1):
        assert "Ada" in result(WIDE | {"masked": odd})


def chunk(direction: str, data: object, **more: object) -> dict[str, Any]:
    view = {"id": "x", "at": "2026-11-22T18:35:15.500000Z", "direction": direction, "size": 4, "rows": 0, "data": data}
    return view | {"digest": None, "note": "", "channel": ""} | more


def test_show_prints_the_parts_of_a_stream():
    chunks = [
        chunk("to_upstream", "ls -l\r", channel="terminal"),
        chunk("to_client", "bin etc\x1b[2J", channel="terminal"),
        chunk("to_upstream", {"columns": 80, "rows": 24}, channel="resize"),
        chunk("to_client", None, channel="terminal", note="beyond the bound: counted and hashed", size=1000),
    ]
    out = shown(VIEW | {"kind": "ssh", "chunks": chunks})
    lines = [line.strip() for line in out[out.index("\nstream") :].splitlines()]
    assert "18:35:15.500 → terminal 4 bytes" in lines
    assert "ls -l\\r" in lines
    assert "bin etc\\x1b[2J" in lines
    assert "18:35:15.500 ← terminal 1000 bytes beyond the bound: counted and hashed" in lines
    assert out.count("bin etc") == 1


def test_parts_of_a_result_are_counted_and_not_shown_twice():
    view = VIEW | {"chunks": [chunk("to_client", {"columns": ["id"], "rows": [["7"]]}, rows=1, note="rows")]}
    out = shown(view)
    assert "← 4 bytes, 1 rows rows" in out
    assert out.count("q***@w***.example") == 1


def test_replay_says_of_each_command_who_allowed_it(capsys):
    sequence = [Event(0.0, "command", VIEW), Event(1.0, "command", VIEW | {"verdict": DENIED})]
    screen = ReplayScreen(sequence)
    for event in sequence:
        screen.play(event)
    out = capsys.readouterr().out
    assert "allow by onrecord:default" in out
    assert "because it is Friday" in out


def listed(capsys, monkeypatch, width: int, show: Callable[[list[View]], None], views: list[View]) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    show(views)
    lines: list[str] = capsys.readouterr().out.splitlines()
    return lines


SESSION = {
    "id": "019ac3b1-0000-7000-8000-00000000abcd", "at": "2026-11-22T18:35:14Z", "ended": "2026-11-22T18:36:15Z",
    "reason": "the client left without a word, and long ago", "identity": {"subject": "devin-the-long-named-agent"},
    "resource": "orders-replica-eu-1", "commands": 12345,
}  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 132])
def test_sessions_name_themselves_in_a_narrow_terminal(capsys, monkeypatch, width):
    views = [SESSION, SESSION | {"ended": None}, SESSION | {"ended": "2026-11-23T00:00:01Z"}]
    lines = listed(capsys, monkeypatch, width, print_sessions, views)
    assert all(cell_len(line) <= width for line in lines)
    for line in lines[1:]:
        assert line.startswith("00000000abcd 11-22 18:35:14 devin-t")
        assert " orders-" in line
        assert " 12345 " in line
    assert " 18:36:" in lines[1]
    assert " open" in lines[2]
    assert " 11-23 " in lines[3], "another day is said"


@pytest.mark.parametrize("width", [60, 80, 132])
def test_runs_share_the_width_and_a_flood_of_a_name_is_cut(capsys, monkeypatch, width):
    run = {"run": "019ac3b1-0000-7000-8000-00000000abcd", "last": "2026-11-22T18:35:14Z", "resources": ["orders"],
           "identity": {"subject": "日本語のとても長い名前"}, "sessions": 2, "commands": 5, "denied": 1}  # fmt: skip
    lines = listed(
        capsys, monkeypatch, width, print_runs, [run, run | {"run": "r" * 5000, "resources": ["x" * 40] * 3}]
    )
    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) < 30
    assert "11-22 18:35:14" in lines[1]
    assert lines[1].split()[-3:] == ["2", "5", "1"]
    if width >= 80:
        assert "".join(line.split(" ")[0] for line in lines[1:3]).startswith("019ac3b1-0000-7000-8")
