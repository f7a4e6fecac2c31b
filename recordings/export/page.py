"""A run, session or command as one HTML file that opens from disk: timeline, terminals, approvals, proofs. Pure.

Nothing is fetched: styles, script and player stand in the file, and its policy forbids everything else by hash. Nothing
recorded can become markup or script: every text is made harmless, then escaped; what the player reads is JSON in which
`<`, `>` and `&` are escapes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files
from typing import Any

import msgspec

from onrecord import __version__
from onrecord.recordings.casts import asciicast_v2, has_channels
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.display.tables import MASK_FORMS, MASK_SIGN
from onrecord.recordings.export.material import Subject
from onrecord.recordings.views import View, join_chunks
from onrecord.recordings.words import mark_of

SHOWN_TEXT = 100_000
SHOWN_CELL = 2000
SHOWN_ROWS = 500
SHOWN_COLUMNS = 100
_MASKS = re.compile(MASK_FORMS)
_PLAYER = ("vendor/asciinema-player.min.js", "vendor/asciinema-player.css")


class Proof(msgspec.Struct, frozen=True):
    """What shows that a record is in the signed tree; `leaf` is None where the bytes were too many to enclose."""

    seq: int
    hashed: bytes
    path: tuple[bytes, ...]
    leaf: bytes | None


class Proofs(msgspec.Struct, frozen=True):
    """The proofs of an export: `note` is the signed checkpoint. `problem` says why there are none, or not all."""

    note: str = ""
    vkey: str = ""
    records: tuple[Proof, ...] = ()
    problem: str = ""


def write(subject: Subject, commands: Iterable[View], proofs: Proofs) -> Iterator[str]:
    """The file, piece by piece."""
    views = list(commands)
    plays = any(has_channels(view) for view in views)
    player, style = (_file(name) for name in _PLAYER) if plays else ("", "")
    styles, scripts = [_file("page.css"), *([style] if style else [])], [player, _file("page.js")] if plays else []
    yield _head(subject, styles, scripts)
    yield from _summary(subject, views)
    yield "<h2>Timeline</h2>\n"
    if not views:
        yield '<p class="dim">No command.</p>\n'
    for number, view in enumerate(views):
        yield from _command(number, view)
    yield from _approvals(views)
    yield from _proofs(proofs)
    for script in scripts:
        yield f"<script>{script}</script>\n"
    yield "</main></body></html>\n"


def text(value: object, limit: int = SHOWN_TEXT) -> str:
    """Recorded text as HTML text: harmless, escaped, with what was masked marked."""
    string = value if isinstance(value, str) else str(value)
    more = f"… {len(string) - limit} characters more" if len(string) > limit else ""
    shown = escape(clean(string[:limit], lines=True), quote=True)
    return _MASKS.sub(r"<mark>\g<0></mark>", shown) + more


def data_block(name: str, value: object) -> str:
    """A value for a script to read, in a block that no text inside can end."""
    encoded = json.dumps(value, ensure_ascii=True)
    for char in "<>&":
        encoded = encoded.replace(char, f"\\u{ord(char):04x}")
    return f'<script type="application/json" id="{name}">{encoded}</script>\n'


def _file(name: str) -> str:
    content = files("onrecord.recordings.export").joinpath(*name.split("/")).read_text(encoding="utf-8")
    if "</script" in content.lower() or "</style" in content.lower():
        raise ValueError(f"{name} cannot stand inside a page")
    return content


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _head(subject: Subject, styles: list[str], scripts: list[str]) -> str:
    scripting = " ".join([*map(_hash, scripts), "'wasm-unsafe-eval'"]) if scripts else "'none'"
    rules = [
        "default-src 'none'", f"script-src {scripting}", f"style-src {' '.join(map(_hash, styles))}",
        "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    if scripts:
        rules.insert(3, "style-src-attr 'unsafe-inline'")  # the player's own sizes; no text of a record is one
    title = f"onrecord: {subject.what} {subject.id}"
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape("; ".join(rules), quote=True)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n{''.join(f'<style>{style}</style>' for style in styles)}\n</head><body><main>\n"
        f"<h1>{text(title)}</h1>\n"
    )


def _summary(subject: Subject, views: list[View]) -> Iterator[str]:
    denied = sum((view["verdict"] or {}).get("type") != "allow" for view in views)
    facts = [("commands", str(len(views))), ("not allowed", str(denied)), ("made by", f"onrecord {__version__}")]
    yield _facts(facts)
    if subject.sessions:
        names = "".join(f"<th>{name}</th>" for name in ("id", "began", "ended", "who", "on", "from"))
        yield f"<h2>Sessions</h2>\n<table><tr>{names}</tr>\n"
        for view in subject.sessions:
            ended = f"{view['ended']} {view['reason'] or ''}" if view["ended"] else "open"
            place = f"{view['resource']} ({view['protocol']})"
            cells = (view["id"], view["at"], ended, _who(view), place, view["client"])
            yield f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in cells)}</tr>\n"
        yield "</table>\n"


def _who(view: View) -> str:
    identity = view.get("identity") or {}
    behalf = f" for {identity['on_behalf_of']}" if identity.get("on_behalf_of") else ""
    return f"{identity.get('subject') or '–'}{behalf}"


def _command(number: int, view: View) -> Iterator[str]:
    verdict, outcome = view["verdict"] or {}, view["outcome"]
    kind = verdict.get("type", "unreadable")
    applied, approval = verdict.get("applied", True) is not False, str(verdict.get("approval") or "")
    mark = mark_of(kind, applied=applied, approval=approval, status=str((outcome or {}).get("status", "")))
    style = mark if mark in ("ok", "granted", "error", "deny", "hold", "refused", "allow") else "dim"
    line = " ".join(str(view["text"]).split())[:300] or verdict.get("reason") or "–"
    terminal = has_channels(view)
    yield (
        f'<details{" open" if terminal else ""}><summary class="line"><span class="dim">{text(view["at"][:23])}</span> '
        f'{text(_who(view))} <span class="dim">{text(view["resource"] or "–")} {text(view["kind"])}</span> '
        f'<span class="{style}">{text(mark)}</span> {text(line)}</summary><div class="body">\n'
    )
    if view["text"]:
        yield f"<pre>{text(view['text'])}</pre>\n"
    yield _facts([("record", view["id"]), ("session", view["session"]), ("action", view["action"])])
    detail = view.get("detail") or {}
    yield _facts(
        [
            (name, value if isinstance(value, str) else _json(value))
            for name, value in detail.items()
            if value not in (None, "", [], {}, False)
        ]
    )
    yield _facts(
        [("verdict", kind + ("" if verdict.get("applied", True) else " (observed only)"))]
        + [(name, verdict.get(name)) for name in ("policy", "reason", "hint", "approvers", "policies")]
        + ([("cause", view["cause"])] if view.get("cause") else [])
    )
    if terminal:
        name = f"cast-{number}"
        yield f'<div data-cast="{name}"></div>\n' + data_block(name, "".join(asciicast_v2(view)))
    if outcome is None:
        yield '<p class="dim">not ended yet</p>\n'
    else:
        counts = f"{outcome['rows']} rows, {outcome['bytes']} bytes, {outcome['duration_ms']} ms"
        yield _facts(
            [("outcome", f"{outcome['status']} {outcome['code']}".strip()), ("", counts), ("error", outcome["error"])]
            + ([("masked", _json(outcome["masked"]))] if outcome["masked"] else [])
        )
        sample = outcome["sample"]
        if not terminal:
            sample = join_chunks(sample, view.get("chunks") or [])
        if sample is not None:
            yield _sample(sample)
    yield "</div></details>\n"


def _facts(rows: Iterable[tuple[str, object]]) -> str:
    shown = [(name, value) for name, value in rows if value not in (None, "")]
    if not shown:
        return ""
    lines = "".join(f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in shown)
    return f"<table>{lines}</table>\n"


def _sample(sample: Any) -> str:
    rows = sample if isinstance(sample, list) else sample.get("rows") if isinstance(sample, dict) else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        return f"<pre>{text(sample if isinstance(sample, str) else _json(sample, indent=1))}</pre>\n"
    names = sample.get("columns") if isinstance(sample, dict) else None
    found = sample.get("masked") if isinstance(sample, dict) else None
    masked = {number for number in found if isinstance(number, int)} if isinstance(found, list) else set()
    head = "".join(
        f"<th>{text(name)}{MASK_SIGN if number in masked else ''}</th>"
        for number, name in enumerate((names if isinstance(names, list) else [])[:SHOWN_COLUMNS])
    )
    parts = [f'<table class="result"><tr>{head}</tr>\n']
    for row in rows[:SHOWN_ROWS]:
        cells = (_cell(cell, masked=number in masked) for number, cell in enumerate(row[:SHOWN_COLUMNS]))
        parts.append(f"<tr>{''.join(cells)}</tr>\n")
    parts.append("</table>\n")
    if len(rows) > SHOWN_ROWS:
        parts.append(f'<p class="dim">… {len(rows) - SHOWN_ROWS} rows more (export as jsonl has them)</p>\n')
    return "".join(parts)


def _cell(cell: object, *, masked: bool) -> str:
    shown = "NULL" if cell is None else text(cell if isinstance(cell, str) else _json(cell), SHOWN_CELL)
    style = ' class="dim"' if cell is None else ""
    if masked:
        shown = f"<mark>{shown.replace('<mark>', '').replace('</mark>', '')}</mark>"
    return f"<td{style}>{shown}</td>"


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def _approvals(views: list[View]) -> Iterator[str]:
    held = [view for view in views if view.get("approval") or (view["verdict"] or {}).get("type") == "hold"]
    yield "<h2>Approvals</h2>\n"
    if not held:
        yield '<p class="dim">No command waited for one.</p>\n'
    for view in held:
        approval = view.get("approval")
        yield _facts(
            [("record", view["id"]), ("command", " ".join(str(view["text"]).split())[:300])]
            + ([(str(name), _plain(value)) for name, value in approval.items()] if isinstance(approval, dict) else [])
        )


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float) else _json(value)


_HOW = """
Each record's bytes (leaf, base64) are in this file, in the block "proofs", with an RFC 6962 inclusion proof for the
tree that the checkpoint above signs. To check one without onrecord:

