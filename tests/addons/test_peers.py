"""What the gateway knows of each client connection, without a connection."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from onrecord.addons.peers import Peers
from onrecord.policies.model import Identity, Resource

AGENT = Identity(issuer="onrecord:dev", subject="agent-7", groups=("agents",), token_id="t1")


class Record:
    """Stands in for the auditor and for what counts refusals: remembers what it was told."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, str, str]] = []
        self.opened: list[str] = []
        self.ended: list[str] = []

    def record(self, address: str, refusal: Any) -> str:
        self.refused.append((address, refusal.client, refusal.reason))
        return ""

    def open_session(self, _: Identity, resource: Resource, **__: Any) -> Any:
        self.opened.append(resource.name)
        return SimpleNamespace(resource=resource)

    def end_session(self, opened: Any, reason: str) -> None:
        self.ended.append(f"{opened.resource.name}: {reason}")


class Scene:
    """Peers, their record, and the connections that mitmproxy would hold."""

    def __init__(self, limit: int = 2) -> None:
        self.record = Record()
        self.auditor = cast(Any, self.record)
        self.cancelled: list[str] = []
        self.handlers: dict[Any, Any] = {}
        self.peers = Peers(
            lambda: self.handlers, limit=limit, handshake_timeout=60, grace=5, refusals=cast(Any, self.record)
        )

    def add(self, id: str, host: str = "127.0.0.1") -> Any:
        task = SimpleNamespace(cancel=self.cancelled.append)
        transport = SimpleNamespace(writer=object(), handler=task)
        self.handlers[id] = SimpleNamespace(is_blocked=False, transports={"client": transport, "upstream": transport})
        return self.peers.add(cast(Any, SimpleNamespace(id=id, peername=(host, 5000))))


def route(name: str) -> Any:
    return SimpleNamespace(resource=Resource(name=name, type="http"), host=name, port=443)


async def test_past_the_limit_no_connection_is_taken_and_that_is_on_record() -> None:
    scene = Scene(limit=1)
    one = scene.add("one")
    assert scene.add("two", "::1") is None
    assert scene.record.refused == [("::1", "[::1]:5000", "there are 1 connections already")]
    scene.peers.remove("one", scene.auditor)
    assert one.head_timer.cancelled()
    assert scene.add("three") is not None
    scene.peers.remove("three", scene.auditor)


async def test_a_killed_connection_is_blocked_with_its_first_reason_and_closed_with_its_upstreams() -> None:
    scene = Scene()
    one = scene.add("one")
    scene.peers.kill("one", "first")
    scene.peers.kill("one", "second")
    assert one.blocked == "first"
    assert scene.handlers["one"].is_blocked
    assert scene.cancelled[:2] == ["first", "first"]
    scene.peers.note("one", "late")  # what comes behind the end is no new event
    assert scene.record.refused == []
    scene.peers.remove("one", scene.auditor)
    scene.peers.kill("one", "gone")


async def test_a_session_is_opened_once_a_resource_and_ends_with_the_connection() -> None:
    scene = Scene()
    one = scene.add("one")
    with pytest.raises(RuntimeError, match="without an identity"):
        scene.peers.session(one, route("api"), scene.auditor)
    scene.peers.identify(one, AGENT, "token", "agent", scene.auditor)
    first = scene.peers.session(one, route("api"), scene.auditor)
    assert scene.peers.session(one, route("api"), scene.auditor) is first
    scene.peers.session(one, route("second"), scene.auditor)
    told: list[str] = []
    one.on_close.append(told.append)
    scene.peers.remove("one", scene.auditor)
    scene.peers.remove("one", scene.auditor)
    assert scene.record.opened == ["api", "second"]
    assert scene.record.ended == ["api: the client disconnected", "second: the client disconnected"]
    assert told == ["the client disconnected"]
    assert (len(scene.peers), scene.peers.get("one")) == (0, None)


async def test_a_fresh_token_ends_the_sessions_of_the_old_one() -> None:
    scene = Scene()
    one = scene.add("one")
    scene.peers.identify(one, AGENT, "token", "agent", scene.auditor)
    scene.peers.session(one, route("api"), scene.auditor)
    scene.peers.identify(one, AGENT, "fresh", "agent", scene.auditor)
    assert scene.record.ended == ["api: the client came with a fresh token"]
    assert (one.sessions, one.is_same_token("fresh"), one.is_same_token("token")) == ({}, True, False)
    assert b"fresh" not in one.token
    scene.peers.remove("one", scene.auditor)


async def test_an_expiry_is_set_anew_by_each_token_and_none_is_left_behind() -> None:
    scene = Scene()
    one = scene.add("one")
    timers = []
    for _ in range(2):
        identity = Identity(issuer="i", subject="s", expires_at=time.time() + 600)
        scene.peers.identify(one, identity, "token", "agent", scene.auditor)
        timers.append(one.expiry_timer)
    assert [timer.cancelled() for timer in timers] == [True, False]
    scene.peers.remove("one", scene.auditor)
    assert timers[1].cancelled()


async def test_a_drain_cuts_all_connections_takes_no_more_and_says_why() -> None:
    scene = Scene()
    for name in ("one", "two"):
        peer = scene.add(name)
        scene.peers.identify(peer, AGENT, "token", "agent", scene.auditor)
        scene.peers.session(peer, route(name), scene.auditor)
    await scene.peers.drain("the gateway was stopped", scene.auditor, patience=0.0)
    assert scene.cancelled == ["the gateway was stopped"] * 4
    assert scene.record.ended == ["one: the gateway was stopped", "two: the gateway was stopped"]
    assert scene.add("three") is None
    assert len(scene.peers) == 0
