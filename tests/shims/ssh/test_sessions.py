"""Sessions: one upstream connection, many channels, what is refused, and how a session ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from onrecord.scripts.parts.gateway import wait_until
from onrecord.scripts.parts.openssh import OpenSshPart
from tests.shims.ssh.conftest import LabMaker
from tests.shims.ssh.typing import terminal


def test_sixty_four_channels_share_one_connection_to_the_host(make_lab: LabMaker, sshd: OpenSshPart, tmp_path: Path):
    lab = make_lab()
    client = lab.client(ControlPath=str(tmp_path / "mux"))
    master = subprocess.Popen(
        client.command("-o", "ControlMaster=yes", "-N", "app1@gateway"), env=client.env, stdin=subprocess.DEVNULL
    )
    try:
        wait_until((tmp_path / "mux").exists, timeout=60)
        before = sshd.log().count("Accepted publickey")

        def one(number: int) -> bytes:
            return client.run("app1@gateway", f"sleep 2; cat; echo {number}", stdin=b"in\n", timeout=110).stdout

        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(one, range(64)))
        assert answers == [b"in\n%d\n" % number for number in range(64)]
        assert sshd.log().count("Accepted publickey") - before <= 1
    finally:
        master.terminate()
        master.wait()
    rows = lab.commands(finished=64)
    assert len({row["session"] for row in rows}) == 1


def test_the_exit_status_reaches_a_client_whose_input_has_ended(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    client = lab.client(ControlPath=str(tmp_path / "mux"), ControlMaster="auto", ControlPersist="30")
    for _ in range(30):
        assert client.run("app1@gateway", "exit 7").returncode == 7
    client.run("-O", "exit", "app1@gateway")
    assert {row["outcome"]["code"] for row in lab.commands(finished=30)} == {"7"}


def test_half_closed_standard_input_lets_output_go_on(make_lab: LabMaker):
    lab = make_lab()
    done = lab.client().run("app1@gateway", "cat >/dev/null; sleep 1; echo after", stdin=b"x" * 300_000)
    assert done.stdout == b"after\n"


def test_agent_and_x11_forwarding_are_refused_and_on_record(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    sock = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    try:
        wait_until(sock.exists, timeout=60)
        client = lab.client()
        client.env["SSH_AUTH_SOCK"] = str(sock)
        done = client.run("-A", "app1@gateway", "echo sock=$SSH_AUTH_SOCK")
        assert done.stdout == b"sock=\n"
    finally:
        agent.terminate()
        agent.wait()
    rows = lab.commands(finished=2)
    assert [(row["text"], row["verdict"]["type"]) for row in rows] == [
        ("(auth-agent-req@openssh.com)", "deny"),
        ("echo sock=$SSH_AUTH_SOCK", "allow"),
    ]


def test_only_listed_variables_go_on_to_the_host(make_lab: LabMaker):
    lab = make_lab(pass_env=["APP_MODE"])
    client = lab.client(SendEnv="LANG APP_MODE APP_OTHER")
    client.env |= {"LANG": "C.UTF-8", "APP_MODE": "test", "APP_OTHER": "x"}
    done = client.run("app1@gateway", "echo $LANG $APP_MODE $APP_OTHER")
    assert done.stdout == b"C.UTF-8 test\n"


def test_a_command_is_recorded_before_the_host_hears_of_it(make_lab: LabMaker):
    """The recorder is gone: what cannot be recorded is refused, with the reason, and a running session ends."""
    lab = make_lab()
    with terminal(lab.client(), "-T", "app1@gateway", "echo on; sleep 60") as screen:
        screen.wait("on")
        (recorder,) = [pid for pid in children(lab.gateway.process.pid) if "recordings.recorder" in command_line(pid)]
        os.kill(recorder, signal.SIGSTOP)
        try:
            screen.wait("the session ends: the gateway's recorder does not answer")
            assert screen.end() == 255
            done = lab.client().run("app1@gateway", "echo hi")
            assert (done.returncode, done.stdout) == (255, b"")
            assert b"the gateway's recorder does not answer" in done.stderr
        finally:
            os.kill(recorder, signal.SIGCONT)


def test_a_session_ends_with_its_token(make_lab: LabMaker):
    lab = make_lab()
    token = lab.gateway.setup.mint("devin", ttl=12.0)
    with terminal(lab.client(token), "-T", "app1@gateway", "echo on; sleep 60") as screen:
        screen.wait("on")
        screen.wait("the token has expired")
        assert screen.end() == 255
    (row,) = lab.commands(finished=1)
    assert (row["outcome"]["status"], row["outcome"]["error"]) == ("aborted", "the token has expired")


def test_a_client_that_leaves_ends_its_command(make_lab: LabMaker, sshd: OpenSshPart):
    lab = make_lab()
    before = sshd.log().count("Close session")
    with terminal(lab.client(), "-tt", "app1@gateway", "echo on; sleep 30") as screen:
        screen.wait("on")
        screen.process.kill()
    (row,) = lab.commands(finished=1)
    assert row["outcome"]["status"] == "aborted"
    wait_until(lambda: sshd.log().count("Close session") > before, timeout=60)


def test_a_host_that_goes_away_ends_the_session(make_lab: LabMaker):
    with OpenSshPart() as host:
        lab = make_lab(host=host)
        with terminal(lab.client(), "-T", "app1@gateway", "echo on; sleep 2; kill -9 $PPID; sleep 5") as screen:
            screen.wait("on")
            assert screen.end() == 255
        (row,) = lab.commands(finished=1)
        assert row["outcome"]["status"] == "aborted"


def test_one_connection_that_breaks_hurts_no_other(make_lab: LabMaker):
    lab = make_lab()
    with terminal(lab.client(), "-T", "app1@gateway", "echo on; sleep 20; echo still") as screen:
        screen.wait("on")
        for _ in range(5):
            broken = subprocess.Popen(
                lab.client().command("app1@gateway", "yes"), env=lab.client().env, stdout=subprocess.DEVNULL
            )
            time.sleep(0.5)
            broken.kill()
            broken.wait()
        screen.wait("still")
        assert screen.end() == 0


def test_a_connection_without_commands_opens_no_host(make_lab: LabMaker, sshd: OpenSshPart):
    lab = make_lab()
    before = sshd.log().count("Connection from")
    process = subprocess.Popen(
        lab.client().command("-N", "app1@gateway"), env=lab.client().env, stdin=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: lab.gateway.onrecord("sessions", "--json").stdout, timeout=60)
        assert sshd.log().count("Connection from") == before
    finally:
        process.terminate()
        process.wait()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
