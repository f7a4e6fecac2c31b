"""Assembling a data-path process: it gets the secrets of its own resources, and a clear end without a recorder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onrecord.policies.config import load_config
from onrecord.recordings.datapath import secret_references, state_paths
from tests.helpers import Setup, make_config

OPEN = """
import asyncio, sys
from pathlib import Path
from onrecord.policies.config import load_config
from onrecord.policies.errors import OnrecordError
from onrecord.recordings import datapath

real = asyncio.timeout
datapath.asyncio.timeout = lambda _: real(0.3)

async def main():
    config = load_config(Path(sys.argv[1]))
    try:
        await datapath.open_datapath(config, "postgres-0", {"postgres"})
    except OnrecordError as error:
        return f"{type(error).__name__}: {error}"
    return "opened"

print(asyncio.run(main()))
"""
RESOURCES: dict[str, dict[str, object]] = {
    "orders": {
        "type": "postgres", "upstream": "postgresql://svc@127.0.0.1:1/shop", "password": "env:OWN_SECRET",
        "groups": ["agents"],
    },
    "billing": {
        "type": "http", "hosts": ["billing.internal"], "groups": ["agents"],
        "headers": {"Authorization": "env:FOREIGN_SECRET", "X-Key": "env:FOREIGN_KEY"},
    },
}  # fmt: skip


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return make_config(tmp_path, resources=RESOURCES)


def opened(setup: Setup, **env: str) -> str:
    """What a process of its own says: opening makes it undumpable for good."""
    finished = subprocess.run(
        [sys.executable, "-c", OPEN, str(setup.path)],
        env={"PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert not [value for value in env.values() if value in finished.stdout + finished.stderr]
    return finished.stdout.strip()


def test_secrets_are_found_in_every_field_of_a_resource(setup: Setup) -> None:
    resources = load_config(setup.path).resources
    assert [str(found) for found in secret_references(resources["orders"])] == ["env:OWN_SECRET"]
    assert {str(found) for found in secret_references(resources["billing"])} == {
        "env:FOREIGN_SECRET",
        "env:FOREIGN_KEY",
    }


def test_without_a_recorder_nothing_opens_and_the_error_names_the_socket(setup: Setup) -> None:
    said = opened(setup, OWN_SECRET="opensesame-own")
    assert said.startswith("ControlError: ")
    assert "control.sock: the recorder does not answer" in said


def test_a_process_needs_the_secrets_of_its_own_resources_only(setup: Setup) -> None:
    said = opened(setup, FOREIGN_SECRET="opensesame-foreign", FOREIGN_KEY="opensesame-key")
    assert said.startswith("SecretError: ")
    assert "OWN_SECRET" in said
    assert "ControlError" in opened(setup, OWN_SECRET="opensesame-own")  # the foreign ones are missed by nobody


def test_a_process_that_could_not_open_leaves_a_journal_with_its_name_alone(setup: Setup) -> None:
    opened(setup, OWN_SECRET="opensesame-own")
    state = load_config(setup.path).gateway.state
    (journal,) = (state / "journal").glob("*.journal")
    assert journal.name.startswith("postgres-0-")
    data = journal.read_bytes()
    assert b'"process":"postgres-0"' in data
    assert b"opensesame" not in data


def test_the_private_folders_are_all_below_the_state(tmp_path: Path) -> None:
    paths = state_paths(tmp_path)
    assert paths[0] == tmp_path
    assert all(path.is_relative_to(tmp_path) for path in paths)
