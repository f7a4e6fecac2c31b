"""exec, attach, cp and port-forward with the real kubectl: 1.37 over WebSocket, and Debian's 1.20 over SPDY/3.1."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onrecord.recordings.frames import Kind
from onrecord.scripts.parts.kube_api import KubeApi
from onrecord.scripts.parts.kube_streams import Streams
from tests.addons.kubernetes_api.cluster import HOST, KUBECTL, TOKEN, Cluster, cluster
from tests.helpers import wait_until

ROOT = Path(__file__).resolve().parents[4]
POLICY = """
from onrecord.policies import Deny


class Rules:
    def kubernetes(self, command):
        if command.argv and command.argv[-1] == "forbidden":
            return Deny("that is not for agents", hint="ask for it")
        if command.subresource == "portforward" and command.body == {"port": 22}:
            return Deny("port 22 is not for agents")
        return None


addons = [Rules()]
"""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"containers": [{"name": "app", "image": "nginx:1", "stdin": True, "tty": False}]},
    "status": {"phase": "Running"},
}


class Echo(threading.Thread):
    """A TCP server that gives back what it gets, in upper case."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._echo, args=(client,), daemon=True).start()

    def _echo(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := client.recv(65536):
                client.sendall(data.upper())

    def close(self) -> None:
        self._socket.close()


@dataclasses.dataclass
class Pods:
    """A cluster whose pods run things."""

    parts: Cluster
    streams: Streams

    def client(self, version: str) -> Cluster:
        return dataclasses.replace(self.parts, program=KUBECTL if version == "1.37" else old_kubectl())


def old_kubectl() -> str:
    done = subprocess.run([str(ROOT / "scripts/setup-kubectl")], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextlib.contextmanager
def pods(folder: Path, **more: Any) -> Iterator[Pods]:
    (folder / "pod").mkdir()
    api = KubeApi(HOST, tokens=[TOKEN])
    streams = api.streams = Streams(folder / "pod")
    api.add(POD)
    echo = Echo()
    streams.ports[7] = echo.port
    with cluster(folder, api=api, policies=[POLICY], **more) as parts:
        yield Pods(parts, streams)
    echo.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    with pods(tmp_path_factory.mktemp("streams")) as made:
        yield made


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    masks = [{"detect": ["email"], "strategy": "redact"}]
    with pods(tmp_path_factory.mktemp("masked"), masks=masks) as made:
        yield made


def chunks(parts: Cluster, text: str) -> list[dict[str, Any]]:
    """The chunks of the last command with this text."""
    records = parts.gateway.records()
    ids = [r.command for r in records if r.kind is Kind.COMMAND and r.payload["text"] == text]
    return [r.payload for r in records if r.kind is Kind.CHUNK and r.command == ids[-1]]


def channel(parts: Cluster, text: str, name: str) -> str:
    found = [chunk["data"] for chunk in chunks(parts, text) if chunk.get("channel") == name and chunk.get("data")]
    return "".join(found)


@pytest.fixture(params=["1.37", "1.20"])
def kubectl(request: pytest.FixtureRequest, shared: Pods) -> Cluster:
    return shared.client(request.param)


def test_exec_has_its_output_its_errors_and_its_exit_code(kubectl: Cluster) -> None:
    done = kubectl.kubectl("exec", "-i", "web", "--", "sh", "-c", "cat; echo wrong >&2; exit 3", input="hello\n")
    assert (done.returncode, done.stdout) == (3, "hello\n"), done.stderr
    assert done.stderr.startswith("wrong\n")
    text = "kubectl exec web -n shop -c app -i -- sh -c 'cat; echo wrong >&2; exit 3'"
    command = [command for command in kubectl.commands() if command["text"] == text][-1]
    assert command["detail"]["argv"] == ["sh", "-c", "cat; echo wrong >&2; exit 3"]
    assert command["detail"]["subresource"] == "exec"
    outcome = kubectl.gateway.outcome(text)
    assert (outcome["status"], outcome["code"]) == ("error", "3")
    assert [channel(kubectl, text, name) for name in ("stdin", "stdout", "stderr")] == ["hello\n", "hello\n", "wrong\n"]


def test_a_new_kubectl_that_is_told_to_speak_spdy_is_served_too(shared: Pods) -> None:
    parts = shared.client("1.37")
    spdy = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}
    done = parts.kubectl("exec", "-i", "web", "--", "sh", "-c", "cat; exit 6", input="over spdy\n", env=spdy)
    assert (done.returncode, done.stdout) == (6, "over spdy\n"), done.stderr
    last = [entry for entry in shared.parts.api.audit if "/exec" in entry.uri][-1]
    assert dict(last.headers)["upgrade"] == "SPDY/3.1"


def test_a_cluster_that_speaks_spdy_only_is_reached_by_a_new_kubectl(shared: Pods) -> None:
    shared.streams.websockets = False
    try:
        assert shared.client("1.37").run("exec", "web", "--", "echo", "fell back") == "fell back\n"
    finally:
        shared.streams.websockets = True


def test_exec_that_goes_well_is_ok_with_code_0(kubectl: Cluster) -> None:
    assert kubectl.run("exec", "web", "--", "echo", "fine") == "fine\n"
    outcome = kubectl.gateway.outcome("kubectl exec web -n shop -c app -- echo fine")
    assert (outcome["status"], outcome["code"], outcome["bytes"]) == ("ok", "0", 5)


def test_a_denied_exec_never_reaches_the_cluster(kubectl: Cluster) -> None:
    before = len(kubectl.api.audit)
    done = kubectl.kubectl("exec", "web", "--", "echo", "forbidden")
    assert done.returncode == 1
    assert "that is not for agents" in done.stderr
    assert not any("/exec" in entry.uri for entry in kubectl.api.audit[before:])


def test_cp_goes_both_ways(kubectl: Cluster, tmp_path: Path) -> None:
    content = os.urandom(1_500_000)
    (tmp_path / "there.bin").write_bytes(content)
    kubectl.run("cp", str(tmp_path / "there.bin"), "web:cp-target.bin")
    kubectl.run("cp", "web:cp-target.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == content
    sent = [command["detail"]["argv"][:2] for command in kubectl.commands() if command["detail"].get("argv")]
    assert ["tar", "cf"] in sent


def test_attach_is_recorded_like_exec(kubectl: Cluster) -> None:
    done = kubectl.kubectl("attach", "-i", "web", input="typed\n")
    assert "attached" in done.stdout, done.stderr
    assert "typed" in done.stdout
    text = "kubectl attach web -n shop -c app -i"
    assert channel(kubectl, text, "stdin") == "typed\n"
    assert channel(kubectl, text, "stdout") == "attached\ntyped\n"


class Terminal:
    """kubectl on a terminal of ours."""

    def __init__(self, parts: Cluster, *arguments: str, columns: int, rows: int) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            [parts.program, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=parts.environment(),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  its terminal, for SIGWINCH
        )
        os.close(slave)
        self.seen = ""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, pattern: str) -> None:
        deadline = time.monotonic() + 60
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.seen!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:
                    assert re.search(pattern, self.seen), self.seen
                    return

    def end(self) -> int:
        with contextlib.suppress(OSError):
            while select.select([self.master], [], [], 10)[0] and os.read(self.master, 65536):
                pass
        code = self.process.wait(30)
        os.close(self.master)
        return code


def test_a_shell_on_a_terminal_with_a_resize_is_recorded_whole(kubectl: Cluster) -> None:
    shell = Terminal(kubectl, "exec", "-it", "web", "--", "sh", columns=91, rows=27)
    shell.expect(r"\$ ")
    shell.type("stty size\r")
    shell.expect("27 91")
    shell.resize(101, 33)
    os.kill(shell.process.pid, signal.SIGWINCH)

    def resized() -> bool:
        shell.type("stty size\r")
        time.sleep(0.3)
        with contextlib.suppress(AssertionError):
            shell.expect("33 101")
        return "33 101" in shell.seen

    wait_until(resized, timeout=60, what="the new size")
    shell.type("exit 5\r")
    assert shell.end() == 5
    text = "kubectl exec web -n shop -c app -i -t -- sh"
    outcome = kubectl.gateway.outcome(text)
    assert outcome["code"] == "5"
    sizes = [chunk["data"] for chunk in chunks(kubectl, text) if chunk.get("channel") == "resize"]
    assert sizes[0] == {"columns": 91, "rows": 27}
    assert {"columns": 101, "rows": 33} in sizes
    recorded = channel(kubectl, text, "terminal")
    assert "27 91" in recorded
    assert "exit 5\r" in recorded


def onrecord(parts: Cluster, *arguments: str) -> str:
    """What an `onrecord` command prints about this gateway's store."""
    done = subprocess.run(
        [sys.executable, "-m", "onrecord.scripts.main", *arguments, "-c", str(parts.gateway.setup.path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **parts.gateway.setup.env, "COLUMNS": "160"},
    )
    return done.stdout if done.returncode == 0 else ""


def test_a_session_is_replayed_from_the_store(kubectl: Cluster) -> None:
    script = "while test \"$(stty size)\" = '0 0'; do sleep 0.1; done; stty size; echo on-a-terminal"
    shell = Terminal(kubectl, "exec", "-it", "web", "--", "sh", "-c", script, columns=77, rows=21)
    shell.expect("on-a-terminal")
    shell.end()
    kubectl.run("label", "pod", "web", f"replayed=by-{kubectl.program.count('1.20')}", "--overwrite")
    text = f"kubectl exec web -n shop -c app -i -t -- sh -c {shlex.quote(script)}"
    kubectl.gateway.outcome(text)
    id = [record.id for record in kubectl.gateway.records(Kind.COMMAND) if record.payload["text"] == text][-1]

    def replayed() -> str:
        out = onrecord(kubectl, "replay", id, "--no-wait")
        return out if "on-a-terminal\n" in out and "ok" in out else ""

    out = str(wait_until(replayed, timeout=60, what="the command in the store"))
    assert "  21 77" in out.splitlines()
    assert "/api/v1/namespaces/shop/pods/web/exec?" in out.replace("\n", "")
    cast = onrecord(kubectl, "export", id, "--format", "cast")
    assert json.loads(cast.splitlines()[0])["version"] in (2, 3)
    assert "on-a-terminal" in cast
    run = json.loads(onrecord(kubectl, "show", id, "--json"))["run"]
    assert '+      "replayed": ' in onrecord(kubectl, "replay", run, "--no-wait")


@contextlib.contextmanager
def forwarding(parts: Cluster, port: int) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [parts.program, "port-forward", "pod/web", f":{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=parts.environment(),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"127\.0\.0\.1:(\d+) ->", line)
        assert match, line
        yield int(match[1]), process
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def ask(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.settimeout(30)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
        return answer


def test_port_forward_carries_several_connections_and_counts_them(kubectl: Cluster) -> None:
    with forwarding(kubectl, 7) as (port, _):
        assert ask(port, b"first") == b"FIRST"
        large = b"x" * 300_000
        assert ask(port, large) == large.upper()
        answers: list[bytes] = []
        threads = [threading.Thread(target=lambda n=n: answers.append(ask(port, b"n%d" % n))) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(answers) == [b"N%d" % n for n in range(8)]
    text = "kubectl port-forward web -n shop 7"
    outcome = kubectl.gateway.outcome(text)
    assert outcome["bytes"] == 5 + 300_000 + 16
    kept = chunks(kubectl, text)
    assert any(chunk.get("data") == "first" and "opaque" in chunk["note"] for chunk in kept)
    assert sum(chunk["size"] for chunk in kept if chunk["direction"] == "to_upstream") == 5 + 300_000 + 16
    assert kubectl.gateway.outcome("kubectl port-forward web -n shop")["code"] == "101"


def test_a_port_that_policy_denies_is_not_dialled(kubectl: Cluster) -> None:
    with forwarding(kubectl, 22) as (port, process):
        with contextlib.suppress(OSError):
            assert ask(port, b"SSH-2.0") == b""
        assert process.stdout is not None
        told = ""
        deadline = time.monotonic() + 30
        while "port 22 is not for agents" not in told and time.monotonic() < deadline:
            told += process.stdout.readline()
        assert "port 22 is not for agents" in told
    assert kubectl.gateway.outcome("kubectl port-forward web -n shop 22")["status"] == "refused"


def test_a_killed_client_ends_the_process_in_the_pod(kubectl: Cluster, shared: Pods) -> None:
    before = shared.streams.open
    process = subprocess.Popen(
        [kubectl.program, "exec", "web", "--", "sh", "-c", "echo begun; sleep 1000"],
        stdout=subprocess.PIPE,
        env=kubectl.environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    assert shared.streams.open == before + 1
    process.kill()
    process.wait(30)
    process.stdout.close()
    wait_until(lambda: shared.streams.open == before, timeout=60, what="the stream's end upstream")
    outcome = kubectl.gateway.outcome("kubectl exec web -n shop -c app -- sh -c 'echo begun; sleep 1000'")
    assert outcome["status"] == "aborted"


@pytest.mark.parametrize("version", ["1.37", "1.20"])
def test_output_is_masked_before_delivery_and_record(masked: Pods, version: str) -> None:
    parts = masked.client(version)
    script = "printf 'mail ann@exa'; sleep 0.5; echo mple.com; echo bob@example.org >&2; printf end"
    done = parts.kubectl("exec", "web", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert "ann@" not in done.stdout
    assert "bob@" not in done.stderr
    assert done.stdout.startswith("mail ")
    assert done.stdout.endswith("end")
    everything = repr([record.payload for record in parts.gateway.records() if record.kind is Kind.CHUNK])
    assert "ann@" not in everything
    assert "bob@" not in everything


@pytest.mark.parametrize("version", ["1.37", "1.20"])
def test_a_terminal_is_masked_and_its_prompt_still_shows(masked: Pods, version: str) -> None:
    parts = masked.client(version)
    script = (
        "printf 'name? '; read name; at=@; echo $name is ann${at}example.com; stty -echo; printf 'word? '; read word"
    )
    shell = Terminal(parts, "exec", "-it", "web", "--", "sh", "-c", script, columns=80, rows=24)
    shell.expect(r"name\? ")
    shell.type("x\r")
    shell.expect(r"word\? ")
    shell.type("hunter2\r")
    assert shell.end() == 0
    assert "is ann@" not in shell.seen
    text = f"kubectl exec web -n shop -c app -i -t -- sh -c {shlex.quote(script)}"
    kept = repr([chunk.get("data") for chunk in chunks(parts, text)])
    assert "ann@example.com" not in kept
    assert "hunter2" not in kept
    assert "x is " in kept


def test_the_audit_log_of_the_cluster_and_the_records_agree(shared: Pods) -> None:
    """A port of a forward is a command of its own within the request that opened the tunnel."""
    records = shared.parts.gateway.records(Kind.COMMAND)
    allowed = {
        r.id
        for r in records
        if r.payload["kind"] == "kubernetes"
        and r.payload["verdict"]["type"] == "allow"
        and "port" not in (r.payload["detail"].get("body") or {})
    }
    assert {entry.id for entry in shared.parts.api.audit} == allowed