1. The checkpoint is a C2SP signed note (https://c2sp.org/tlog-checkpoint): check its Ed25519 signature with the public
   key that you got from the log's operator, not with the one shown here. Go: golang.org/x/mod/sumdb/note.
2. hash = SHA-256(0x00 || leaf). Follow the path (RFC 9162, 2.1.3.2) from the record's number and the checkpoint's size:
   SHA-256(0x01 || left || right) at each step. The result must be the checkpoint's root (its third line).
3. The leaf is a header of 62 bytes (version, kind, key id, record, session and command ids, time in nanoseconds), then
   JSON: what is shown above is made from it.
"""


def _proofs(proofs: Proofs) -> Iterator[str]:
    yield "<h2>Proofs</h2>\n"
    if proofs.problem:
        yield f'<p class="bad">{text(proofs.problem)}</p>\n'
    if not proofs.records:
        return
    yield f"<pre>{text(proofs.note)}</pre>\n<pre>{text(proofs.vkey)}</pre>\n<pre>{text(_HOW.strip())}</pre>\n"
    yield "<details><summary>Records and their paths</summary><table><tr><th>number</th><th>leaf hash</th></tr>\n"
    for proof in proofs.records:
        yield f"<tr><td>{proof.seq}</td><td>{proof.hashed.hex()}</td></tr>\n"
    yield "</table></details>\n"
    encoded = base64.b64encode
    yield data_block(
        "proofs",
        {
            "checkpoint": proofs.note,
            "vkey": proofs.vkey,
            "records": [
                {
                    "number": proof.seq,
                    "leaf": None if proof.leaf is None else encoded(proof.leaf).decode(),
                    "leaf_hash": encoded(proof.hashed).decode(),
                    "path": [encoded(step).decode() for step in proof.path],
                }
                for proof in proofs.records
            ],
        },
    )
