"""Approvals and kill switches in the console: only through the admin API, only what was read to its end."""

from __future__ import annotations

from typing import Any

import pytest

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.console.app import ConsoleApp
from onrecord.recordings.console.door import Door
from onrecord.recordings.console.screens.approvals import ApprovalsScreen
from tests.recordings.console.story import EVIL, screen_text, settle, shop_story


def waiting(text: str = "DELETE FROM orders", **more: object) -> dict[str, Any]:
    return {
        "id": "01a2048a-0000-7000-8000-0000000000aa", "state": "pending", "requested_at": "2026-11-22T18:35:14.000000Z",
        "expires_at": "2026-11-22T18:45:14.000000Z", "expires_in": 125.0, "waiting": True, "run": "fix-invoices",
        "session": "01a2", "identity": {"subject": "devin", "groups": ["agents"], "on_behalf_of": "alice@example.com"},
        "resource": "orders", "protocol": "postgres", "client": "10.0.0.7:1", "kind": "sql", "action": "write",
        "text": text, "detail": {"kind": "DELETE"}, "cause": None, "policy": "guard_orders",
        "reason": "unfiltered DELETE on orders", "approvers": ["dba"], "minimum": 1, "missing": ["dba"], "agreed": [],
        "decided_by": None, "why": "", "max_rows": None, "reuse": 0, "unbound": ["triggers of orders"],
        "preview": {"kind": "explain", "matched": 41, "rows": 40, "reason": "", "text": "Delete on orders"},
    } | more  # fmt: skip


class FakeDoor:
    """An admin API that remembers what was asked of it."""

    def __init__(self, *views: dict[str, Any], problem: str = "") -> None:
        self.views, self.problem = list(views), problem
        self.closed = False
        self.decided: list[tuple[str, str, str]] = []
        self.killed: list[tuple[str, str, str]] = []

    def __enter__(self) -> FakeDoor:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def approvals(self, *, pending: bool = False) -> list[dict[str, Any]]:
        return [dict(view) for view in self.views]

    def decide(self, id: str, decision: str, reason: str) -> dict[str, Any]:
        if self.problem:
            raise OnrecordError(self.problem)
        self.decided.append((id, decision, reason))
        self.views[0]["state"] = "granted" if decision == "approve" else "refused"
        return {"id": id, "state": self.views[0]["state"]}

    def kill(self, target: str, value: str, reason: str) -> dict[str, Any]:
        if self.problem:
            raise OnrecordError(self.problem)
        self.killed.append((target, value, reason))
        return {"id": "k1"}


@pytest.fixture
def story(tmp_path):
    made = shop_story(tmp_path)
    made.store()
    yield made
    made.close()


def opened(story, door: Door | None, filter: str = "") -> ConsoleApp:
    return ConsoleApp(story.path, filter=filter, door=None if door is None else lambda: door)


async def approvals(pilot) -> ApprovalsScreen:
    await settle(pilot)
    await pilot.press("a")
    for _ in range(200):
        await pilot.pause(0.05)
        screen: object = pilot.app.screen
        if isinstance(screen, ApprovalsScreen) and "approvals" in screen_text(pilot.app):
            await pilot.pause(0.2)
            return screen
    raise AssertionError(screen_text(pilot.app))


async def until(pilot, condition) -> None:
    for _ in range(200):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError(screen_text(pilot.app))


async def test_what_waits_is_shown_with_all_that_decides_and_the_time_left(story):
    app = opened(story, FakeDoor(waiting()))
    async with app.run_test(size=(100, 50)) as pilot:
        await approvals(pilot)
        text = screen_text(app)
        for part in (
            "pending", "2:0", "devin for alice@example.com", "guard_orders: unfiltered DELETE", "DELETE FROM orders",
            "rows that match now: 41", "triggers of orders", "dba", "live from the admin API",
        ):  # fmt: skip
            assert part in text


async def test_a_decision_goes_through_the_admin_api_with_its_reason(story):
    door = FakeDoor(waiting())
    app = opened(story, door)
    async with app.run_test(size=(100, 50)) as pilot:
        await approvals(pilot)
        await pilot.press("A")
        await pilot.pause(0.2)
        await pilot.press(*"checked", "enter")
        await until(pilot, lambda: door.decided)
        assert door.decided == [(waiting()["id"], "approve", "checked")]
        await until(pilot, lambda: "granted" in screen_text(app))


