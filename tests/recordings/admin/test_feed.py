"""recordings/admin/feed.py, live.py, events.py, roles.py: what changes is told once, to those whom it concerns."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from onrecord.policies.approvals import Approver
from onrecord.policies.config import AdminConfig
from onrecord.policies.config.types import ApprovalsConfig
from onrecord.recordings.admin import events, feed, live
from onrecord.recordings.admin.feed import Feed
from onrecord.recordings.admin.live import Change, Live
from onrecord.recordings.admin.notify.dispatch import Dispatcher
from onrecord.recordings.admin.roles import roles_of
from tests.recordings.admin.office import ORIGIN


class Announced(Dispatcher):
    def __init__(self):
        super().__init__()
        self.notices = []

    def announce(self, notice):
        self.notices.append(notice)

    def what(self):
        return [(notice.event, notice.state) for notice in self.notices]


@contextlib.asynccontextmanager
async def running(office):
    announced = Announced()
    task = asyncio.ensure_future(Feed(office.channel, office.site.live, announced, ORIGIN).run())
    await until(lambda: office.channel._listeners)
    yield announced
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(check):
    for _ in range(2000):
        if check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come")


def approver(subject="dana", *groups, **more):
    return Approver(issuer="i", subject=subject, groups=groups, kind=more.pop("kind", "human"), **more)


async def test_each_step_is_announced_once_without_payload(office):
    async with running(office) as announced, office.log_in("dana", "dba") as client:
        id = office.hold("DELETE FROM secrets", reason="it quotes DELETE FROM secrets")
        await until(lambda: announced.notices)
        office.desk.tick()
        await client.get("/approvals")
        headers = {"Authorization": f"Bearer {office.token('dana', 'dba')}"}
        async with office.client() as api:
            await api.post(f"/api/approvals/{id}/deny", json={"reason": "no"}, headers=headers)
        await until(lambda: len(announced.notices) == 2)
    assert announced.what() == [("pending", "pending"), ("decided", "refused")]
    notice = announced.notices[0]
    assert (notice.subject, notice.resource, notice.url) == ("devin", "orders", f"{ORIGIN}/approvals/{id}")
    assert "secrets" not in str(notice)


async def test_what_happened_while_the_recorder_was_away_is_found_by_looking_again(office, monkeypatch):
    monkeypatch.setattr(feed, "LOOK_AGAIN", 0.02)
    async with running(office) as announced:
        office.channel._synced.clear()  # nothing is told meanwhile
        office.hold()
        assert announced.notices == []
        office.channel._synced.set()
        await until(lambda: announced.notices)
    assert announced.what() == [("pending", "pending")]


async def test_a_kill_is_announced(office, monkeypatch):
    monkeypatch.setattr(feed, "LOOK_AGAIN", 0.02)
    async with running(office) as announced:
        await asyncio.sleep(0.1)
        await office.channel.kill("run", "run-1", approver("olga", "sre"), "x")
        await until(lambda: announced.notices)
    assert announced.what() == [("killed", "killed")]


async def read(client, count):
    """The first `count` events of a stream as (event, data)."""
    found = []
    async with client.stream("GET", "/events") as stream:
        name = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
                if len(found) >= count:
                    break
    return found


def concerns(office, client_cookie_session, change):
    return events.Events(office.site)._concerns(change, client_cookie_session)


async def test_a_stream_tells_of_approvals_that_its_person_may_see(office):
    from onrecord.recordings.admin.site import Visitor

    mine, other = office.hold(), office.hold(approvers=("leads",))
    async with office.log_in("dana", "dba"):
        session = next(iter(office.site.sessions._found.values()))
        visits = Visitor("c", session, session.person, roles_of(session.person, office.config))
    assert concerns(office, visits, Change(mine, "pending"))
    assert not concerns(office, visits, Change(other, "pending"))
    assert not concerns(office, visits, Change("unknown", "pending"))
    assert concerns(office, visits, Change())


async def test_a_stream_ends_with_its_session(office, monkeypatch):
    monkeypatch.setattr(events, "BEAT", 0.02)
    monkeypatch.setattr(events, "LONGEST", 5.0)
    async with office.log_in("dana", "dba") as client:
        cookie = client.cookies[office.site.cookie]
        asyncio.get_running_loop().call_later(0.1, office.site.sessions.end, cookie)
        assert await read(client, 2) == [("hello", {}), ("bye", {})]
    assert len(office.site.live) == 0


async def test_without_a_session_there_is_no_stream(office):
    async with office.client() as client:
        assert (await client.get("/events")).status_code == 204


def test_whoever_cannot_keep_up_is_told_that_anything_may_have_changed(monkeypatch):
    monkeypatch.setattr(live, "MAX_WAITING", 2)
    found = Live()
    with found.stream() as queue:
        assert queue is not None
        for number in range(3):
            found.tell(Change(str(number), "pending"))
        assert queue.get_nowait() == Change()
        assert queue.empty()


def test_streams_are_bounded(monkeypatch):
    monkeypatch.setattr(live, "MAX_STREAMS", 1)
    found = Live()
    with found.stream() as one, found.stream() as two:
        assert (one is not None, two) == (True, None)
    assert len(found) == 0


@pytest.mark.parametrize(
    ("roles", "approvers", "groups", "expected"),
    [
        ({}, (), ("any",), {"approver"}),
        ({"approver": ("dba",)}, (), ("any",), set()),
        ({"approver": ("dba",)}, (), ("dba",), {"approver", "operator"}),
        ({"approver": ("dba",), "operator": ("sre",)}, (), ("dba",), {"approver"}),
        ({"viewer": ("staff",), "auditor": ("staff",)}, ("dba",), ("staff",), {"viewer", "auditor", "approver"}),
        ({}, ("dba",), ("dba",), {"approver", "operator"}),
    ],
)
def test_roles_come_from_groups(office, roles, approvers, groups, expected):
    from msgspec.structs import replace

    config = replace(office.config, admin=AdminConfig(roles=roles), approvals=ApprovalsConfig(approvers=approvers))
    assert roles_of(approver("x", *groups), config) == expected
    assert roles_of(approver("x", *groups, kind="agent"), config) == set()
    assert roles_of(approver("x", *groups, on_behalf_of="y"), config) == set()
