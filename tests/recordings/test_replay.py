"""Replay: events in the order in which they happened, with bounded pauses."""

from __future__ import annotations

from onrecord.recordings.replay import Event, pauses


def test_pauses_follow_the_clock_by_speed_and_never_exceed_idle() -> None:
    events = [Event(at, "command", {}) for at in (10.0, 10.5, 12.0, 100.0, 99.0)]
    assert [wait for wait, _ in pauses(events, speed=2.0, idle=1.5)] == [0.0, 0.25, 0.75, 1.5, 0.0]
