"""What an approver must see, drawn: the agent's words between bars, with everything marked that could deceive."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from onrecord.recordings.admin.marks import oddities, pieces
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.display.records import fact_table

View = dict[str, Any]
_ODD = "black on yellow"


def span(seconds: float) -> str:
    """Minutes and seconds that are left."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d}"


def fenced(text: str, title: str) -> RenderableType:
    """`text` as it is, in a frame; above it how many oddities are in it."""
    shown = Text()
    for piece in pieces(text):
        shown.append(clean(piece.text, lines=True), style=_ODD if piece.odd else "")
        if piece.note:
            shown.append(f"[{clean(piece.note)}]", style=_ODD)
    odd = oddities(text)
    warning = f"  look out: {', '.join(f'{count} {name}' for name, count in odd.items())}" if odd else ""
    return Panel(shown, title=Text(title + warning), title_align="left")


def approval(view: View) -> RenderableType:
    """One approval, from the admin API or from the record, with all that whoever decides must see."""
    identity = view.get("identity") or {}
    behalf = f" for {identity['on_behalf_of']}" if identity.get("on_behalf_of") else ""
    facts: list[tuple[str, object]] = [
        ("approval", view.get("id")),
        ("state", view.get("state")),
        ("who", f"{identity.get('subject') or '–'}{behalf}"),
        ("groups", ", ".join(map(str, identity.get("groups") or ()))),
        ("run", view.get("run")),
        ("where", f"{view.get('resource') or '–'} ({view.get('protocol') or '–'}) {view.get('client') or ''}"),
        ("held by", f"{view.get('policy') or '–'}: {view.get('why') if 'steps' in view else view.get('reason') or ''}"),
        ("approvers", " and ".join(map(str, view.get("approvers") or ()))),
        ("still missing", ", ".join(map(str, view.get("missing") or ()))),
        ("people", view.get("minimum") if (view.get("minimum") or 1) > 1 else None),
        ("decided by", view.get("decided_by")),
        ("rows at most", view.get("max_rows")),
        ("may run again", f"for {span(view['reuse'])} in this run" if view.get("reuse") else None),
        ("not bound", "; ".join(map(str, view.get("unbound") or ()))),
    ]
    detail = {
        name: value for name, value in (view.get("detail") or {}).items() if value not in (None, [], "", {}, False)
    }
    if detail:
        facts.append(("detail", json.dumps(detail, ensure_ascii=False)))
    parts: list[RenderableType] = [
        fact_table([(name, Text(clean(value))) for name, value in facts if value not in (None, "")]),
        fenced(str(view.get("text") or ""), "the command, as the agent wrote it"),
    ]
    if view.get("cause"):
        parts.append(fenced(str(view["cause"]), "why, as the agent says"))
    if "preview" in view:
        parts.append(Panel(Text(clean(_preview(view["preview"]), lines=True)), title="preview", title_align="left"))
    for step in view.get("steps") or ():
        by = step["by"].get("subject", "") if isinstance(step.get("by"), dict) else ""
        line = f"{step['at'][:19]} {step['event']}" + (f" by {by}" if by else "")
        parts.append(Text(clean(line + (f": {step['reason']}" if step.get("reason") else "")), style="dim"))
    parts.append(Text("— end —", style="dim"))
    return Group(*parts)


def _preview(preview: View | None) -> str:
    if not isinstance(preview, dict):
        return "no preview yet"
    lines = []
    if preview.get("matched") is not None:
        lines.append(f"rows that match now: {preview['matched']}")
    if preview.get("rows") is not None:
        lines.append(f"rows as the planner estimates: {preview['rows']}")
    if preview.get("reason"):
        lines.append(("no preview: " if preview.get("kind") == "none" else "") + str(preview["reason"]))
    if preview.get("text"):
        lines.append(str(preview["text"]))
    return "\n".join(lines) or "no preview"
