"""The seam fails closed: whatever breaks, nothing is allowed, and the refusal is on record."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onrecord.policies.approvals import Preview
from onrecord.policies.errors import StoreError
from onrecord.policies.kills import Kill
from onrecord.policies.model import Command, Identity, Outcome, Resource, Session, SqlCommand
from onrecord.policies.verdict import Allow, Deny, Hold, Ruling
from onrecord.recordings import journal as journal_module
from onrecord.recordings.approvals.bound import HIDDEN
from onrecord.recordings.approvals.holds import Holds
from onrecord.recordings.auditor import Auditor, Decision, OpenSession, RefusedError
from onrecord.recordings.control.messages import HoldAnswer
from onrecord.recordings.frames import FILE_HEADER_SIZE, Frame, Kind, decode_frames, read_file_header
from onrecord.recordings.journal import Journal
from onrecord.recordings.records import RefusalRecord

NOW = 1_800_000_000
DEVIN = Identity(issuer="https://idp", subject="devin", groups=("agents",), expires_at=NOW + 100)
ORDERS = Resource(name="orders", type="postgres")


class FixedEngine:
    digest = "sha256:policies"

    def __init__(self) -> None:
        self.ruling = Ruling(Allow(), "guard")
        self.start: Ruling | None = None
        self.asked = 0
        self.outcomes: list[Outcome] = []

    def decide(self, command: Command) -> Ruling | Awaitable[Ruling]:
        self.asked += 1
        return self.ruling

    def session_start(self, session: Session) -> Ruling | None:
        return self.start

    def session_end(self, session: Session) -> None: ...

    def outcome(self, command: Command, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class FixedControl:
    refusal: str | None = None


class Case:
    def __init__(self, folder: Path) -> None:
        self.engine, self.control = FixedEngine(), FixedControl()
        self.now = NOW * 1_000_000_000
        self.observing = False
        self.journal = Journal(folder, "gateway")
        self.auditor = Auditor(
            self.journal, self.engine, self.control, now=lambda: self.now, observing=lambda: self.observing,
            redact=lambda payload: payload.replace(b"hunter2", b"[redacted]"),
        )  # fmt: skip

    def open(self, identity: Identity = DEVIN) -> OpenSession:
        return self.auditor.open_session(identity, ORDERS, run="run-1", protocol="postgres", client="127.0.0.1:9")

    def submit(self, opened: OpenSession, text: str = "SELECT 1", **more: Any) -> Decision:
        command = SqlCommand(session=opened.session, action="read", text=text, kind="SELECT")
        decision = self.auditor.submit(opened, command, **more)
        assert isinstance(decision, Decision)
        return decision

    def records(self) -> list[tuple[Kind, dict[str, Any]]]:
        found: list[Frame] = []
        for path in sorted(self.journal.path.parent.glob("*.journal")):
            data = path.read_bytes()
            found += decode_frames(data[FILE_HEADER_SIZE:], read_file_header(data))
        return [(frame.kind, msgspec.json.decode(frame.payload)) for frame in found]

    def kinds(self) -> list[Kind]:
        return [kind for kind, _ in self.records()]


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made
    made.journal.close()


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], None]:
    """From then on nothing new fits on the disk: fallocate fails; what is in the reserve can still be used."""

    def no_room(fd: int, offset: int, length: int) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(case: Case) -> None:
        case.journal._allocated = case.journal._size  # the next ordinary write asks for room
        monkeypatch.setattr(journal_module, "_allocate", no_room)

    return fill


def test_a_command_is_on_disk_before_it_is_allowed(case: Case) -> None:
    decision = case.submit(case.open(), "SELECT 1")
    assert decision.allowed
    assert case.kinds() == [Kind.SESSION, Kind.COMMAND]
    assert case.records()[1][1]["verdict"] == {"type": "allow", "policy": "guard", "policies": "sha256:policies"}
    case.auditor.finish(decision, Outcome(status="ok", rows=1))
    assert case.kinds()[-1] == Kind.OUTCOME
    assert case.engine.outcomes[0].rows == 1


@pytest.mark.parametrize("verdict", [Deny("no", "ask"), Hold("dba")])
def test_a_denied_and_a_held_command_are_refused_with_their_record(case: Case, verdict: Deny | Hold) -> None:
    case.engine.ruling = Ruling(verdict, "guard")
    decision = case.submit(case.open())
    assert not decision.allowed
    assert decision.id in decision.message
    assert "guard" in decision.message
    assert case.kinds() == [Kind.SESSION, Kind.COMMAND, Kind.OUTCOME]
    assert case.records()[2][1]["status"] == "refused"


def test_observing_lets_a_policys_denial_pass_and_says_so(case: Case) -> None:
    case.observing = True
    case.engine.ruling = Ruling(Deny("no"), "guard")
    assert case.submit(case.open()).allowed
    assert case.records()[1][1]["verdict"]["applied"] is False
    case.engine.ruling = Ruling(Deny("no"), "onrecord:unknown")
    assert not case.submit(case.open()).allowed


@pytest.mark.parametrize("extra", [Deny("filters by a masked column"), Hold("dba")])
@pytest.mark.parametrize("ruling", [Allow(), Deny("no")])
def test_observing_does_not_lift_the_extra_ruling_of_masking(
    case: Case, extra: Deny | Hold, ruling: Allow | Deny
) -> None:
    case.observing = True
    case.engine.ruling = Ruling(ruling, "guard")
    assert case.submit(case.open()).allowed
    refused = case.submit(case.open(), extra=Ruling(extra, "onrecord:masking"))
    assert not refused.allowed
    assert refused.ruling.policy == "onrecord:masking"


def test_the_strictest_of_policies_and_the_extra_ruling_wins(case: Case) -> None:
    opened = case.open()
    extra = Ruling(Hold("dba"), "onrecord:masking")
    case.engine.ruling = Ruling(Deny("no"), "guard")
    assert case.submit(opened, extra=extra).ruling.policy == "guard"
    case.engine.ruling = Ruling(Allow(mask=("email",)), "guard")
    held = case.submit(opened, extra=extra).ruling
    assert held.policy == "onrecord:masking"
    assert "approval required by dba" in getattr(held.verdict, "reason", "")
    added = case.submit(opened, extra=Ruling(Allow(mask=("iban",)), "onrecord:masking"))
    assert added.ruling.verdict == Allow(mask=("email", "iban"))


async def test_an_extra_ruling_also_joins_one_that_had_to_be_waited_for(case: Case) -> None:
    async def later() -> Ruling:
        return Ruling(Allow(), "guard")

    opened = case.open()
    case.engine.decide = lambda command: later()  # type: ignore[method-assign]
    command = SqlCommand(session=opened.session, action="read", text="SELECT 1", kind="SELECT")
    decision = await case.auditor.submit_async(opened, command, extra=Ruling(Deny("x"), "onrecord:masking"))
    assert not decision.allowed


@pytest.mark.parametrize("verdict", [Allow(), Deny("no")])
@pytest.mark.parametrize("length", [1, 9 * 1024 * 1024])
def test_a_sessions_own_cleaner_sees_records_but_policies_see_the_command(
    case: Case, verdict: Allow | Deny, length: int
) -> None:
    opened = case.open()
    opened.clean = lambda payload: payload.replace(b"bob", b"[x]")
    case.engine.ruling = Ruling(verdict, "guard")
    decision = case.submit(opened, "SELECT 'bob'" + " " * length)
    assert decision.command.text.startswith("SELECT 'bob'")
    if decision.allowed:
        case.auditor.chunk(decision, "to_upstream", 3, data="bob")
    written = b"".join(path.read_bytes() for path in case.journal.path.parent.glob("*.journal"))
    assert b"bob" not in written
    assert b"[x]" in written


def test_a_journal_that_cannot_write_allows_nothing_and_the_refusal_is_in_the_reserve(
    case: Case, fill_disk: Callable[[Case], None]
) -> None:
    opened = case.open()
    fill_disk(case)
    decision = case.submit(opened, "DELETE FROM orders")
    assert not decision.allowed
    assert decision.ruling.policy == "onrecord:store"
    assert case.kinds() == [Kind.SESSION, Kind.COMMAND, Kind.OUTCOME]
    assert case.records()[1][1]["verdict"]["type"] == "deny"
    with pytest.raises(RefusedError, match="onrecord:store"):
        case.open()
    assert case.kinds()[-1] == Kind.REFUSAL
    with pytest.raises(StoreError):
        case.auditor.finish(decision, Outcome(status="ok"))
    with pytest.raises(StoreError):
        case.auditor.chunk(decision, "to_client", 3)
    case.auditor.abort(decision, "gone")
    case.auditor.end_session(opened, "gone")


def test_observing_does_not_open_a_journal_that_cannot_write(case: Case, fill_disk: Callable[[Case], None]) -> None:
    opened = case.open()
    case.observing = True
    fill_disk(case)
    case.engine.ruling = Ruling(Deny("no"), "guard")
    assert not case.submit(opened).allowed


def test_a_batch_that_cannot_be_flushed_raises_for_the_caller(case: Case, fill_disk: Callable[[Case], None]) -> None:
    opened = case.open()
    fill_disk(case)
    first, second = case.submit(opened, flush=False), case.submit(opened, flush=False)
    assert first.allowed
    assert second.allowed  # decided, but the caller may forward only after its flush
    with pytest.raises(StoreError):
        case.auditor.flush()
    with pytest.raises(StoreError):
        case.auditor.flush()
    assert case.kinds() == [Kind.SESSION]


def test_a_refusal_in_the_middle_of_a_batch_does_not_hide_the_batchs_failure(
    case: Case, fill_disk: Callable[[Case], None]
) -> None:
    opened = case.open()
    fill_disk(case)
    case.submit(opened, flush=False)
    case.auditor.refuse(RefusalRecord(what="onrecord:identity", reason="x", protocol="http", client="c"))
    with pytest.raises(StoreError):
        case.auditor.flush()
    assert case.kinds() == [Kind.SESSION, Kind.REFUSAL]


def test_a_batch_is_on_disk_after_one_flush(case: Case) -> None:
    opened = case.open()
    decisions = [case.submit(opened, flush=False) for _ in range(5)]
    for decision in decisions:
        case.auditor.finish(decision, Outcome(status="ok"), flush=False)
    assert case.kinds() == [Kind.SESSION]
    case.auditor.flush()
    assert case.kinds() == [Kind.SESSION, *[Kind.COMMAND] * 5, *[Kind.OUTCOME] * 5]


def test_a_lost_control_channel_refuses_without_asking_policies(case: Case) -> None:
    opened = case.open()
    case.control.refusal = "the recorder is silent"
    decision = case.submit(opened)
    assert (decision.allowed, decision.ruling.policy) == (False, "onrecord:control")
    assert case.engine.asked == 0
    with pytest.raises(RefusedError, match="the recorder is silent"):
        case.open()


def test_an_expired_token_refuses_the_next_command(case: Case) -> None:
    opened = case.open()
    assert case.submit(opened).allowed
    case.now += 101 * 1_000_000_000
    assert case.submit(opened).ruling.policy == "onrecord:identity"


@pytest.mark.parametrize("change", ["control", "expiry"])
async def test_what_changes_while_a_hook_waits_counts(case: Case, change: str) -> None:
    opened = case.open()

    async def later() -> Ruling:
        if change == "control":
            case.control.refusal = "killed"
        else:
            case.now += 101 * 1_000_000_000
        return Ruling(Allow(), "guard")

    case.engine.ruling = later()  # type: ignore[assignment]
    command = SqlCommand(session=opened.session, action="read", text="SELECT 1", kind="SELECT")
    assert not (await case.auditor.submit_async(opened, command)).allowed


def test_a_policy_may_refuse_a_session(case: Case) -> None:
    case.engine.start = Ruling(Deny("not at night"), "hours")
    with pytest.raises(RefusedError, match="not at night"):
        case.open()
    ((kind, record),) = case.records()
    assert (kind, record["what"], record["identity"]["subject"]) == (Kind.REFUSAL, "hours", "devin")


def test_every_payload_passes_the_redactor(case: Case) -> None:
    opened = case.open()
    decision = case.submit(opened, "SELECT 'hunter2'")
    case.auditor.chunk(decision, "to_client", 7, data="hunter2")
    case.auditor.finish(decision, Outcome(status="ok", sample=[["hunter2"]]))
    case.engine.ruling = Ruling(Deny("no"), "guard")
    case.submit(opened, "SELECT 'hunter2' again")
    case.auditor.refuse(RefusalRecord(what="x", reason="r", protocol="p", client="c", text="hunter2"))
    assert b"hunter2" not in case.journal.path.read_bytes()
    assert case.journal.path.read_bytes().count(b"[redacted]") >= 5


def test_every_secret_passes_the_redactor_when_a_session_is_aborted_or_ended(case: Case) -> None:
    opened = case.open()
    case.auditor.abort(case.submit(opened), "lost hunter2")
    case.auditor.end_session(opened, "hunter2")
    case.engine.ruling = Ruling(Deny("no hunter2"), "guard")
    case.submit(opened)
    assert b"hunter2" not in case.journal.path.read_bytes()


def test_a_command_over_the_limit_of_a_record_is_refused_and_its_beginning_is_on_record(case: Case) -> None:
    decision = case.submit(case.open(), "SELECT '" + "x" * (65 * 1024 * 1024))
    assert not decision.allowed
    record = case.records()[1][1]
    assert record["detail"]["shortened"] is True
    assert record["text"].startswith("SELECT 'xxx")
    with pytest.raises(StoreError):
        case.auditor.finish(decision, Outcome(status="ok", sample="x" * (65 * 1024 * 1024)))


def test_text_that_is_no_unicode_is_recorded_with_escapes(case: Case) -> None:
    assert case.submit(case.open(), "SELECT '\udcff'").allowed
    assert case.records()[1][1]["text"] == "SELECT '\\udcff'"


def test_a_session_ends_once(case: Case) -> None:
    opened = case.open()
    case.submit(opened)
    case.auditor.end_session(opened, "closed")
    case.auditor.end_session(opened, "again")
    assert case.kinds().count(Kind.SESSION_END) == 1
    assert case.records()[-1][1] == {"reason": "closed", "commands": 1}


def test_digests_are_keyed_by_the_session(case: Case) -> None:
    one, two = case.open(), case.open()
    digests = [opened.digest() for opened in (one, two, one)]
    for digest in digests:
        digest.update(b"same")
    assert digests[0].hexdigest() == digests[2].hexdigest() != digests[1].hexdigest()


def test_where_verdicts_are_only_observed_nobody_is_asked(case: Case) -> None:
    case.observing = True
    case.engine.ruling = Ruling(Hold("dba"), "guard")
    decision = case.submit(case.open())
    assert decision.allowed
    assert decision.approval is None


def test_without_anybody_to_ask_a_held_command_is_refused_at_once(case: Case) -> None:
    case.engine.ruling = Ruling(Hold("dba", "big"), "guard")
    decision = case.submit(case.open())
    assert not decision.allowed
    assert "cannot be asked for" in decision.message


@pytest.mark.parametrize(("text", "told"), [("SELECT 'hunter2'", True), ("SELECT 'back\\\\slash \u00e9'", False)])
async def test_an_approver_is_told_that_not_all_of_a_command_is_shown(case: Case, text: str, told: bool) -> None:
    sent: list[Any] = []

    def send(message: object) -> bool:
        sent.append(message)
        return True

    case.auditor._holds = Holds(send)
    case.engine.ruling = Ruling(Hold(), "guard")
    opened = case.open()
    opened.clean = lambda payload: json.dumps(json.loads(payload), ensure_ascii=False).encode()  # other bytes, the same
    command = SqlCommand(session=opened.session, action="read", text=text, kind="SELECT")
    waiting = asyncio.ensure_future(case.auditor.submit_async(opened, command))
    while not sent:
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert (HIDDEN in sent[0].request.unbound) is told
    assert b"hunter2" not in bytes(sent[0].request.command)


async def test_neither_a_preview_nor_a_policys_reason_tells_what_may_not_go_on_record(case: Case) -> None:
    sent: list[Any] = []

    def send(message: object) -> bool:
        sent.append(message)
        return True

    async def preview(command: Command) -> Preview:
        return Preview(kind="diff", text="+ password: hunter2\n+ mail: bob@example.com", reason="hunter2")

    case.auditor._holds = holds = Holds(send)
    case.engine.ruling = Ruling(Hold(reason="it says hunter2 to bob@example.com"), "guard")
    opened = case.open()
    opened.preview = preview
    opened.clean = lambda payload: payload.replace(b"bob@example.com", b"[email]")
    command = SqlCommand(session=opened.session, action="read", text="SELECT 1", kind="SELECT")
    waiting = asyncio.ensure_future(case.auditor.submit_async(opened, command))
    while len(sent) < 2:
        await asyncio.sleep(0)
        if len(sent) == 1:
            holds.received(HoldAnswer(sent[0].request.id, sent[0].request.id, "pending", expires_in=60.0))
    waiting.cancel()
    await asyncio.wait({waiting})
    assert sent[0].request.reason == "it says [redacted] to [email]"
    assert sent[1].preview == Preview(kind="diff", text="+ password: [redacted]\n+ mail: [email]", reason="[redacted]")


def test_a_kill_ends_every_session_that_it_stops_even_where_one_cannot_be_ended(case: Case) -> None:
    ended: list[str] = []

    def fail(reason: str) -> None:
        raise RuntimeError(reason)

    first, second = case.open(), case.open()
    first.on_kill, second.on_kill = fail, ended.append
    case.auditor._stops.killed((Kill(id="k", target="session", value="another"),))
    assert not ended
    run = first.session.run.id
    case.auditor._stops.killed((Kill(id="k", target="run", value=run, reason="leak"),))
    assert ended == ["onrecord:kill: stopped: leak"]
    refused = case.submit(first)
    assert not refused.allowed
    assert refused.ruling.policy == "onrecord:kill"
    with pytest.raises(RefusedError):
        case.open()
