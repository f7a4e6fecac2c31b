"""recordings/admin/notify/dispatch.py: attempts, pauses, the list of what never arrived."""

from __future__ import annotations

import asyncio

import pytest

from onrecord.recordings.admin.notify import dispatch
from onrecord.recordings.admin.notify.delivery import UndeliveredError
from onrecord.recordings.admin.notify.dispatch import ATTEMPTS, LAST_PAUSE, Dispatcher, Target
from onrecord.recordings.admin.notify.notice import Notice

NOTICE = Notice(event="pending", approval="a", state="pending", at=0.0, expires=10_000.0, subject="devin")


class Sender:
    def __init__(self, *answers):
        self.answers, self.sent = list(answers), []

    async def send(self, notice, delivery):
        self.sent.append((notice, delivery))
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer


class Sleeps:
    def __init__(self):
        self.slept = []

    async def __call__(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def settle(dispatcher):
    while dispatcher._tasks:
        await asyncio.gather(*dispatcher._tasks, return_exceptions=True)


def make(sender, tmp_path=None, sleep=None, events=("pending",), now=lambda: 100.0):
    file = None if tmp_path is None else tmp_path / "undelivered.json"
    return Dispatcher([Target("hook", events, sender)], file, clock=now, sleep=sleep or Sleeps())


async def test_an_attempt_that_fails_is_made_again_with_growing_pauses():
    sender, sleeps = Sender(*[UndeliveredError("down")] * 5), Sleeps()
    dispatcher = make(sender, sleep=sleeps)
    dispatcher.announce(NOTICE)
    await settle(dispatcher)
    assert len(sender.sent) == 6
    assert len({delivery for _, delivery in sender.sent}) == 1
    assert dispatcher.delivered == 1
    assert dispatcher.dead() == []
    for i, pause in enumerate(sleeps.slept):
        assert 2**i * 0.5 <= pause <= 2**i
    assert len(set(sleeps.slept)) == 5


async def test_what_never_arrives_is_listed_and_survives_a_restart(tmp_path):
    sleeps = Sleeps()
    dispatcher = make(Sender(*[UndeliveredError("the receiver answered 500")] * 99), tmp_path, sleeps)
    dispatcher.announce(NOTICE)
    await settle(dispatcher)
    letter = dispatcher.dead()[0]
    assert (letter.attempts, letter.target, letter.reason) == (ATTEMPTS, "hook", "the receiver answered 500")
    assert max(sleeps.slept) <= LAST_PAUSE
    assert (tmp_path / "undelivered.json").stat().st_mode & 0o077 == 0
    sender = Sender()
    later = make(sender, tmp_path)
    assert [one.id for one in later.dead()] == [letter.id]
    assert later.again(letter.id)
    assert not later.again(letter.id)
    await settle(later)
    assert [notice for notice, _ in sender.sent] == [NOTICE]
    assert make(Sender(), tmp_path).dead() == []


async def test_a_final_refusal_is_not_tried_again():
    sender = Sender(UndeliveredError("gone", final=True))
    dispatcher = make(sender)
    dispatcher.announce(NOTICE)
    await settle(dispatcher)
    assert len(sender.sent) == 1
    assert dispatcher.dead()[0].reason == "gone"


async def test_the_receivers_wish_to_wait_is_kept():
    sleeps = Sleeps()
    dispatcher = make(Sender(UndeliveredError("busy", after=60.0)), sleep=sleeps)
    dispatcher.announce(NOTICE)
    await settle(dispatcher)
    assert sleeps.slept == [60.0]


async def test_nobody_hears_of_what_has_expired():
    sender = Sender(*[UndeliveredError("down")] * 99)
    dispatcher = make(sender, now=lambda: 9_999.9)
    dispatcher.announce(NOTICE)
    await settle(dispatcher)
    assert len(sender.sent) == 1
    assert "expires" in dispatcher.dead()[0].reason


async def test_only_the_events_that_a_target_wants():
    sender = Sender()
    dispatcher = make(sender, events=("killed",))
    dispatcher.announce(NOTICE)
    await settle(dispatcher)
    assert sender.sent == []


async def test_deliveries_under_way_are_bounded_and_become_dead_letters_at_the_end(monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_UNDER_WAY", 2)

    class Slow:
        async def send(self, notice, delivery):
            await asyncio.Event().wait()

    dispatcher = make(Slow())
    for _ in range(3):
        dispatcher.announce(NOTICE)
    assert len(dispatcher.dead()) == 1
    await asyncio.sleep(0.01)
    await dispatcher.close()
    assert len(dispatcher.dead()) == 3


async def test_an_error_of_ours_ends_one_delivery_only(caplog):
    sender = Sender(ZeroDivisionError())
    dispatcher = make(sender)
    dispatcher.announce(NOTICE)
    dispatcher.announce(NOTICE)
    await settle(dispatcher)
    assert dispatcher.delivered == 1
    assert "ZeroDivisionError" in dispatcher.dead()[0].reason


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"id": 1}]'])
def test_a_damaged_list_is_no_list(tmp_path, content):
    (tmp_path / "undelivered.json").write_text(content)
    assert make(Sender(), tmp_path).dead() == []