async def test_escape_decides_nothing(story):
    door = FakeDoor(waiting())
    app = opened(story, door)
    async with app.run_test(size=(100, 50)) as pilot:
        await approvals(pilot)
        for key in "ADR":
            await pilot.press(key)
            await pilot.pause(0.2)
            await pilot.press("escape")
            await pilot.pause(0.2)
        assert door.decided == []


async def test_a_long_command_must_be_read_to_its_end(story):
    door = FakeDoor(waiting("\n".join(f"SELECT {n};" for n in range(300)) + "\nDROP TABLE orders;"))
    app = opened(story, door)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await approvals(pilot)
        await pilot.press("A")
        await pilot.pause(0.3)
        assert app.screen is screen  # no question was asked
        assert door.decided == []
        await pilot.press("G")  # the text has the focus now
        await pilot.pause(0.5)
        assert "— end —" in screen_text(app)
        await pilot.press("A")
        await pilot.pause(0.2)
        await pilot.press("enter")
        await until(pilot, lambda: door.decided)


async def test_a_text_that_is_cut_off_cannot_be_approved_here(story):
    """What stands behind the last line that is drawn was seen by nobody."""
    door = FakeDoor(waiting("SELECT 1;\n" * 6000 + "DROP TABLE orders;"))
    app = opened(story, door)
    async with app.run_test(size=(100, 50), notifications=True) as pilot:
        screen = await approvals(pilot)
        await pilot.press("tab", "G")
        await until(pilot, lambda: screen.detail.scroll_offset.y >= screen.detail.max_scroll_y > 0)
        await pilot.press("A")
        await until(pilot, lambda: "the page has all" in " ".join(screen_text(app).split()))
        assert app.screen is screen
        assert door.decided == []


async def test_another_text_is_not_read_because_the_one_before_was(story):
    """The next approval stands at its beginning as soon as it is drawn, whatever keys came meanwhile."""
    long = "\n".join(f"SELECT {n};" for n in range(300))
    second = waiting("DROP TABLE orders;\n" + long[:1500], id="01a2-another")
    app = opened(story, FakeDoor(waiting(long), second))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await approvals(pilot)
        screen.detail.scroll_to(0, screen.detail.max_scroll_y, animate=False, immediate=True)
        first = screen.list.current
        assert first is not None
        assert screen.is_read(first)
        screen.list.cursor = 1 - screen.list.cursor
        screen.on_lines_moved()
        other = screen.list.current
        assert other is not None
        assert other["id"] != first["id"]
        assert not screen.is_read(other)


async def test_what_deceives_is_marked(story):
    app = opened(story, FakeDoor(waiting("DELETE FROM \u043erders" + EVIL)))
    async with app.run_test(size=(100, 50)) as pilot:
        screen = await approvals(pilot)
        assert "look out" in screen.detail.text
        assert "lookalike" in screen.detail.text
        assert not set("\x1b\x07\x9b\u202e\u2066\x7f\u200b\r") & set(screen_text(app))


async def test_a_refused_decision_is_told_and_changes_nothing(story):
    door = FakeDoor(waiting(), problem="your login is older than five minutes")
    app = opened(story, door)
    async with app.run_test(size=(100, 50), notifications=True) as pilot:
        await approvals(pilot)
        await pilot.press("A")
        await pilot.pause(0.2)
        await pilot.press("enter")
        await until(pilot, lambda: "older than five minutes" in screen_text(app))
        assert door.decided == []


async def test_without_a_login_the_record_is_shown_to_read_only(story):
    def no_login() -> Door:
        raise OnrecordError("no login for https://admin: run `onrecord login`")

    app = ConsoleApp(story.path, door=no_login)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await approvals(pilot)
        text = screen_text(app)
        assert "to read only" in text
        assert "run `onrecord login`" in text


async def test_a_kill_names_what_it_stops_and_asks_why(story):
    door = FakeDoor()
    app = opened(story, door, filter="text~customers")
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("K")
        await pilot.pause(0.2)
        text = screen_text(app)
        assert "fix-invoices" in text
        await pilot.press("down", "enter")
        await pilot.pause(0.2)
        assert door.killed == []
        await pilot.press(*"leak", "enter")
        await until(pilot, lambda: door.killed)
        assert door.killed == [("run", "fix-invoices", "leak")]
