"""How approvals and kill switches look on a terminal. Everything that an agent wrote is made harmless and fenced."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from onrecord.recordings.console.fenced import fenced
from onrecord.scripts.screen import console
from onrecord.scripts.terminal import clean

View = dict[str, Any]
_STYLES = {"pending": "yellow", "granted": "green", "used": "green", "refused": "red", "revoked": "red"}


def print_approvals(views: list[View]) -> None:
    """The table of `approvals`."""
    if not views:
        console().print(Text("nothing waits and nothing was asked", style="dim"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("…id", width=12, no_wrap=True)
    table.add_column("asked UTC", width=14, no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("who", no_wrap=True, max_width=20, overflow="ellipsis")
    table.add_column("on", no_wrap=True, max_width=12, overflow="ellipsis")
    table.add_column("what", overflow="ellipsis", no_wrap=True, ratio=1)
    for view in views:
        state = view["state"]
        left = f" {_span(view['expires_in'])}" if state in ("pending", "granted") else ""
        table.add_row(
            Text(view["id"][-12:], style="cyan"),
            Text(view["requested_at"][5:19].replace("T", " "), style="dim"),
            Text(state + left, style=_STYLES.get(state, "dim")),
            Text(_who(view)),
            Text(clean(view["resource"])),
            Text(clean(view["text"])[:400]),
        )
    console().print(table)


def print_approval(view: View) -> None:
    """One approval, with all that whoever decides must see."""
    rows = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")

    def row(name: str, value: object, style: str = "") -> None:
        if value not in (None, "", [], {}):
            rows.add_row(name, Text(clean(value), style=style))

    state = view["state"]
    row("approval", view["id"], "cyan")
    left = f", expires in {_span(view['expires_in'])}" if state in ("pending", "granted") else ""
    row("state", f"{state}{left}", _STYLES.get(state, ""))
    row("decided", f"{view['decided_by']} at {view['at']}" if view["decided_by"] else None)
    row("why", view["why"])
    row("who", _who(view))
    row("groups", ", ".join(view["identity"]["groups"]))
    row("run", view["run"])
    row("where", f"{view['resource']} ({view['protocol']}) from {view['client']}")
    row("held by", f"{view['policy']}: {view['reason']}")
    row("needs", _needs(view))
    row("action", view["action"])
    row("detail", json.dumps({name: value for name, value in view["detail"].items() if value not in (None, [], "")}))
    row("rows at most", view["max_rows"])
    row("may run again", f"for {_span(view['reuse'])} in this run" if view["reuse"] else None)
    row("not bound", "; ".join(view["unbound"]))
    if not view.get("whole", True):
        row("not shown", "parameters, bodies and the preview: they are for those who decide it, and for auditors")
    parts: list[Any] = [rows, fenced(view["text"], "the command, as the agent wrote it")]
    if view["cause"]:
        parts.append(fenced(view["cause"], "why, as the agent says"))
    parts.append(_preview(view["preview"]))
    console().print(Group(*parts))


def print_recorded(views: list[View]) -> None:
    """`approvals --recorded`: each approval and its steps."""
    if not views:
        console().print(Text("no approvals are on record", style="dim"))
    for view in views:
        head = Text(f"{view['id']} ", style="cyan")
        head.append(f"{view['state']} ", style=_STYLES.get(view["state"], "dim"))
        head.append(f"{_who(view) if view['identity'] else '–'} on {clean(view['resource'] or '–')}: ")
        head.append(clean(view["text"])[:400])
        console().print(head)
        for step in view["steps"]:
            by = step["by"]["subject"] if isinstance(step.get("by"), dict) else ""
            line = f"  {step['at'][:19]} {step['event']}" + (f" by {by}" if by else "")
            console().print(Text(clean(line + (f": {step['reason']}" if step.get("reason") else "")), style="dim"))


def print_kills(views: list[View]) -> None:
    """The table of `kills`."""
    if not views:
        console().print(Text("nothing is stopped", style="dim"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for name in ("id", "since UTC", "what", "by", "why"):
        table.add_column(name, overflow="fold")
    for view in views:
        by = view["by"]["subject"] if view["by"] else "–"
        what = f"{view['target']} {view['value']}"
        table.add_row(*(clean(text) for text in (view["id"], view["at"][:19], what, by, view["reason"])))
    console().print(table)


def _preview(preview: View | None) -> Panel:
    if preview is None:
        return Panel(Text("no preview yet", style="dim"), title="preview")
    lines = []
    if preview["matched"] is not None:
        lines.append(f"rows that match now: {preview['matched']}")
    if preview["rows"] is not None:
        lines.append(f"rows as the planner estimates: {preview['rows']}")
    if preview["reason"]:
        lines.append(("no preview: " if preview["kind"] == "none" else "") + preview["reason"])
    if preview["text"]:
        lines.append(preview["text"])
    return Panel(Text(clean("\n".join(lines), lines=True)), title="preview: what it would do")


def _needs(view: View) -> str:
    groups = " and ".join(view["approvers"]) or "the configured approvers"
    agreed = ", ".join(vote["by"]["subject"] for vote in view["agreed"])
    people = f", {view['minimum']} people" if view["minimum"] > 1 else ""
    return f"{groups}{people}" + (f"; agreed: {agreed}" if agreed else "")


def _who(view: View) -> str:
    who = view["identity"]
    return clean(who["subject"] + (f" for {who['on_behalf_of']}" if who["on_behalf_of"] else ""))


def _span(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
