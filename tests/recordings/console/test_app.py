"""The console driven by keys: what it shows, finds and refuses, as plain text of the screen."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from textual.widgets import Input

from onrecord.policies.model import Outcome
from onrecord.recordings.console.app import ConsoleApp
from onrecord.recordings.console.badges import Badge
from onrecord.recordings.console.screens.timeline import TimelineScreen
from tests.recordings.console.story import (
    EVIL,
    MALLORY,
    Story,
    check_snapshot,
    console,
    screen_text,
    settle,
    shop_story,
)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    made = shop_story(tmp_path_factory.mktemp("shop"))
    made.store()
    yield made
    made.close()


def main(app: ConsoleApp) -> TimelineScreen:
    screen = app.screen_stack[1]
    assert isinstance(screen, TimelineScreen)
    return screen


def line(app: ConsoleApp) -> str:
    """The command under the cursor."""
    row = main(app).current
    return row.line if row else ""


async def typed(pilot, text: str) -> None:
    await pilot.press("slash", *("space" if char == " " else char for char in text), "enter")
    await settle(pilot)


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (200, 60)])
async def test_the_timeline_merges_all_protocols(story, size):
    app = console(story)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("up", "up", "up")
        await settle(pilot)
        check_snapshot(f"timeline-{size[0]}x{size[1]}", screen_text(app))


async def test_a_filter_narrows_and_a_wrong_one_says_where(story):
    app = console(story)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await typed(pilot, "verdict:deny kind:sql")
        assert [row.line for row in main(app).timeline.rows] == ["DELETE FROM orders"]
        await typed(pilot, " kind:http")
        assert [row.line for row in main(app).timeline.rows] == ["DELETE FROM orders"]  # the one that holds
        assert "filter, character 23: kind stands here twice" in screen_text(app)
        await pilot.press("escape")
        await settle(pilot)
        assert "verdict:deny kind:sql kind:http" not in screen_text(app)
        assert "kind stands here twice" not in screen_text(app)
        assert main(app).text == "verdict:deny kind:sql"


async def test_a_wrong_filter_is_told_while_it_is_typed(story):
    app = console(story)
    async with app.run_test(size=(100, 24)) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"verdict:dany")
        await pilot.pause()
        assert "'dany' is no verdict: one of allow, deny, hold" in screen_text(app)
        assert len(main(app).timeline.rows) == 7


async def test_jumps_lead_from_trouble_to_trouble(story):
    app = console(story)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        found = []
        for _ in range(4):
            await pilot.press("N")
            await settle(pilot)
            found.append(line(app))
        assert found == ["CONNECT elsewhere.example:443", "SELECT 1/0", "DELETE FROM orders", "DELETE FROM orders"]
        await pilot.press("n")
        await settle(pilot)
        assert line(app) == "SELECT 1/0"


async def test_detail_is_pretty_raw_or_hex(story):
    app = console(story, filter="text~customers")
    async with app.run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        assert "a***@e***.com" in main(app).detail.text
        assert "public.customers.email × 1" in main(app).detail.text
        await pilot.press("v")
        await settle(pilot)
        assert '"parameters": [' in main(app).detail.text
        await pilot.press("v")
        await settle(pilot)
        assert "000040  " in main(app).detail.text
        assert main(app).detail.text.startswith("command, record number 1, ")


async def test_why_names_policy_rule_hint_and_digest(story):
    app = console(story, filter="verdict:deny kind:sql")
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("w")
        await pilot.pause(0.2)
        text = screen_text(app)
        for part in ("guard_orders", "unfiltered DELETE on orders", "add a WHERE", "sha256:" + "ab" * 32):
            assert part in text
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, TimelineScreen)


async def test_an_empty_store_says_so(tmp_path):
    story = Story(tmp_path)
    story.store()
    app = console(story)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "no records fit" in screen_text(app)
        for key in ("n", "N", "w", "y", "v", "s", "r", "down", "end", "home", "enter"):
            await pilot.press(key)
        await settle(pilot)
    story.close()


async def test_what_is_recorded_meanwhile_appears_and_a_pause_holds_it_back(tmp_path):
    story = Story(tmp_path)
    session = story.session()
    running = story.command(session, "SELECT 1", outcome=None)
    story.store()
    app = console(story)

    async def until(condition) -> None:
        for _ in range(400):
            if condition():
                return
            await pilot.pause(0.05)
        raise AssertionError(screen_text(app))

    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        timeline = main(app).timeline
        assert [row.mark for row in timeline.rows] == ["running"]
        story.finish(session, running, Outcome(status="error", error="no"))
        story.command(session, "SELECT 2")
        story.store()
        await until(lambda: [row.mark for row in timeline.rows] == ["error", "ok"])
        assert line(app) == "SELECT 2"  # it follows
        await pilot.press("l")
        story.command(session, "SELECT 3")
        story.store()
        await pilot.pause(0.7)
        assert len(timeline.rows) == 2
        assert "paused" in screen_text(app)
        await pilot.press("l")
        await until(lambda: len(timeline.rows) == 3)
        await pilot.press("up")
        story.command(session, "SELECT 4")
        story.store()
        await until(lambda: len(timeline.rows) == 4)
        assert line(app) == "SELECT 2"  # who reads is not moved
    story.close()


async def test_runs_open_into_their_sessions(story):
    app = console(story)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("r")
        await settle(pilot)
        assert "▸ restart-app" in screen_text(app)
        await pilot.press("enter")
        await settle(pilot)
        assert main(app).text == "run:restart-app"
        assert [row.kind for row in main(app).timeline.rows] == ["ssh"]
        await pilot.press("down", "enter")
        await settle(pilot)
        assert main(app).text.startswith("session:")


async def test_filters_are_kept_in_a_private_file(story, tmp_path):
    path = tmp_path / "config" / "onrecord" / "console.json"
    app = console(story, settings=path, filter="verdict:deny")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("F", *"mine", "enter")
        await pilot.pause(0.2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    again = console(story, settings=path)
    async with again.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("f")
        await pilot.pause(0.2)
        assert "mine" in screen_text(again)
        await pilot.press("enter")
        await settle(pilot)
        assert main(again).text == "verdict:deny"


async def test_a_command_is_copied_as_what_runs_it(story):
    app = console(story, filter="kind:http")
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("y")
        await pilot.pause(0.2)
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert app.clipboard.startswith("curl --globoff -X POST ")
        assert "sesame" not in app.clipboard


HOSTILE = set("\x1b\x07\x9b\u202e\u2066\x7f\u200b\r")


async def test_recorded_bytes_never_attack_the_console(tmp_path):
    story = Story(tmp_path)
    session = story.session(run="run" + EVIL, identity=MALLORY, on="res" + EVIL, protocol="p" + EVIL)
    rows: dict[str, object] = {"columns": [EVIL], "rows": [[EVIL], [None]]}
    story.command(
        session, "SELECT " + EVIL, kind="sql", action="read" + EVIL, verdict="deny", reason="because " + EVIL,
        hint=EVIL,
        detail={"tables_read": [EVIL], "parameters": [EVIL], EVIL: EVIL},
        outcome=Outcome(status="refused", code=EVIL, error=EVIL, sample=rows, masked={EVIL: 1}, tag=EVIL),
    )  # fmt: skip
    story.command(session, EVIL, kind="k" + EVIL, detail={"method": EVIL, "host": EVIL}, outcome=None)
    story.refusal(EVIL)
    story.store()
    app = console(story)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        shown, filters = [screen_text(app)], [""]
        for keys in (
            ["up"],
            ["up"],
            ["v"],
            ["v"],
            ["v"],
            ["w"],
            ["escape"],
            ["y"],
            ["escape"],
            ["e"],
            ["down", "down", "enter"],
            ["enter"],
            ["escape"],
            ["f"],
            ["p"],
            ["end"],
            ["escape"],
            ["a"],
            ["escape"],
            ["r"],
            ["r"],
            ["enter"],
            ["down"],
            ["enter"],
        ):
            await pilot.press(*keys)
            await pilot.pause(0.1)
            await settle(pilot)
            shown.append(screen_text(app))
            filters.append(main(app).text)
        assert any(text.startswith('run:"run\\u001b') for text in filters)
        assert filters[-1].startswith("session:")
        assert len(main(app).timeline.rows) == 2
        everything = "".join(shown)
        assert not HOSTILE & set(everything)
        assert "[bold red]markup[/]" in everything  # as text, not as markup
        assert "[@click=app.quit]" in everything
        drawn = app.screen._compositor.render_strips()
        assert not any("click" in str(segment.style.meta) for strip in drawn for segment in strip if segment.style)
    story.close()


async def test_a_record_that_cannot_be_read_is_shown_as_that(tmp_path):
    story = shop_story(tmp_path)
    story.store()
    with sqlite3.connect(story.path) as connection:
        connection.execute("UPDATE records SET leaf = substr(leaf, 1, 80) WHERE seq = 1")
        connection.execute("UPDATE records SET leaf = x'00' WHERE seq = 3")
    connection.close()
    app = console(story)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("home")
        await settle(pilot)
        rows = main(app).timeline.rows
        assert [row.mark for row in rows[:2]] == ["unread", "unread"]
        assert "cannot be read" in screen_text(app)
        for key in ("v", "v", "v", "down", "v", "v", "v", "w", "escape"):
            await pilot.press(key)
            await settle(pilot)
    story.journal.close()
    story.ingest.close()


async def test_a_record_is_exported_from_here(story, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = console(story, filter="text~customers", proofs=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("e")
        await pilot.pause(0.2)
        await pilot.press("down", "down", "enter")  # its run
        await pilot.pause(0.2)
        await pilot.press("down", "enter")  # html
        await pilot.pause(0.2)
        await pilot.press("enter")
        for _ in range(200):
            await pilot.pause(0.05)
            if list(tmp_path.glob("*.html")):
                break
    (path,) = tmp_path.glob("*.html")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "unfiltered DELETE on orders" in path.read_text()
    assert "Records and their paths" in path.read_text()


@pytest.mark.parametrize(
    "name", ["x" * 300, "~nobody-of-that-name/x", "missing/x", "taken", "link", "..", "/proc/self/x"]
)
async def test_an_export_that_cannot_be_written_is_told_and_ends_nothing(story, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    app = console(story, filter="text~customers")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settle(pilot)
        await pilot.press("e")
        for _ in range(2):
            await until_screen(pilot, "ChoiceDialog")
            await pilot.press("enter")
            await pilot.pause()
        await until_screen(pilot, "AskDialog")
        pilot.app.screen.query_one(Input).value = name
        await pilot.press("enter")
        told = ("cannot be written", "no user of that name", "there is such a file", "names no file")
        for _ in range(200):
            await pilot.pause(0.05)
            if any(part in " ".join(screen_text(app).replace("▌", " ").split()) for part in told):
                break
        else:
            raise AssertionError(screen_text(app))
        await pilot.press("down")
        assert isinstance(app.screen, TimelineScreen)
    assert (tmp_path / "taken").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "taken"]


async def until_screen(pilot, name: str) -> None:
    for _ in range(200):
        if type(pilot.app.screen).__name__ == name:
            return
        await pilot.pause(0.05)
    raise AssertionError(screen_text(pilot.app))


async def test_a_record_that_cannot_be_copied_or_played_ends_nothing(story, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("recorded" + EVIL)

    monkeypatch.setattr("onrecord.recordings.console.screens.actions.formats", fail)
    monkeypatch.setattr("onrecord.recordings.console.screens.actions.events", fail)
    app = console(story, filter="text~customers")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        for key in ("y", "p"):
            await settle(pilot)
            app.clear_notifications()
            await pilot.press(key)
            for _ in range(200):
                await pilot.pause(0.05)
                if "RuntimeError" in screen_text(app):
                    break
            assert "RuntimeError" in screen_text(app)
            assert "recorded\\x1b" not in screen_text(app)
            assert isinstance(app.screen, TimelineScreen)


async def test_a_store_that_was_away_is_read_again_when_it_is_back(tmp_path):
    story = Story(tmp_path)
    session = story.session()
    story.command(session, "SELECT 'before'")
    story.close()
    (tmp_path / "later").mkdir()
    other = Story(tmp_path / "later")
    session = other.session(on="elsewhere")
    other.command(session, "SELECT 'after'")
    other.close()
    app = console(story)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        assert line(app) == "SELECT 'before'"
        story.path.rename(tmp_path / "away.db")
        for _ in range(400):
            await pilot.pause(0.05)
            if "cannot be read" in screen_text(app):
                break
        assert "cannot be read" in screen_text(app)
        (tmp_path / "away.db").unlink()
        other.path.rename(story.path)
        for _ in range(400):
            await pilot.pause(0.05)
            if line(app) == "SELECT 'after'" and "cannot be read" not in screen_text(app):
                break
        await settle(pilot)
        assert line(app) == "SELECT 'after'"
        assert "cannot be read" not in screen_text(app)
        assert "elsewhere" in screen_text(app)


async def proved(pilot, app: ConsoleApp) -> list[Badge]:
    """The badges, once each is certain."""
    for _ in range(600):
        await pilot.pause(0.1)
        rows = main(app).timeline.rows
        badges = [main(app).timeline.badge(row) for row in rows]
        if badges and Badge.UNKNOWN not in badges:
            return badges
    raise AssertionError(screen_text(app))


async def test_every_record_has_its_badge(tmp_path):
    story = shop_story(tmp_path)
    story.store()
    app = console(story, proofs=True)
    async with app.run_test(size=(100, 30)) as pilot:
        assert set(await proved(pilot, app)) == {Badge.PROVED}
        await settle(pilot)
        text = screen_text(app)
        assert text.count("✓ 11-22 18:35") == 7
        assert "proved" in text.splitlines()[0]
        story.command(story.session(), "SELECT 'later'")
        story.store()
        await settle(pilot)
        assert set(await proved(pilot, app)) == {Badge.PROVED}
    story.close()


async def test_an_altered_record_has_a_bad_badge_and_what_is_behind_it_none(tmp_path):
    story = shop_story(tmp_path)
    story.close()
    with closing(sqlite3.connect(story.path, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE records SET leaf = CAST(replace(leaf, 'DELETE FROM orders', 'SELECT 1') AS BLOB) WHERE seq = 3"
        )
    app = console(story, proofs=True)
    async with app.run_test(size=(100, 30)) as pilot:
        badges = await proved(pilot, app)
        assert badges[1] is Badge.BAD
        assert Badge.PROVED not in badges[1:]
        await settle(pilot)
        assert "ALTERED" in screen_text(app).splitlines()[0]


async def test_themes_change_by_key(story, tmp_path: Path):
    app = console(story, settings=tmp_path / "s.json")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        before = screen_text(app)
        names = []
        for _ in range(3):
            names.append(app.theme)
            await pilot.press("t")
            await settle(pilot)
            assert screen_text(app) == before
        assert sorted(names) == ["onrecord-contrast", "onrecord-dark", "onrecord-light"]


async def test_a_store_that_breaks_meanwhile_is_told_and_ends_nothing(tmp_path):
    story = Story(tmp_path)
    session = story.session()
    for number in range(3000):
        story.command(session, f"SELECT {number} " + "x" * 300)
    story.close()
    app = console(story)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settle(pilot)
        with story.path.open("r+b") as file:
            for page in range(100, 300):
                file.seek(page * 4096)
                file.write(b"\xff" * 4096)
        for key in ("home", "n", "N", "end", "home", "v", "w", "p", "escape", "y", "escape"):
            await pilot.press(key)
            await pilot.pause(0.1)
            await settle(pilot)
        assert "run `onrecord verify`" in screen_text(app) or "cannot be read" in screen_text(app)


async def test_an_error_of_its_own_prints_nothing_of_what_is_recorded(story, monkeypatch, capsys):
    app = console(story)
    secret = "recorded" + EVIL

    def fail(self: object) -> None:
        local = secret
        raise RuntimeError(local)

    monkeypatch.setattr(TimelineScreen, "action_live", fail)

    async def crash() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            await pilot.press("l")
            await pilot.pause(0.2)

    with pytest.raises(RuntimeError):
        await crash()
    captured = capsys.readouterr()
    printed = captured.out + captured.err
    assert "it ended by an error of its own: RuntimeError" in printed
    assert "test_app.py" in printed
    assert "recorded\x1b" not in printed
    assert "owned" not in printed


async def test_the_mouse_chooses_lines_and_moments(story):
    app = console(story)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.click("#timeline", offset=(20, 0))
        await settle(pilot)
        assert main(app).current is main(app).timeline.rows[main(app).timeline.top]
        await pilot.click("#trouble", offset=(6, 0))
        await settle(pilot)
        assert main(app).timeline.cursor == 0


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A store with more lines than are kept in memory."""
    story = Story(tmp_path_factory.mktemp("many"))
    session = story.session()
    for number in range(1200):
        story.command(session, f"SELECT {number}", verdict="deny" if number in (3, 500) else "allow")
    story.store()
    yield story
    story.close()


