"""gateway.py under mitmdump by hand: no edit of it, no option and no reload opens it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onrecord.recordings.datapath import state_paths
from onrecord.recordings.process import SUPERVISED
from onrecord.scripts.parts.https_api import HttpsApi
from tests.addons.conftest import POLICY
from tests.addons.gateway_process import GatewayProcess, gateway_process
from tests.helpers import Setup, http_resource, make_config, stop, wait_until

SCRIPT = Path(__file__).parents[2] / "addons" / "gateway.py"
MITMDUMP = str(Path(sys.executable).parent / "mitmdump")


def configured(folder: Path, api: HttpsApi, **more: object) -> Setup:
    (folder / "rules.py").write_text(POLICY)
    (folder / "rules.py").chmod(0o600)
    return make_config(
        folder,
        resources={"billing": http_resource(api)},
        policies=[{"file": str(folder / "rules.py")}],
        gateway=more,
    )


def test_touching_breaking_and_deleting_the_script_under_traffic_changes_nothing(tmp_path: Path) -> None:
    script = tmp_path / "gateway.py"
    script.write_text(SCRIPT.read_text())
    with HttpsApi("billing.internal") as api:
        setup = configured(tmp_path, api)
        with gateway_process(setup, script=script) as gateway:

            def traffic(seconds: float) -> None:
                """mitmproxy polls its scripts once a second: longer than that."""
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    assert " 200" in gateway.curl("-i", "https://billing.internal/echo").stdout
                    assert " 403" in gateway.curl("-i", "-X", "DELETE", "https://billing.internal/echo").stdout
                    other = gateway.curl("-i", "-w", "%{http_connect}", "https://other.internal/")
                    assert other.stdout.endswith("403")

            traffic(0.1)
            script.touch()
            traffic(1.3)
            script.write_text("this is no python(")
            traffic(1.3)
            script.unlink()
            traffic(1.3)
            assert gateway.worker.poll() is None
        assert all(request.method != "DELETE" for request in api.requests)


@pytest.mark.parametrize(
    "option",
    [
        "ssl_insecure=true",
        "ignore_hosts=billing",
        "allow_hosts=x",
        "tcp_hosts=.*",
        "rawtcp=true",
        "connection_strategy=eager",
        "onboarding=true",
        "mode=reverse:https://example.com",
        "mode=upstream:http://127.0.0.1:1",
        "map_remote=|a|b",
        "map_local=|a|/etc",
        "modify_body=/a/b",
        "modify_headers=/a/b",
        "upstream_auth=a:b",
        "validate_inbound_headers=false",
        "save_stream_file=/tmp/x",
        "block_global=false",
        "proxyauth=any",
        "client_replay=/dev/null",
        "stream_large_bodies=1",
        "intercept=.*",
        "keep_host_header=true",
    ],
)
def test_an_option_off_the_list_ends_the_process_with_its_name(setup: Setup, option: str) -> None:
    environment = {**os.environ, SUPERVISED: str(os.getpid())}
    command = [MITMDUMP, "-s", str(SCRIPT), "--set", f"onrecord_config={setup.path}", "--set", option]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 1
    assert option.partition("=")[0] in done.stderr + done.stdout


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    written = make_config(tmp_path_factory.mktemp("options"))
    for path in state_paths(written.state):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return written


def test_a_configuration_that_does_not_load_ends_the_process(tmp_path: Path) -> None:
    path = tmp_path / "mitm.toml"
    path.write_text("[gateway]\nnonsense = 1\n")
    for command in (
        [MITMDUMP, "-s", str(SCRIPT), "--set", f"onrecord_config={path}"],
        [sys.executable, "-m", "onrecord.addons.worker", str(path)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == 1
        assert "nonsense" in done.stderr
        assert "Traceback" not in done.stderr


def test_tls_keys_are_never_logged(setup: Setup, tmp_path: Path) -> None:
    environment = {**os.environ, "SSLKEYLOGFILE": str(tmp_path / "keys")}
    command = [sys.executable, "-m", "onrecord.addons.worker", str(setup.path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 1
    assert "SSLKEYLOGFILE" in done.stderr


def test_by_hand_it_starts_its_own_recorder_and_listens_nowhere_else(tmp_path: Path) -> None:
    """`mitmdump -s addons/gateway.py --set onrecord_config=…`, also where mitmproxy's usual port is taken."""
    environment = {name: value for name, value in os.environ.items() if name != SUPERVISED}
    log = tmp_path / "by-hand.log"
    with HttpsApi("billing.internal") as api, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # taken by somebody else: as good
            stack.enter_context(socket.create_server(("127.0.0.1", 8080)))
        setup = configured(tmp_path, api)
        with log.open("wb") as out:
            process = subprocess.Popen(
                [MITMDUMP, "-s", str(SCRIPT), "--set", f"onrecord_config={setup.path}"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
            )
        stack.callback(stop, process)
        gateway = GatewayProcess(setup, process, process, log)

        def serves() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), gateway.open():
                return True
            return False

        wait_until(serves, what="the gateway")
        assert gateway.curl("https://billing.internal/echo").returncode == 0
        assert " 403" in gateway.curl("-i", "-X", "DELETE", "https://billing.internal/echo").stdout
        assert [command["detail"]["method"] for command in gateway.commands()] == ["GET", "DELETE"]
        assert _listening(process.pid) == {setup.http_port}
        assert _is_locked(setup), "a supervisor holds the state"
        assert stop(process) == 0
        wait_until(lambda: not _is_locked(setup), what="the supervisor's end")
        assert [request.method for request in api.requests] == ["GET"]


def _is_locked(setup: Setup) -> bool:
    with (setup.state / "lock").open("rb+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _listening(pid: int) -> set[int]:
    """The TCP ports on which a process listens (proc(5): state 0A in /proc/net/tcp)."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def test_several_workers_share_one_port(tmp_path: Path) -> None:
    with HttpsApi("billing.internal") as api:
        setup = configured(tmp_path, api, workers=2)
        with gateway_process(setup, workers=2) as gateway:

            def both() -> bool:
                assert gateway.curl("https://billing.internal/echo").returncode == 0
                return _used(setup) == 2

            wait_until(both, what="both workers to serve")  # the second may start later
            assert "Error" not in gateway.output(), "both start at once and find one CA"


def _used(setup: Setup) -> int:
    """How many workers have served a session."""
    found = set()
    for path in (setup.state / "journal").glob("gateway-*.journal"):
        if b'"protocol":"http"' in path.read_bytes():
            found.add(path.name[:9])
    return len(found)


def test_when_the_recorder_is_gone_requests_are_refused(tmp_path: Path) -> None:
    with HttpsApi("billing.internal") as api:
        setup = configured(tmp_path, api)
        with gateway_process(setup) as gateway, contextlib.ExitStack() as stack:
            client = stack.enter_context(gateway.tunnel())
            gateway.recorder.kill()
            gateway.recorder.wait()
            until = time.monotonic() + 15
            statuses = set()
            while time.monotonic() < until and b"503" not in statuses:
                from tests.addons.gateway_process import read_answer

                client.sendall(b"GET /echo HTTP/1.1\r\nHost: billing.internal\r\n\r\n")
                statuses.add(str(read_answer(client)[0]).encode())
            assert b"503" in statuses
            reached = len(api.requests)
            answer = gateway.curl("-i", "https://billing.internal/echo")
            assert " 200" not in answer.stdout
            assert len(api.requests) == reached
