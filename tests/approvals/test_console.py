"""The console approves a waiting statement, and kills, through the real admin API of a running gateway."""

from __future__ import annotations

from typing import Any

import psycopg

from onrecord.recordings.console.app import ConsoleApp
from onrecord.recordings.console.rows import Row
from onrecord.recordings.console.screens.approvals import ApprovalsScreen
from onrecord.recordings.console.screens.timeline import TimelineScreen
from tests.approvals.conftest import Desk, Running
from tests.recordings.console.story import screen_text, settle


async def until(pilot, condition) -> None:
    for _ in range(600):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError(screen_text(pilot.app))


def console(desk: Desk, **who: Any) -> ConsoleApp:
    state = desk.gateway.setup.state
    return ConsoleApp(state / "recordings.db", state=state, door=lambda: desk.client(**who))


async def test_a_held_delete_runs_when_it_is_approved_in_the_console(desk: Desk) -> None:
    with desk.connection() as connection:
        held = Running(connection, f"DELETE FROM {desk.table} WHERE id = 1")
        desk.pending()
        app = console(desk)
        async with app.run_test(size=(120, 60)) as pilot:
            await settle(pilot)
            await pilot.press("a")
            await until(pilot, lambda: isinstance(app.screen, ApprovalsScreen) and "pending" in screen_text(app))
            text = screen_text(app)
            assert f"DELETE FROM {desk.table} WHERE id = 1" in text
            assert "changes the shop" in text
            screen: object = app.screen
            assert isinstance(screen, ApprovalsScreen)
            await until(pilot, lambda: "no preview yet" not in screen_text(app))
            for _ in range(20):  # ours is the one that waits at this table; others may be on the list
                current = screen.list.current
                if current is not None and desk.table in current["text"] and current["state"] == "pending":
                    break
                await pilot.press("down")
            await pilot.press("A")
            await pilot.pause(0.3)
            await pilot.press(*"seen", "enter")
            await until(pilot, lambda: "used" in screen_text(app) or "granted" in screen_text(app))
            held.join()
            await pilot.press("escape")
            await until(pilot, lambda: any(row.mark == "granted" and desk.table in row.line for row in rows(app)))
        assert held.count == 1
    with desk.client() as client:
        (view,) = [view for view in client.approvals() if f"{desk.table} WHERE id = 1" in view["text"]]
    assert (view["state"], view["decided_by"], view["why"]) == ("used", "alice", "seen")


async def test_a_run_is_stopped_from_the_console(desk: Desk) -> None:
    with desk.connection("ripley") as connection:
        connection.execute("SELECT 'to be stopped'")
        app = console(desk, subject="root", groups=("ops",))
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            await settle(pilot)
            await until(pilot, lambda: any("to be stopped" in row.line for row in rows(app)))
            await pilot.press("slash", *"identity:ripley", "enter")
            await until(pilot, lambda: rows(app) and all(row.who == "ripley" for row in rows(app)))
            await pilot.press("K")
            await pilot.pause(0.3)
            await pilot.press("enter")
            await pilot.pause(0.3)
            await pilot.press(*"test", "enter")
            await until(pilot, lambda: "stopped: session" in screen_text(app))
            await until(pilot, lambda: is_dead(connection))


def rows(app: ConsoleApp) -> list[Row]:
    screen = app.screen_stack[1]
    assert isinstance(screen, TimelineScreen)
    return screen.timeline.rows


def is_dead(connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return True
    return False