async def test_a_store_larger_than_memory_is_walked_to_both_ends(many, monkeypatch):
    monkeypatch.setattr("onrecord.recordings.console.widgets.timeline.KEPT", 600)
    app = console(many)
    async with app.run_test(size=(80, 70)) as pilot:
        await settle(pilot)
        assert line(app) == "SELECT 1199"
        await pilot.press("home")
        await settle(pilot)
        assert line(app) == "SELECT 0"
        await pilot.press("end")
        await settle(pilot)
        assert line(app) == "SELECT 1199"
        await pilot.press("N")
        await settle(pilot)
        assert line(app) == "SELECT 500"
        await pilot.press("N")
        await settle(pilot)
        assert line(app) == "SELECT 3"
        timeline = main(app).timeline
        for _ in range(100):
            await pilot.press("pagedown")
            await settled_pages(pilot, app)
            if line(app) == "SELECT 1199":
                break
        assert line(app) == "SELECT 1199"
        assert len(timeline.rows) <= 800
        numbers = [int(row.line.split()[1]) for row in timeline.rows]
        assert numbers == list(range(numbers[0], 1200))  # no gap, nothing twice
        for _ in range(100):
            await pilot.press("pageup")
            await settled_pages(pilot, app)
            if line(app) == "SELECT 0":
                break
        numbers = [int(row.line.split()[1]) for row in timeline.rows]
        assert numbers == list(range(numbers[-1] + 1))


async def settled_pages(pilot, app: ConsoleApp) -> None:
    """Until no page is being fetched."""
    screen = main(app)
    await pilot.pause()
    for _ in range(400):
        if screen._fetching is None:
            return
        await pilot.pause(0.02)
    raise AssertionError("a page was never fetched")
