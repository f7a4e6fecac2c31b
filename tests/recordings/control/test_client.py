"""recordings/control/client.py"""

from __future__ import annotations

import asyncio
import functools
import struct
from time import monotonic

import pytest

from onrecord.recordings.control import ControlServer
from onrecord.recordings.control.messages import MAX_TO_PROCESS, Commit, Heartbeat, Prepare, ToProcess, encode
from onrecord.recordings.control.sockets import bind
from onrecord.recordings.records import PolicyRecord
from tests.recordings.control import policies, process, serving, until


async def test_before_the_recorder_was_ever_heard_nothing_starts(tmp_path):
    async with process(tmp_path) as one:
        assert one.client.refusal == "the gateway's recorder does not answer"


async def test_after_two_silent_seconds_nothing_starts_until_the_recorder_is_heard_again(tmp_path):
    now = [1000.0]
    async with process(tmp_path, clock=lambda: now[0]) as one:
        async with serving(tmp_path) as server:
            server.propose(policies())
            await one.client.ready()
        await until(lambda: one.client._channel is None)
        said = []
        for seconds in (1.9, 0.2):
            now[0] += seconds
            said.append(one.client.refusal)
        assert said == [None, "the gateway's recorder does not answer"]
        async with serving(tmp_path) as server:
            await until(lambda: one.client.refusal is None)


async def test_a_new_recorder_with_the_same_policies_changes_nothing(tmp_path):
    source = "addons[0].__class__.n = getattr(addons[0], 'n', 0) + 1"
    async with process(tmp_path) as one:
        for _ in range(2):
            async with serving(tmp_path) as server:
                server.propose(policies(source))
                await until(functools.partial(following, server))
                await one.client.ready()
                loaded = one.engine._loaded
        assert one.engine._loaded is loaded
        assert len(one.records) == 1


def following(server: ControlServer) -> bool:
    """Whether a process is connected and runs the server's set."""
    status = server.status()
    return bool(status.peers) and status.peers[0].digest == status.digest


async def speak(tmp_path, *frames: bytes) -> tuple[list[PolicyRecord], str]:
    """A process's records after a recorder said `frames`, and whether the process dropped the connection."""
    sock = bind(tmp_path / "control.sock")
    loop = asyncio.get_running_loop()
    async with process(tmp_path) as one:
        peer, _ = await loop.sock_accept(sock)
        with sock, peer:
            peer.setblocking(False)
            for frame in (encode(Heartbeat(), MAX_TO_PROCESS), *frames):
                await loop.sock_sendall(peer, frame)
            ended = ""
            async with asyncio.timeout(10):
                try:
                    while await loop.sock_recv(peer, 65536):
                        pass
                    ended = "dropped"
                except ConnectionError:
                    ended = "dropped"
        return list(one.records), f"{ended} {one.client.refusal}"


@pytest.mark.parametrize(
    "junk",
    [b"\xff\xff\xff\xff", struct.pack(">I", 2) + b"{}", struct.pack(">I", 3) + b"abc"],
)
async def test_a_recorder_that_talks_nonsense_is_dropped(tmp_path, junk):
    assert await speak(tmp_path, junk) == ([], "dropped no policies are loaded")


async def test_a_heartbeat_that_lay_in_a_buffer_while_the_process_was_frozen_is_no_sign_of_life(tmp_path):
    source = policies()
    now = [1000.0]
    async with process(tmp_path, clock=lambda: now[0]) as one:
        async with serving(tmp_path) as server:
            server.propose(source)
            await until(lambda: one.client.refusal is None)
        await until(lambda: one.client._channel is None)
        now[0] += 2.1
        with bind(tmp_path / "control.sock") as sock:
            loop = asyncio.get_running_loop()
            peer, _ = await loop.sock_accept(sock)
            with peer:
                for frame in (Heartbeat(at=monotonic() - 2.1), Prepare(source.digest, source)):
                    await loop.sock_sendall(peer, encode(frame, MAX_TO_PROCESS))
                heard = b""
                while b"ready" not in heard:  # it has read both
                    heard += await loop.sock_recv(peer, 65536)
                assert one.client.refusal == "the gateway's recorder does not answer"
                await loop.sock_sendall(peer, encode(Heartbeat(), MAX_TO_PROCESS))
                await until(lambda: one.client.refusal is None)


async def test_a_commit_of_what_was_never_prepared_fails_closed(tmp_path):
    records, ended = await speak(tmp_path, encode(Commit("sha256:0"), MAX_TO_PROCESS))
    assert ended == "dropped no policies are loaded"
    assert "was not prepared" in records[0].error


async def test_a_set_that_does_not_match_its_digest_is_never_used(tmp_path):
    frames: list[ToProcess] = [Prepare("sha256:0", policies()), Commit("sha256:0"), Commit(policies().digest)]
    records, ended = await speak(tmp_path, *(encode(frame, MAX_TO_PROCESS) for frame in frames))
    assert ended == "dropped no policies are loaded"
    assert records[-1].error


async def test_ready_waits_for_the_first_commit(tmp_path):
    async with serving(tmp_path) as server, process(tmp_path) as one:
        await until(lambda: server.status().peers)
        waiting = asyncio.ensure_future(one.client.ready())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        server.propose(policies())
        await asyncio.wait_for(waiting, 10)
