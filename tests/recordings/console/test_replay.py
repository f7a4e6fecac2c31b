"""Replay inside the console: a terminal as it looked, anything else line by line, searched and stepped through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from textual.app import ComposeResult

from onrecord.recordings.console.score import FilmScore
from onrecord.recordings.console.screens.replay import ReplayScreen
from onrecord.recordings.console.screens.timeline import TimelineScreen
from onrecord.recordings.console.widgets.detail import Detail
from onrecord.recordings.console.widgets.terminal import Terminal
from onrecord.recordings.records import ChunkRecord
from onrecord.recordings.terminal.film import Film
from tests.recordings.console.story import Story, check_snapshot, console, screen_text, settle, shop_story


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    made = shop_story(tmp_path_factory.mktemp("replay"))
    made.store()
    yield made
    made.close()


async def replay(pilot) -> ReplayScreen:
    await settle(pilot)
    await pilot.press("p")
    for _ in range(200):
        await pilot.pause(0.05)
        if isinstance(pilot.app.screen, ReplayScreen):
            await pilot.pause(0.2)
            return pilot.app.screen
    raise AssertionError(screen_text(pilot.app))


async def test_a_shell_is_shown_as_it_looked(story):
    app = console(story, filter="kind:ssh")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await replay(pilot)
        terminal = screen.query_one(Terminal)
        await pilot.press("comma", "home")
        await pilot.press("full_stop", "full_stop")
        await pilot.pause(0.1)
        assert terminal.text.strip() == "deploy@app1$"
        await pilot.press("end")
        await pilot.pause(0.1)
        assert "bin  etc" in terminal.text
        check_snapshot("replay-shell-80x24", screen_text(app))
        await pilot.press("comma", "comma", "comma")
        await pilot.pause(0.1)
        assert "bin" not in terminal.text
        await pilot.press("escape")
        await settle(pilot)
        assert not isinstance(app.screen, ReplayScreen)


async def test_a_session_is_played_event_by_event(story):
    app = console(story, filter="text~customers")
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await replay(pilot)
        lines = screen.query_one(Detail)
        await pilot.press("comma", "home")
        await pilot.press("full_stop")
        await pilot.pause(0.1)
        assert "devin on orders (postgres)" in lines.text
        assert "SELECT" not in lines.text
        await pilot.press("end")
        await pilot.pause(0.1)
        for part in ("SELECT id, email", "a***@e***.com", "unfiltered DELETE on orders", "division by zero", "allow"):
            assert part in lines.text


async def test_a_search_inside_goes_to_the_moment(story):
    for filter, word, expected in (("kind:ssh", "ETC", 4), ("text~customers", "division", 7)):
        app = console(story, filter=filter)
        async with app.run_test(size=(100, 30)) as pilot:
            screen = await replay(pilot)
            await pilot.press("comma", "home", "slash")
            await pilot.pause(0.2)
            await pilot.press(*word, "enter")
            await pilot.pause(0.3)
            assert screen.player.index == expected, screen_text(app)
            assert not screen.player.playing


async def test_hostile_terminals_stay_in_their_pane(tmp_path):
    story = Story(tmp_path)
    session = story.session(protocol="ssh")
    hostile = (
        "\x1b]0;owned\x07\x1b[?1049h\x1b[999;999H\x1b[6n\x1b]52;c;b3duZWQ=\x07\u202eabc\x1bP+q\x1b\\\x9b31mz"
        + "\u0301" * 50
    )
    story.command(
        session, "shell", kind="ssh",
        chunks=(
            ChunkRecord(direction="to_upstream", size=0, data={"columns": 500, "rows": 500}, channel="resize"),
            ChunkRecord(direction="to_client", size=99, data=hostile, channel="terminal"),
            ChunkRecord(direction="to_upstream", size=0, data={"columns": -1, "rows": 10**9}, channel="resize"),
            ChunkRecord(direction="to_client", size=9, data={"base64": "!!"}, channel="terminal"),
        ),
    )  # fmt: skip
    story.store()
    app = console(story)
    async with app.run_test(size=(80, 24)) as pilot:
        await replay(pilot)
        await pilot.press("end")
        await pilot.pause(0.2)
        text = screen_text(app)
        assert not set("\x1b\x07\x9b\u202e") & set(text)
        assert "500×500, the window is smaller" in text
    story.close()


async def test_a_replay_that_is_closed_before_it_stands_ends_nothing(story):
    """On a busy machine a key can close a screen before what is in it was mounted."""

    class Bare(ReplayScreen):
        def compose(self) -> ComposeResult:
            return iter(())

    app = console(story, filter="kind:sql")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await replay(pilot)
        await pilot.press("escape")
        for score in (screen.score, FilmScore(Film(()))):
            bare = Bare("closed", score)
            app.push_screen(bare)
            await pilot.pause(0.3)
            for key in ("space", "end", "home", "full_stop", "comma", "escape"):
                await pilot.press(key)
            await pilot.pause(0.1)
        await settle(pilot)
        assert isinstance(app.screen, TimelineScreen)
