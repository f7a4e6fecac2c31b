"""What keys of the timeline open: why, copy, saved filters, and more to come beside them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import Group, RenderableType
from rich.text import Text

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.console.copying import copy, formats
from onrecord.recordings.console.rows import one_line
from onrecord.recordings.console.score import EventScore, FilmScore
from onrecord.recordings.console.screens.approvals import ApprovalsScreen
from onrecord.recordings.console.screens.dialogs import AskDialog, ChoiceDialog, Option, TextDialog
from onrecord.recordings.console.screens.replay import ReplayScreen
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.display.records import fact_table, render_verdict
from onrecord.recordings.export.material import Archive
from onrecord.recordings.export.writing import FORMATS, Format, render, write_file
from onrecord.recordings.replay import events
from onrecord.recordings.terminal.film import Film
from onrecord.recordings.terminal.pieces import has_channels, pieces

PLAYED = 256 * 1024 * 1024  # bytes of a session that are held in memory to be played

if TYPE_CHECKING:
    from onrecord.recordings.console.screens.timeline import TimelineScreen
    from onrecord.recordings.console.source import Source
    from onrecord.recordings.views import View


async def current_view(screen: TimelineScreen) -> View | None:
    """The record under the cursor with all that belongs to it."""
    row = screen.current
    if row is None:
        screen.say("no record is chosen")
        return None
    view, _ = await screen.desk.near.call(lambda source: source.whole_bounded(row.key.seq))
    return view


async def why(screen: TimelineScreen) -> None:
    """The policy that decided, its rule and hint, the digest of the policy set, and what the badge rests on."""
    view = await current_view(screen)
    row = screen.current
    if view is None or row is None:
        return
    verdict = view["verdict"] or {}
    badge = screen.timeline.badge(row)
    parts: list[RenderableType] = [
        render_verdict(verdict),
        Text(),
        fact_table(
            [
                ("policy set", Text(clean(verdict.get("policies") or "–"))),
                ("record", Text(clean(view["id"]))),
                ("badge", Text(f"{badge.sign} {badge.meaning}")),
                ("numbers", Text(", ".join(str(proof.seq) for proof in row.proofs))),
            ]
        ),
    ]
    await screen.app.push_screen_wait(TextDialog("Why it was decided so", Group(*parts)))


async def copy_as(screen: TimelineScreen) -> None:
    """Ask in which form, then put it into the clipboard and show it."""
    view = await current_view(screen)
    if view is None:
        return
    names = formats(view)
    hints = {"text": "the command as it is shown", "id": "for onrecord show, replay and export"}
    options = [
        Option(name, name, hints.get(name, "to run it again, by the gateway and its policies")) for name in names
    ]
    name = await screen.app.push_screen_wait(ChoiceDialog("Copy as", options))
    if name is None:
        return
    try:
        text = copy(view, name)
    except OnrecordError as error:
        screen.say(str(error), bad=True)
        return
    screen.app.copy_to_clipboard(text)
    await screen.app.push_screen_wait(TextDialog(f"Copied as {name}", Text(clean(text, lines=True))))


async def play(screen: TimelineScreen) -> None:
    """The command's terminal, where it ran on one; else the whole session that it belongs to."""
    row = screen.current
    if row is None or (row.kind in ("refusal", "unreadable") and not row.session):
        screen.say("there is nothing to play: this belongs to no session")
        return

    def load(source: Source) -> FilmScore | EventScore:
        size = source.weight(row)
        if size > PLAYED:
            raise OnrecordError(f"{size >> 20} MiB are too much to play here: onrecord replay {row.id}")
        view = source.show(row.id)
        if has_channels(view):
            return FilmScore(Film(pieces(view)))
        return EventScore(events(source, row.session or row.id))

    score = await screen.desk.draw.call(load)
    title = f"{row.who} on {row.place}  {row.line}"
    await screen.app.push_screen_wait(ReplayScreen(title, score))


