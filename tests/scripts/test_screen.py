"""Commands on a terminal: SQL as it was meant, parameters, results with what was masked."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from onrecord.scripts.screen import render_record

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
