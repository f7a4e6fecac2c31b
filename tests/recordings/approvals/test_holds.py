"""recordings/approvals/holds.py: a process's side, with a channel that the test plays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from onrecord.policies.kills import Kill
from onrecord.recordings.approvals import holds as module
from onrecord.recordings.approvals.bound import Together
from onrecord.recordings.approvals.holds import UNANSWERED, Holds
from onrecord.recordings.control.messages import (
    MAX_TO_RECORDER,
    CancelHold,
    Consume,
    Consumed,
    HoldAnswer,
    HoldRequest,
    Kills,
    Ruled,
    ToRecorder,
    encode,
)
from tests.policies.test_approvals import request


class Line:
    """What was sent; `up` is false while the recorder is away."""

    def __init__(self) -> None:
        self.sent: list[ToRecorder] = []
        self.up = True
        self.time = 0.0
        self.holds = Holds(self.send, clock=lambda: self.time)

    def send(self, message: ToRecorder) -> bool:
        if self.up:
            self.sent.append(message)
        return self.up

    def last[T](self, kind: type[T]) -> T:
        return [message for message in self.sent if isinstance(message, kind)][-1]


@pytest.fixture
def line() -> Line:
    return Line()


async def test_a_ticket_follows_its_approval_and_a_repeat_follows_another_one(line: Line) -> None:
    ticket = line.holds.open(request(id="r"))
    line.holds.received(HoldAnswer("r", "older", "pending", expires_in=30.0))
    assert (ticket.approval, ticket.state) == ("older", "pending")
    line.holds.received(Ruled("r", "granted"))
    assert ticket.waits, "that is not its approval"
    line.holds.received(Ruled("older", "granted", by="alice", expires_in=30.0))
    assert (ticket.state, ticket.by) == ("granted", "alice")


async def test_the_deadline_only_comes_nearer_while_it_waits(line: Line) -> None:
    ticket = line.holds.open(request(id="r", timeout=60.0))
    line.holds.received(HoldAnswer("r", "r", "pending", expires_in=1e9))
    assert ticket.deadline == 60.0


async def test_after_a_reconnection_everything_that_waits_is_asked_again_with_what_is_left(line: Line) -> None:
    line.up = False
    line.holds.open(request(id="r", timeout=60.0))
    line.up, line.time = True, 45.0
    line.holds.connected()
    again = line.last(HoldRequest)
    assert again.again
    assert again.request.timeout == 15.0
    line.time = 61.0
    line.sent.clear()
    line.holds.connected()
    assert not line.sent, "what has expired is not asked again"


async def test_a_use_that_was_not_answered_is_asked_again_with_the_same_nonce(line: Line) -> None:
    ticket = line.holds.open(request(id="r"))
    line.holds.received(HoldAnswer("r", "r", "granted", expires_in=30.0))
    using = asyncio.create_task(line.holds.consume(ticket, "d", "p"))
    await asyncio.sleep(0)
    first = line.last(Consume)
    line.holds.connected()
    assert line.last(Consume) == first
    assert sum(isinstance(message, Consume) for message in line.sent) == 2
    line.holds.received(Consumed(first.nonce, ok=True))
    assert (await using).ok


async def test_no_answer_is_a_no(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    ticket = line.holds.open(request(id="r"))
    answer = await line.holds.consume(ticket, "d", "p")
    assert (answer.ok, answer.reason) == (False, UNANSWERED)
    line.holds.received(Consumed(answer.nonce, ok=True))  # too late: nobody listens


async def test_an_answer_for_a_client_that_has_left_is_given_back(line: Line) -> None:
    ticket = line.holds.open(request(id="r"))
    line.holds.cancel(ticket, "left", keep=False)
    line.sent.clear()
    line.holds.received(HoldAnswer("r", "r", "granted", expires_in=30.0))
    assert line.last(CancelHold) == CancelHold("r", "the client left", keep=True)


async def test_a_command_over_the_limit_of_a_message_is_refused_here() -> None:
    def send(message: Any) -> bool:
        encode(message, MAX_TO_RECORDER)
        return True

    import msgspec

    found = Holds(send).open(request(command=msgspec.Raw(b'"' + b"x" * MAX_TO_RECORDER + b'"')))
    assert found.state == "refused"
    assert "too long" in found.reason


@pytest.mark.parametrize(
    ("fields", "said"), [({"reason": "x" * MAX_TO_RECORDER}, "too long"), ({"login": "\udcff"}, "no text")]
)
async def test_what_cannot_be_sent_is_refused_even_where_the_recorder_was_away_when_it_was_asked(
    fields: dict[str, Any], said: str
) -> None:
    sent: list[bytes] = []
    up = False

    def send(message: Any) -> bool:
        if up:
            sent.append(encode(message, MAX_TO_RECORDER))
        return up

    holds = Holds(send)
    bad, good = holds.open(request(id="bad", **fields)), holds.open(request(id="good"))
    assert bad.state == good.state == "asking"
    up = True
    holds.connected()
    assert (bad.state, good.state) == ("refused", "asking")
    assert said in bad.reason
    assert len(sent) == 1, "the others are asked for all the same"


async def test_kills_are_passed_on(line: Line) -> None:
    heard: list[tuple[Kill, ...]] = []
    line.holds.on_kills = heard.append
    kill = Kill(id="k", target="run", value="r")
    line.holds.received(Kills((kill,)))
    assert heard == [(kill,)]
    assert line.holds.kills == (kill,)


async def test_of_several_none_goes_before_all_may_and_what_was_settled_stays() -> None:
    both = Together(2)
    both.arrive(allowed=True)
    waiting = asyncio.create_task(both.all_allowed())
    await asyncio.sleep(0)
    assert not waiting.done()
    both.arrive(allowed=True)
    both.arrive(allowed=False)
    assert await waiting
    failed = Together(3)
    failed.arrive(allowed=False)
    assert not await failed.all_allowed()
