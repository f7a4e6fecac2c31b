"""recordings/admin/archive_pages.py: runs and records, and who sees contents."""

from __future__ import annotations

import time

import pytest

from onrecord.policies.model import Identity, Outcome
from onrecord.recordings.evidence.merkle import leaf_hash
from onrecord.recordings.frames import HEADER, NO_ID, Kind, id_text, new_id
from onrecord.recordings.records import CommandRecord, SessionRecord, VerdictRecord, encode
from onrecord.recordings.store import Batch

HOSTILE = "<script>alert(1)</script>\u202e"


def leaf(kind, record, *, id=b"", session=NO_ID, command=NO_ID, at=0):
    at = at or time.time_ns()
    return HEADER.pack(1, kind, 0, id or new_id(at), session, command, at) + encode(record)


@pytest.fixture
def recorded(office):
    """A run with one command whose result holds something secret."""
    who = Identity(issuer="i", subject=HOSTILE, groups=("agents",))
    session, command = new_id(), new_id()
    opened = SessionRecord(run="run-9", identity=who, resource="orders", protocol="postgres", client="c")
    asked = CommandRecord(
        kind="sql",
        action="read",
        text="SELECT " + HOSTILE,
        detail={"parameters": ["param-secret"]},
        verdict=VerdictRecord(type="allow", policy="p"),
    )
    done = Outcome(status="ok", rows=1, sample={"columns": ["x"], "rows": [["row-secret"]]})
    leaves = [
        leaf(Kind.SESSION, opened, id=session),
        leaf(Kind.COMMAND, asked, id=command, session=session, command=command),
        leaf(Kind.OUTCOME, done, session=session, command=command),
    ]
    office.store.commit([Batch(leaves)])
    return id_text(command), leaves[1]


async def test_a_viewer_sees_what_was_asked_and_an_auditor_what_came_of_it(office, recorded):
    command, _ = recorded
    async with office.log_in("vic", "staff") as client:
        assert "run-9" in (await client.get("/runs")).text
        run = (await client.get("/run?id=run-9")).text
        assert "SELECT" in run
        html = (await client.get(f"/records/{command}")).text
        assert "SELECT" in html
        for secret in ("param-secret", "row-secret"):
            assert secret not in html + run
        assert 'id="no-contents"' in html
    async with office.log_in("ada", "security") as client:
        html = (await client.get(f"/records/{command}")).text
        assert "param-secret" in html
        assert "row-secret" in html
    looks = [record for record in office.journal() if record["kind"] == "LOOK" and record["what"] == "command"]
    assert [(look["identity"]["subject"], look["of"], set(look["parts"])) for look in looks] == [
        ("vic", command, {"text"}),
        ("ada", command, {"text", "detail", "result"}),
    ]


async def test_recorded_text_is_never_markup(office, recorded):
    command, _ = recorded
    async with office.log_in("ada", "security") as client:
        for path in ("/runs", "/run?id=run-9", f"/records/{command}"):
            html = (await client.get(path)).text
            assert "<script>" not in html
            assert "\u202e" not in html
            assert "⟨U+202E⟩" in html


async def test_a_huge_record_is_cut_and_says_so(office):
    session, command = new_id(), new_id()
    huge = CommandRecord(
        kind="sql",
        action="read",
        text="x" * 3_000_000,
        detail={"body": "y" * 3_000_000},
        verdict=VerdictRecord(type="allow", policy="p"),
    )
    office.store.commit([Batch([leaf(Kind.COMMAND, huge, id=command, session=session, command=command)])])
    async with office.log_in("ada", "security") as client:
        html = (await client.get(f"/records/{id_text(command)}")).text
    assert len(html) < 250_000
    assert "characters more" in html


async def test_a_record_shows_its_place_in_the_log(office, recorded):
    command, data = recorded
    async with office.log_in("ada", "security") as client:
        html = (await client.get(f"/records/{command}")).text
    assert leaf_hash(data).hex() in html
    assert "holds at this record" in html
    assert "covered by a signed tree of 3 records" in html


async def test_a_changed_record_is_seen(office, recorded):
    command, data = recorded
    other = data.replace(b"SELECT", b"DELETE")
    office.store._connection.execute("UPDATE records SET leaf = ? WHERE seq = 1", (other,))
    async with office.log_in("ada", "security") as client:
        html = (await client.get(f"/records/{command}")).text
    assert "BROKEN at this record" in html


async def test_a_checkpoint_of_another_key_is_seen(office, recorded):
    from onrecord.recordings.evidence.checkpoint import Signer

    (office.state / "evidence.vkey").write_text(Signer("onrecord/test", b"z" * 32).vkey)
    async with office.log_in("ada", "security") as client:
        html = (await client.get(f"/records/{recorded[0]}")).text
    assert "does NOT fit" in html


@pytest.mark.parametrize("path", ["/runs", "/run?id=run-9", "/records/00"])
async def test_approvers_alone_do_not_read_the_archive(office, recorded, path):
    async with office.log_in("dana", "dba") as client:
        assert (await client.get(path)).status_code == 403


@pytest.mark.parametrize("path", ["/run", "/run?id=none", "/records/zz", "/records/0123456789abcdef"])
async def test_what_is_not_there_is_said_so(office, recorded, path):
    async with office.log_in("vic", "staff") as client:
        assert (await client.get(path)).status_code == 404


async def test_a_store_that_cannot_be_read_is_said_so(office):
    office.store.close()
    office.config.recordings.store.write_bytes(b"no database")
    async with office.log_in("vic", "staff") as client:
        answer = await client.get("/runs")
    assert answer.status_code == 503
    assert "store" in answer.text
