"""What keys of the timeline open: why, copy, saved filters, and more to come beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.console.copying import copy, formats
from onrecord.recordings.console.screens.dialogs import AskDialog, ChoiceDialog, Option, TextDialog
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.display.records import fact_table, render_verdict

if TYPE_CHECKING:
    from onrecord.recordings.console.screens.timeline import TimelineScreen
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
