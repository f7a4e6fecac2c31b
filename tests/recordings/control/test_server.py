"""recordings/control/server.py, with real sockets and real engines."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys

import pytest

from onrecord.policies.errors import PolicyError
from onrecord.recordings.control.messages import MAX_TO_RECORDER, PROTOCOL, Hello, Ready, Refusals, encode
from onrecord.recordings.control.sockets import connect
from tests.recordings.control import policies, process, serving, until


async def test_two_processes_swap_together(tmp_path):
    async with serving(tmp_path) as server, process(tmp_path, "a") as a, process(tmp_path, "b") as b:
        await until(lambda: len(server.status().peers) == 2)
        server.propose(policies())
        await a.client.ready()
        await b.client.ready()
        assert a.engine.digest == b.engine.digest == server.status().digest == policies().digest
        assert (a.client.refusal, b.client.refusal) == (None, None)


async def test_where_one_process_cannot_compile_none_swaps(tmp_path):
    async with serving(tmp_path) as server, process(tmp_path, "a") as a, process(tmp_path, "b") as b:
        await until(lambda: len(server.status().peers) == 2)
        server.propose(policies())
        await a.client.ready()
        await b.client.ready()
        good = a.engine.digest

        def cannot(policy_set: object) -> None:
            raise OSError("no memory here")

        b.engine.prepare = cannot  # type: ignore[method-assign]
        server.propose(policies("return 1"))
        await until(lambda: a.engine.stale_error and b.engine.stale_error)
        assert a.engine.digest == b.engine.digest == server.status().digest == good
        assert server.status().error == "process b: no memory here"
        assert a.records[-1].error == "process b: no memory here"
        del b.engine.prepare
        server.propose(policies("return 1"))
        await until(lambda: not a.engine.stale_error and not b.engine.stale_error)
        assert a.engine.digest == b.engine.digest == policies("return 1").digest


async def test_a_set_put_back_as_it_was_clears_the_failure(tmp_path):
    async with serving(tmp_path) as server, process(tmp_path) as one:
        server.propose(policies())
        await one.client.ready()
        server.propose(policies("return ("))
        await until(lambda: one.engine.stale_error)
        server.propose(policies())
        await until(lambda: not one.engine.stale_error)
        assert [record.error != "" for record in one.records] == [False, True, False]
        assert one.records[0].files == ("p",)


async def test_a_process_that_comes_later_gets_the_good_set_and_the_failure_with_its_age(tmp_path):
    async with serving(tmp_path) as server:
        server.propose(policies())
        server.fail("p.py: cannot be read")
        async with process(tmp_path) as late:
            await late.client.ready()
            await until(lambda: late.engine.stale_error)
            assert late.engine.digest == policies().digest


async def test_while_no_set_was_ever_good_a_process_is_told_and_waits(tmp_path):
    async with serving(tmp_path) as server:
        server.fail("p.py: does not compile")
        async with process(tmp_path) as one:
            await until(lambda: one.records)
            assert one.records[0].error == "p.py: does not compile"
            assert one.client.refusal == "no policies are loaded"
            with pytest.raises(PolicyError, match="does not compile"):
                await one.client.ready()
            server.propose(policies())
            await until(lambda: one.client.refusal is None)
            await one.client.ready()
            assert one.client.refusal is None


async def test_a_first_set_that_does_not_compile_leaves_every_process_refusing(tmp_path):
    async with serving(tmp_path) as server:
        server.propose(policies("return ("))
        async with process(tmp_path) as one:
            await until(lambda: one.records)
            assert one.client.refusal == "no policies are loaded"
            with pytest.raises(PolicyError, match="does not compile"):
                await one.client.ready()
            server.propose(policies())
            await until(lambda: one.client.refusal is None)
            await one.client.ready()


async def test_a_process_that_does_not_answer_fails_the_round(tmp_path):
    async with serving(tmp_path, round_timeout=0.1) as server, process(tmp_path, "quick") as quick:
        with connect(tmp_path / "control.sock") as mute:
            mute.send(encode(Hello("mute", 1), MAX_TO_RECORDER))
            await until(lambda: len(server.status().peers) == 2)
            server.propose(policies())
            await until(lambda: server.status().error)
            assert server.status().error == "no answer within 0.1 s from mute"
            assert quick.engine.digest == ""


async def test_a_process_that_hangs_is_cut_off_and_the_others_get_the_policies(tmp_path):
    async with serving(tmp_path, round_timeout=0.1, retry_after=0.01) as server, process(tmp_path, "quick") as quick:
        with connect(tmp_path / "control.sock") as mute:
            mute.send(encode(Hello("mute", 1), MAX_TO_RECORDER))
            await until(lambda: len(server.status().peers) == 2)
            server.propose(policies())
            await until(lambda: quick.engine.digest == policies().digest)
            assert not server.status().error
            assert [peer.process for peer in server.status().peers] == ["quick"]


async def test_a_process_that_dies_while_loading_does_not_make_a_set_good(tmp_path):
    new = policies("return 1")
    async with serving(tmp_path, retry_after=30.0) as server, process(tmp_path, "lives") as lives:
        await until(lambda: server.status().peers)
        server.propose(policies())
        await lives.client.ready()
        for _ in range(3):  # each dies of the same set: it is not tried again
            with connect(tmp_path / "control.sock") as dying:
                dying.send(encode(Hello("dies", 1), MAX_TO_RECORDER))
                await until(lambda: len(server.status().peers) == 2)
                server.propose(new)
            await until(lambda: len(server.status().peers) == 1)
            await until(lambda: server._round is None)
        assert server._retry is None
        assert server.status().error == "process dies ended while it loaded them"
        assert server.status().digest == lives.engine.digest == policies().digest


async def test_a_process_that_only_happened_to_end_while_loading_costs_one_retry(tmp_path):
    async with serving(tmp_path, retry_after=0.01) as server, process(tmp_path, "lives") as lives:
        with connect(tmp_path / "control.sock") as ends:
            ends.send(encode(Hello("ends", 1), MAX_TO_RECORDER))
            await until(lambda: len(server.status().peers) == 2)
            server.propose(policies())
        await until(lambda: lives.client.refusal is None)
        assert server.status().error == ""


async def test_a_socket_that_a_cleaner_removed_is_made_again_and_who_was_connected_stays(tmp_path):
    path = tmp_path / "control.sock"
    async with serving(tmp_path) as server, process(tmp_path, "old") as old:
        server.propose(policies())
        await until(lambda: old.client.refusal is None)
        path.unlink()
        async with process(tmp_path, "new") as new:
            await until(lambda: new.client.refusal is None)
            assert [peer.process for peer in server.status().peers] == ["new", "old"]
            assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_a_set_of_which_every_process_died_does_not_become_good_for_want_of_witnesses(tmp_path):
    new = policies("return 1")
    async with serving(tmp_path, retry_after=0.01) as server:
        server.propose(policies())
        with connect(tmp_path / "control.sock") as dies:
            dies.send(encode(Hello("dies", 1), MAX_TO_RECORDER))
            await until(lambda: server.status().peers)
            server.propose(new)
        await until(lambda: not server.status().peers)
        await asyncio.sleep(0.05)
        assert server.status().digest == policies().digest
        async with process(tmp_path) as comes:
            await until(lambda: comes.engine.digest == new.digest)
            assert server.status().error == ""


async def test_a_process_that_joins_in_the_middle_of_a_round_ends_up_with_the_result(tmp_path):
    async with serving(tmp_path) as server:
        with connect(tmp_path / "control.sock") as slow:
            slow.send(encode(Hello("slow", 1), MAX_TO_RECORDER))
            await until(lambda: server.status().peers)
            new = policies()
            server.propose(new)
            async with process(tmp_path, "joins") as joins:
                await until(lambda: len(server.status().peers) == 2)
                assert joins.engine.digest == ""
                slow.send(encode(Ready(new.digest, ok=True), MAX_TO_RECORDER))
                await joins.client.ready()
                assert joins.engine.digest == new.digest


async def test_the_store_status_reaches_processes(tmp_path):
    async with serving(tmp_path) as server, process(tmp_path) as one:
        server.propose(policies())
        await one.client.ready()
        server.set_store_status("disk is full: /state/recordings.db")
        await until(lambda: one.client.refusal)
        assert one.client.refusal == "recordings cannot be stored now"
        server.set_store_status(None)
        await until(lambda: one.client.refusal is None)


async def test_refusals_that_could_not_be_recorded_are_reported(tmp_path):
    heard: list[tuple[str, Refusals]] = []
    async with serving(tmp_path, on_message=lambda name, message: heard.append((name, message))) as server:
        async with process(tmp_path, "postgres") as one:
            await until(lambda: server.status().peers)
            assert one.client.report_refusals(3, "no space left")
            await until(lambda: heard)
        assert heard == [("postgres", Refusals(3, "no space left"))]
        assert not one.client.report_refusals(1, "x")


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x02{}",
        b"\xff" * 100,
        encode(Ready("sha256:0", ok=True), MAX_TO_RECORDER),
        encode(Hello("a", 1), MAX_TO_RECORDER) * 2,
        encode(Hello("", 1), MAX_TO_RECORDER),
        encode(Hello("a", 1, protocol=PROTOCOL + 1), MAX_TO_RECORDER),
    ],
)
async def test_junk_ends_its_own_connection_only(tmp_path, junk):
    async with serving(tmp_path) as server, process(tmp_path) as one:
        server.propose(policies())
        await one.client.ready()
        with connect(tmp_path / "control.sock") as sock:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, junk)
            async with asyncio.timeout(10):
                try:
                    while await loop.sock_recv(sock, 65536):
                        pass
                except ConnectionError:
                    pass
        await until(lambda: len(server.status().peers) == 1)
        assert one.client.refusal is None


async def test_who_says_nothing_is_disconnected(tmp_path):
    async with serving(tmp_path, hello_timeout=0.05):
        with connect(tmp_path / "control.sock") as sock:
            async with asyncio.timeout(10):
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""


async def test_who_does_not_read_is_disconnected_and_memory_stays_bounded(tmp_path):
    async with serving(tmp_path) as server:
        with connect(tmp_path / "control.sock") as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.send(encode(Hello("deaf", 1), MAX_TO_RECORDER))
            await until(lambda: server.status().peers)
            for number in range(30):
                server.propose(policies("return '" + "x" * 900_000 + f"{number}'"))
                if not server._connections:
                    break
                await asyncio.sleep(0)
            await until(lambda: not server.status().peers)


async def test_the_socket_goes_when_the_server_closes(tmp_path):
    async with serving(tmp_path):
        assert (tmp_path / "control.sock").is_socket()
    assert not (tmp_path / "control.sock").exists()


LOOPS = """
import asyncio, sys, tempfile
from pathlib import Path
from tests.recordings.control import policies, process, serving
async def main():
    if sys.argv[1] == "eager":
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder)) as server, process(Path(folder)) as one:
            server.propose(policies())
            await asyncio.wait_for(one.client.ready(), 20)
            assert one.client.refusal is None
            print("good")
if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "eager", "uvloop"])
def test_it_works_in_every_loop_the_gateway_uses(loop):
    ran = subprocess.run([sys.executable, "-W", "error", "-c", LOOPS, loop], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("good\n", "")
