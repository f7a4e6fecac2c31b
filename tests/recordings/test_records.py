"""Payloads: what is written is read, later fields are welcome, missing ones are not guessed."""

from __future__ import annotations

import typing

import msgspec
import pytest

from onrecord.policies.approvals import Approver
from onrecord.policies.kills import Kill
from onrecord.policies.model import Identity, Outcome
from onrecord.policies.verdict import Allow, Deny, Hold, Verdict
from onrecord.recordings.records import (
    ApprovalRecord,
    ChunkRecord,
    CommandRecord,
    GapRecord,
    KillRecord,
    LookRecord,
    PolicyRecord,
    ProcessRecord,
    Record,
    RefusalRecord,
    SessionEndRecord,
    SessionRecord,
    VerdictRecord,
    verdict_record,
)

WHO = Identity(issuer="i", subject="s", groups=("g",), on_behalf_of="h", kind="human", expires_at=1.5)
ALLOW = VerdictRecord(type="allow", policy="p")
EXAMPLES: list[Record] = [
    ProcessRecord(process="gateway-0", pid=1, version="1"),
    SessionRecord(run="r", identity=WHO, resource="o", protocol="http", client="c", digest_key="00"),
    CommandRecord(kind="sql", action="read", text="t", detail={"a": [1, None]}, verdict=ALLOW),
    ChunkRecord(direction="to_client", size=3, data="abc"),
    Outcome(status="ok", sample=[["x"]], masked={"email": 2}),
    SessionEndRecord(reason="r", commands=3),
    RefusalRecord(what="w", reason="r", protocol="p", client="c", identity=WHO),
    PolicyRecord(digest="d", files=("f",)),
    GapRecord(refusals=1, since=2, reason="r"),
    LookRecord(identity=WHO, what="command", client="c", of="id", parts=("result",)),
    ApprovalRecord(approval="a", event="granted", by=Approver(issuer="i", subject="s", kind="human")),
    KillRecord(event="killed", kill=Kill(id="k", target="run", value="r")),
]


def test_there_is_an_example_of_every_record() -> None:
    assert {type(record) for record in EXAMPLES} == set(typing.get_args(Record))


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_a_record_survives_and_later_fields_are_ignored(record: Record) -> None:
    data = msgspec.json.encode(record)
    if isinstance(record, CommandRecord):  # read by views, which take the detail as it is
        assert msgspec.json.decode(data)["detail"] == record.detail
        return
    assert msgspec.json.decode(data, type=type(record)) == record
    more = data[:-1] + (b"," if len(data) > 2 else b"") + b'"later": 1}'
    assert msgspec.json.decode(more, type=type(record)) == record
    with pytest.raises(msgspec.ValidationError, match="required"):
        msgspec.json.decode(b"{}", type=type(record))


@pytest.mark.parametrize("verdict", [Allow(), Deny("no", "hint"), Hold("dba", "why")])
def test_a_verdict_is_recorded_whole(verdict: Verdict) -> None:
    record = verdict_record(verdict, "guard", "sha256:0", applied=False)
    assert record.type == type(verdict).__name__.lower()
    assert (record.policy, record.policies, record.applied) == ("guard", "sha256:0", False)
    for name in ("reason", "hint", "approvers"):
        assert getattr(record, name) == getattr(verdict, name, "")
