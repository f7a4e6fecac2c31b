"""Records as Rich renderables of 80 columns or more, from views.

Recorded text becomes `Text` after `clean`, never markup; nothing recorded reaches the terminal raw.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from onrecord.recordings.display.kubernetes import render_request
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.display.tables import Rows, redacted
from onrecord.recordings.views import View
from onrecord.recordings.words import mark_of

VERDICTS = {"allow": "green", "granted": "green", "deny": "bold red", "hold": "yellow"}
STATUS = {"ok": "green", "error": "yellow", "refused": "red", "aborted": "magenta"}
_SHOWN_CHUNKS = 40
_SHOWN_TEXT = 20_000
_DEEPEST = 6  # nested brackets that sqlglot is asked to follow


def who(view: View) -> str:
    """The agent's name, or "–"."""
    identity = view.get("identity")
    return clean(identity["subject"]) if identity else "–"


def state(view: View) -> Text:
    """The verdict where it was not allow, else how the command ended."""
    if "verdict" not in view:
        return Text("session" if "login" in view else clean(view.get("kind", "")), style="dim")
    verdict, outcome = view["verdict"] or {}, view["outcome"] or {}
    kind = str(verdict.get("type", "unreadable"))
    applied, approval = verdict.get("applied", True) is not False, str(verdict.get("approval") or "")
    word = mark_of(kind, applied=applied, approval=approval, status=str(outcome.get("status", "")))
    style = VERDICTS["hold"] if not applied else VERDICTS.get(word) or STATUS.get(word, "dim")
    return Text(clean(word), style=style)


def command_line(view: View) -> Text:
    """A command on one line."""
    if "text" not in view:
        return Text(clean(f"from {view.get('client')} with {view.get('commands')} commands"), style="dim")
    line = " ".join(clean(view["text"], lines=True).split())
    reason = (view["verdict"] or {}).get("reason") if not line else ""
    return Text(line[:500] or clean(reason or "–"))


def render_record(view: View) -> RenderableType:
    """What `show` prints: a command, a session or any other record."""
    if "verdict" not in view:
        return fact_table([(name, _inline(value)) for name, value in view.items()])
    verdict, outcome, identity = view["verdict"] or {}, view["outcome"], view["identity"] or {}
    parts: list[RenderableType] = []
    parts.append(
        fact_table(
            [
                ("record", Text(clean(view["id"]), style="cyan")),
                ("at", Text(clean(view["at"]))),
                ("who", _identity(identity)),
                ("on", Text(clean(" ".join(str(view[name] or "–") for name in ("resource", "protocol", "client"))))),
                ("run", Text(clean(view["run"] or "–"))),
                ("session", Text(clean(view["session"] or "–"))),
            ]
        )
    )
    if view.get("cause"):
        parts.append(fact_table([("cause", _inline(view["cause"]))]))
    parts += [Text(), _heading(f"{view['kind']}: {view['action']}"), Padding(render_command(view), (0, 0, 0, 2))]
    detail = {name: value for name, value in (view["detail"] or {}).items() if value not in (None, "", [], {}, False)}
    if view["kind"] == "sql":
        detail.pop("parameters", None)  # they stand with the statement
    if detail:
        parts.append(Padding(fact_table([(name, _inline(value)) for name, value in detail.items()]), (1, 0, 0, 2)))
    parts += [Text(), _heading("verdict"), Padding(render_verdict(verdict), (0, 0, 0, 2))]
    chunks = view.get("chunks") or []
    flows = any(chunk.get("channel") for chunk in chunks)
    if flows and outcome is not None:
        outcome = outcome | {"sample": None}  # its parts stand below, each at its time
    parts += [Text(), _heading("outcome"), Padding(render_outcome(outcome), (0, 0, 0, 2))]
    if chunks:
        parts += [Text(), _heading("stream"), Padding(render_chunks(chunks, data=flows), (0, 0, 0, 2))]
    return Group(*parts)


def render_chunks(chunks: list[View], *, data: bool) -> RenderableType:
    """The parts of a command's streams, each at its time. What went to the client shows its data only with `data`:
    else it is the outcome's sample."""
    parts: list[RenderableType] = []
    room = _SHOWN_TEXT
    for chunk in chunks[:_SHOWN_CHUNKS]:
        up = chunk["direction"] == "to_upstream"
        line = Text(f"{clean(chunk['at'])[11:23]} {'→' if up else '←'} ", style="dim")
        counts = f"{chunk['size']} bytes" + (f", {chunk['rows']} rows" if chunk["rows"] else "")
        line.append(" ".join(part for part in (clean(chunk["channel"]), counts, clean(chunk["note"])) if part))
        parts.append(line)
        own = data or up or chunk["note"] == "notification" or chunk["channel"] in ("resize", "signal")
        if own and chunk["data"] is not None and room > 0:
            text = chunk["data"] if isinstance(chunk["data"], str) else None
            room -= len(text) if text is not None else 200
            shown = render_sample(chunk["data"] if text is None else text[: max(room, 200)])
            parts.append(Padding(shown, (0, 0, 0, 2)))
    if len(chunks) > _SHOWN_CHUNKS:
        parts.append(Text(f"… {len(chunks) - _SHOWN_CHUNKS} parts more (replay shows all)", style="dim"))
    return Group(*parts)


