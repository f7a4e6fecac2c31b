"""The supervisor: own secrets only, one of it, what dies is started again, and the recorder ends last."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from onrecord.policies.config import load_config
from onrecord.policies.errors import OnrecordError
from onrecord.recordings.process import SUPERVISED
from onrecord.scripts import up
from onrecord.scripts.up import Supervisor, child_environment, hold_lock, prepare_state, services
from tests.helpers import Setup, make_config, running_gateway, stop, wait_until

RESOURCES: dict[str, dict[str, object]] = {
    "orders": {
        "type": "postgres",
        "upstream": "postgresql://svc@127.0.0.1:1/shop?sslmode=disable",
        "password": "env:ORDERS_PASSWORD",
        "groups": ["agents"],
    },
    "billing": {
        "type": "http",
        "hosts": ["billing.internal"],
        "headers": {"Authorization": "env:BILLING_AUTH"},
        "groups": ["agents"],
    },
}
SECRETS = {"ORDERS_PASSWORD": "pw-of-orders", "BILLING_AUTH": "Bearer of-billing"}


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return make_config(tmp_path, resources=RESOURCES, env=SECRETS)


def test_each_child_gets_the_secrets_of_its_own_resources_and_no_other_variable(setup, monkeypatch):
    config = load_config(setup.path)
    environ = {**SECRETS, "PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x", "ONRECORD_TOKEN": "y"}
    seen = {service.name: child_environment(config, service, environ) for service in services(config)}
    common = {"PATH": "/bin", SUPERVISED: str(os.getpid())}
    assert seen["recorder"] == common
    assert seen["gateway-0"] == common | {"BILLING_AUTH": SECRETS["BILLING_AUTH"]}
    assert seen["postgres-0"] == common | {"ORDERS_PASSWORD": SECRETS["ORDERS_PASSWORD"]}


def test_the_gateway_is_handed_the_secrets_of_clusters(tmp_path):
    prod = {"type": "kubernetes", "hosts": ["prod.internal"], "upstream": "https://127.0.0.1:1", "groups": ["agents"]}
    setup = make_config(tmp_path, resources={**RESOURCES, "prod": {**prod, "token": "env:CLUSTER_TOKEN"}}, env=SECRETS)
    config = load_config(setup.path)
    environ = {**SECRETS, "CLUSTER_TOKEN": "of-prod"}
    seen = {service.name: child_environment(config, service, environ) for service in services(config)}
    assert seen["gateway-0"]["CLUSTER_TOKEN"] == "of-prod"
    assert "CLUSTER_TOKEN" not in seen["postgres-0"]


def test_the_recorder_starts_first_and_workers_are_counted(tmp_path):
    config = load_config(make_config(tmp_path, gateway={"workers": 2}).path)
    assert [service.name for service in services(config)] == ["recorder", "gateway-0", "gateway-1", "postgres-0"]
    assert [service.name for service in services(config, gateway=False)] == ["recorder", "postgres-0"]


def test_a_second_supervisor_on_one_state_folder_is_refused(tmp_path):
    prepare_state(tmp_path)
    lock = hold_lock(tmp_path)
    with pytest.raises(OnrecordError, match="another onrecord runs"):
        hold_lock(tmp_path)
    os.close(lock)
    os.close(hold_lock(tmp_path))


def test_the_state_folder_is_private_whatever_it_was_before(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    prepare_state(state)
    assert {path.stat().st_mode & 0o777 for path in (state, *state.iterdir())} == {0o700}


def test_a_folder_that_serves_another_purpose_is_not_made_private(tmp_path):
    place = tmp_path / "etc"
    place.mkdir()
    (place / "passwd").touch()
    place.chmod(0o755)
    with pytest.raises(OnrecordError, match="a folder of its own"):
        prepare_state(place)
    assert place.stat().st_mode & 0o777 == 0o755
    assert [entry.name for entry in place.iterdir()] == ["passwd"]


def refused_start(setup: Setup) -> str:
    """What `up` says when it refuses to start."""
    done = subprocess.run(
        [sys.executable, "-m", "onrecord.scripts.main", "up", "-c", str(setup.path)],
        capture_output=True,
        text=True,
        env={**os.environ, **SECRETS},
        timeout=60,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_up_refuses_a_configuration_that_others_can_write_before_it_touches_the_state_it_names(setup):
    setup.state.mkdir()
    setup.state.chmod(0o755)
    setup.path.chmod(0o666)
    assert "mitm.toml" in refused_start(setup)
    assert setup.state.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("folder", ["", "ca", "journal"])
def test_up_refuses_a_state_that_others_can_write_instead_of_making_it_its_own(setup, folder):
    place = setup.state / folder
    place.mkdir(parents=True)
    place.chmod(0o777)
    assert f"'{place}' can be written by all users" in refused_start(setup)
    assert place.stat().st_mode & 0o777 == 0o777


def test_a_state_that_cannot_be_used_is_said_in_one_line(setup):
    setup.state.write_text("")
    assert f"{setup.state}: cannot be a folder" in refused_start(setup)
    setup.state.unlink()
    (setup.state / "lock").mkdir(parents=True)
    assert f"{setup.state / 'lock'}: cannot be opened" in refused_start(setup)


def test_a_child_that_the_system_cannot_start_is_tried_again_and_then_given_up(setup, monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", str(setup.path.parent / "no-python"))
    monkeypatch.setattr(up, "LAST_BACKOFF", 0.01)
    status = asyncio.run(Supervisor(load_config(setup.path), services(load_config(setup.path))).run())
    said = capsys.readouterr().err
    assert status == 1
    assert said.count("cannot be started: No such file or directory; starting it again") == 3
    assert "giving up" in said


def children_of(pid: int) -> dict[int, str]:
    """Process id → command line of each direct child."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text()
            if entry.name.isdigit() and int(stat.rpartition(")")[2].split()[1]) == pid:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError, IndexError):
            continue
    return found