async def export(screen: TimelineScreen) -> None:
    """Ask what and in which format, then where to, and write it."""
    row = screen.current
    if row is None:
        screen.say("no record is chosen")
        return
    subjects = [Option(row.id, "this command", row.line)]
    if row.session:
        subjects.append(Option(row.session, "its session", row.session))
    if row.run:
        subjects.append(Option(row.run, "its run", clean(row.run)))
    id = await screen.app.push_screen_wait(ChoiceDialog("Export", subjects))
    if id is None:
        return
    hints = {
        "jsonl": "one JSON object a command", "html": "one page that opens anywhere, with its proofs",
        "cast": "asciicast, of what ran on a terminal", "har": "HTTP Archive, of HTTP requests",
        "ocsf": "events for a SIEM",
    }  # fmt: skip
    format = await screen.app.push_screen_wait(
        ChoiceDialog("Format", [Option(name, name, hints[name]) for name in FORMATS])
    )
    if format is None:
        return
    name = await screen.app.push_screen_wait(AskDialog("Write to the file", f"onrecord-{_plain(id)}.{format}"))
    if not name:
        return
    path, store, state = _file(name), screen.desk.path, screen.console_app.state

    def write() -> None:
        with Archive(store) as archive:
            write_file(path, render(archive, archive.subject(id), cast("Format", format), store, state), force=False)

    screen.say("exporting …")
    await asyncio.to_thread(write)
    screen.say(f"written: {path}")


async def kill(screen: TimelineScreen) -> None:
    """Stop the session, the run or the identity of the record under the cursor, through the admin API."""
    row = screen.current
    opener = screen.console_app.door
    if row is None or opener is None:
        screen.say("there is no configuration to reach the admin API by", bad=True)
        return
    view = await current_view(screen)
    subject = str(((view or {}).get("identity") or {}).get("subject") or "")
    options = [
        Option(f"{what} {value}", f"{what}", clean(value))
        for what, value in (("session", row.session), ("run", row.run), ("identity", subject))
        if value
    ]
    chosen = await screen.app.push_screen_wait(ChoiceDialog("Stop at once, and refuse what comes after", options))
    if chosen is None:
        return
    target, _, value = chosen.partition(" ")
    reason = await screen.app.push_screen_wait(AskDialog(f"Stop {target} {one_line(value)[:50]} — why? (Enter stops)"))
    if reason is None:
        return

    def stop() -> View:
        with opener() as door:
            return door.kill(target, value, reason)

    done = await asyncio.to_thread(stop)
    screen.say(f"stopped: {target} {value} ({done.get('id')})")


async def approvals(screen: TimelineScreen) -> None:
    """What waits for a human."""
    await screen.app.push_screen_wait(ApprovalsScreen(screen.desk))


async def saved_filters(screen: TimelineScreen) -> None:
    """Choose one of the saved filters."""
    filters = screen.console_app.settings.filters
    if not filters:
        screen.say("no filter is saved yet: F saves the one that holds")
        return
    options = [Option(text, clean(name), clean(text)) for name, text in sorted(filters.items())]
    text = await screen.app.push_screen_wait(ChoiceDialog("Saved filters", options))
    if text is not None:
        screen.set_filter(text)


async def save_filter(screen: TimelineScreen) -> None:
    """Give the filter that holds a name; an empty one removes the filter of that text."""
    app = screen.console_app
    known = next((name for name, text in app.settings.filters.items() if text == screen.text), "")
    name = await app.push_screen_wait(AskDialog("Name of this filter (empty removes it)", known))
    if name is None:
        return
    before = dict(app.settings.filters)
    if name.strip():
        app.settings.filters[name.strip()] = screen.text
    elif known:
        del app.settings.filters[known]
    try:
        app.keep()
    except OnrecordError as error:
        app.settings.filters = before
        screen.say(str(error), bad=True)
        return
    screen.say("saved" if name.strip() else "removed")


def _plain(id: str) -> str:
    """The end of an id (a run's is the agent's own text) as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", id[-12:])


def _file(name: str) -> Path:
    """Raises OnrecordError."""
    if "\0" in name:
        raise OnrecordError("a file's name holds no NUL")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise OnrecordError(f"{name}: there is no user of that name: write the folder out") from None