def render_command(view: View) -> RenderableType:
    text = _bounded(view["text"])
    if view["kind"] == "sql":
        pretty = pretty_sql(text)
        shown = Syntax(pretty, "postgresql", theme="ansi_dark", background_color="default", word_wrap=True)
        values = (view.get("detail") or {}).get("parameters")
        if not isinstance(values, list) or not values:
            return shown
        facts = [
            (f"${i}", Text("NULL", style="dim") if value is None else _inline(value))
            for i, value in enumerate(values, 1)
        ]
        return Group(shown, fact_table(facts))
    if view["kind"] == "kubernetes":
        return render_request(view)
    return Text(text or "–")


def pretty_sql(text: str) -> str:
    """Indented for people; as it is where one line is enough, or where sqlglot would make another statement of it."""
    if len(text) <= 76 or len(text) > 5000 or "\n" in text or "--" in text or "/*" in text or _nests(text):
        return text
    import logging

    import sqlglot

    from onrecord.policies.sql.same import same_sql

    logging.getLogger("sqlglot").disabled = True
    try:
        parsed = sqlglot.parse(text, read="postgres")
        pretty = ";\n".join(statement.sql(dialect="postgres", pretty=True) for statement in parsed if statement)
        if not same_sql(text, pretty):
            return text
    except Exception:  # noqa: BLE001  # for display only: any trouble means the text as it is
        return text
    return clean(pretty, lines=True) or text


def _nests(text: str) -> bool:
    """Whether brackets and CASE stand so deep in each other that sqlglot, which tries all readings, takes too long."""
    depth = 0
    for word in re.findall(r"[\[({]|[\])}]|\bcase\b|\bend\b", text, re.IGNORECASE):
        depth += 1 if word in "[({" or word.lower() == "case" else -1
        if depth > _DEEPEST:
            return True
    return False


def render_verdict(verdict: View) -> RenderableType:
    name = str(verdict.get("type", "unreadable"))
    line = Text(clean(name), style=VERDICTS.get(name, "dim"))
    if verdict.get("applied", True) is False:
        line.append("  observed only, not applied", style="yellow")
    rows: list[tuple[str, RenderableType]] = [("", line)]
    rows += [
        (key, Text(clean(verdict[key], lines=True)))
        for key in ("policy", "reason", "hint", "approvers")
        if verdict.get(key)
    ]
    if verdict.get("policies"):
        rows.append(("policies", Text(clean(verdict["policies"][:23]) + "…", style="dim")))
    return fact_table(rows)


def render_outcome(outcome: View | None) -> RenderableType:
    if outcome is None:
        return Text("not ended yet", style="dim")
    status = str(outcome["status"])
    line = Text(clean(status), style=STATUS.get(status, "dim"))
    if outcome["code"]:
        line.append(f"  {clean(outcome['code'])}")
    line.append(f"  {outcome['rows']} rows, {outcome['bytes']} bytes, {outcome['duration_ms']} ms", style="dim")
    rows: list[tuple[str, RenderableType]] = [("", line)]
    if outcome["error"]:
        rows.append(("error", Text(clean(outcome["error"], lines=True), style="red")))
    if outcome["masked"]:
        masked = ", ".join(f"{clean(name)} × {count}" for name, count in outcome["masked"].items())
        rows.append(("masked", Text(masked, style="black on yellow")))
    parts: list[RenderableType] = [fact_table(rows)]
    if outcome["sample"] is not None:
        parts += [Text(), render_sample(outcome["sample"])]
    return Group(*parts)


def render_sample(sample: Any) -> RenderableType:
    """A recorded result: rows as a table, text as text, anything else as JSON."""
    if isinstance(sample, dict) and isinstance(sample.get("rows"), list):
        return Rows(sample.get("columns"), sample["rows"], sample.get("masked"))
    if isinstance(sample, list) and sample and all(isinstance(row, list) for row in sample):
        return Rows(None, sample)
    if isinstance(sample, str):
        return redacted(_bounded(sample))
    if isinstance(sample, dict) and isinstance(sample.get("body"), str):
        head = {name: value for name, value in sample.items() if name != "body" and value not in (None, "", [], {})}
        facts = [(name, _inline(value)) for name, value in head.items()]
        return Group(fact_table(facts), redacted(_bounded(sample["body"])))
    return redacted(_bounded(json.dumps(sample, indent=2, ensure_ascii=False)))


def _bounded(text: str) -> str:
    """The beginning of a text, neutral, and how much more there is."""
    more = f"\n… {len(text) - _SHOWN_TEXT} characters more (--json has all)" if len(text) > _SHOWN_TEXT else ""
    return clean(text[:_SHOWN_TEXT], lines=True) + more


def _inline(value: Any) -> Text:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return redacted(_bounded(", ".join(item.replace("\n", "\\n") for item in value)))
    if isinstance(value, list) and all(isinstance(item, list) and len(item) == 2 for item in value):
        return redacted(_bounded("\n".join(f"{clean(name)}: {clean(str(item)[:_SHOWN_TEXT])}" for name, item in value)))
    if isinstance(value, str):
        return redacted(_bounded(value))
    return redacted(_bounded(json.dumps(value, ensure_ascii=False)))


def _identity(identity: View) -> Text:
    line = Text(clean(identity.get("subject") or "–"), style="bold")
    if identity.get("on_behalf_of"):
        line.append(f" for {clean(identity['on_behalf_of'])}", style="none")
    if identity.get("groups"):
        line.append(f"  [{clean(', '.join(map(str, identity['groups'])))}]", style="dim")
    if identity.get("issuer"):
        line.append(f"  {clean(identity['issuer'])}", style="dim")
    return line


def fact_table(rows: Sequence[tuple[str, RenderableType]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(clean(name)), value)
    return table


def _heading(text: str) -> Text:
    return Text(clean(text), style="bold")