@pytest.mark.parametrize("module", ["recordings.recorder", "addons.worker", "shims.postgres"])
def test_what_is_killed_is_started_again(setup, module):
    with running_gateway(setup) as gateway:
        victim = next(pid for pid, line in children_of(gateway.process.pid).items() if module in line)
        os.kill(victim, signal.SIGKILL)

        def successor() -> bool:
            lines = children_of(gateway.process.pid)
            return any(module in line and pid != victim for pid, line in lines.items())

        wait_until(successor, what=f"another {module}")
        assert "starting it again" in gateway.output()


def test_what_is_killed_is_started_again_though_nobody_reads_the_messages(tmp_path):
    setup = make_config(tmp_path, gateway={"http": None})
    command = [sys.executable, "-m", "onrecord.scripts.main", "up", "-c", str(setup.path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as supervisor:
        try:
            assert supervisor.stderr is not None
            while "ready" not in supervisor.stderr.readline():
                assert supervisor.poll() is None
            supervisor.stderr.close()
            children = set(children_of(supervisor.pid))
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: len(set(children_of(supervisor.pid)) - children) == 2, what="successors")
        finally:
            assert stop(supervisor) == 0


def test_the_supervisor_which_holds_all_secrets_can_neither_be_read_nor_dump_core(setup):
    with running_gateway(setup) as gateway:
        proc = Path(f"/proc/{gateway.process.pid}")
        limits = (proc / "limits").read_text()
        assert (proc / "environ").stat().st_uid == 0  # an undumpable process's files belong to root: proc(5)
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


def test_sigterm_drains_and_leaves_nothing_behind(setup):
    with running_gateway(setup) as gateway:
        pids = list(children_of(gateway.process.pid))
        assert len(pids) == 3
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        assert gateway.onrecord("verify").returncode == 0


def test_the_admin_process_gets_the_secrets_of_logins_and_notifications_alone(tmp_path):
    setup = make_config(
        tmp_path,
        gateway={"admin": "127.0.0.1:8088", "http": None},
        resources={
            "orders": {
                "type": "postgres", "upstream": "postgresql://a@127.0.0.1:5432/shop", "password": "env:ORDERS_PASSWORD",
                "groups": ["agents"],
            }
        },
        issuers=[
            {
                "issuer": "https://idp.example.com", "audience": "onrecord", "kind": "human", "client_id": "page",
                "client_secret": "env:PAGE_SECRET",
            }
        ],
        tables={
            "notify": [
                {"type": "slack", "url": "env:SLACK_URL", "secret": "env:SLACK_SECRET"},
                {"type": "webhook", "url": "https://hooks.example.com", "secret": "env:HOOK_SECRET"},
            ]
        },
    )  # fmt: skip
    config = load_config(setup.path)
    names = ("ORDERS_PASSWORD", "PAGE_SECRET", "SLACK_URL", "SLACK_SECRET", "HOOK_SECRET", "OTHER")
    environ = dict.fromkeys(names, "secret")
    seen = {service.name: child_environment(config, service, environ) for service in services(config)}
    held = {name: {key for key, value in found.items() if value == "secret"} for name, found in seen.items()}
    assert held == {
        "recorder": set(),
        "postgres-0": {"ORDERS_PASSWORD"},
        "admin": {"PAGE_SECRET", "SLACK_URL", "SLACK_SECRET", "HOOK_SECRET"},
    }
