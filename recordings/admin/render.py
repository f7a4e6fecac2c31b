"""Templates → HTML. Everything is escaped, and whatever agents or backends wrote is marked besides (marks.py)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import jinja2
from markupsafe import Markup, escape

from onrecord.recordings.admin.marks import oddities, pieces

MAX_SHOWN = 50_000
ODD_WORDS = {
    "hidden": "characters that show nothing",
    "turned": "characters that turn text around",
    "lookalike": "letters that look like others",
    "blank": "unusual blanks",
    "gap": "long runs of blanks",
    "stacked": "floods of marks over letters",
}


def marked(text: object, *, lines: bool = True) -> Markup:
    """A text of others: escaped, and with what could deceive marked."""
    parts = []
    for piece in pieces(text if isinstance(text, str) else str(text), lines=lines):
        if piece.odd:
            parts.append(
                Markup('<mark class="odd odd-{}" title="{}">{}</mark>').format(piece.odd, piece.note, piece.text)
            )
        else:
            parts.append(escape(piece.text))
    return Markup().join(parts)


def named(text: object) -> Markup:
    """A name or another short text of others, on one line."""
    return marked("–" if text is None or text == "" else text, lines=False)


def as_json(value: object) -> str:
    """Any recorded value as indented JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def bounded(text: str) -> str:
    """The beginning of a recorded text: marking takes a microsecond a character, and a body may have megabytes."""
    if len(text) <= MAX_SHOWN:
        return text
    return f"{text[:MAX_SHOWN]}\n⟨{len(text) - MAX_SHOWN} characters more: onrecord show ID --json⟩"


def warnings(text: object) -> list[str]:
    """What is odd about a text, in words."""
    found = oddities(text if isinstance(text, str) else str(text))
    return [f"{count} × {ODD_WORDS[kind]}" for kind, count in found.items()]


def moment(at: object) -> Markup:
    """A time: Unix seconds, or ISO 8601 text of our own records."""
    if isinstance(at, int | float):
        found = datetime.fromtimestamp(float(at), UTC)
    else:
        try:
            found = datetime.fromisoformat(str(at))
        except ValueError:
            return named(at)
    return Markup('<time datetime="{}">{}</time>').format(found.isoformat(), found.strftime("%Y-%m-%d %H:%M:%S UTC"))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onrecord.recordings.admin", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "marked": marked,
        "named": named,
        "as_json": as_json,
        "bounded": bounded,
        "moment": moment,
        "warnings": warnings,
    }
    return environment


_templates = _environment()


def render(template: str, **values: Any) -> str:
    """The page made of `template`."""
    return _templates.get_template(template).render(**values)
