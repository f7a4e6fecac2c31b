"""policies/secrets.py: references resolve to values, and no refusal ever shows one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from onrecord.policies import secrets
from onrecord.policies.config import SecretRef
from onrecord.policies.errors import SecretError
from onrecord.policies.secrets import Secrets, check_program


def file(tmp_path: Path, content: bytes = b"hunter2\n", mode: int = 0o600) -> SecretRef:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return SecretRef("file", str(path))


def program(tmp_path: Path, script: str, mode: int = 0o700) -> SecretRef:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return SecretRef("exec", f"{path} first 'second one'", "mitm.toml: resources.x.password")


def refusal(ref: SecretRef, env: dict[str, str] | None = None) -> str:
    with pytest.raises(SecretError) as error:
        Secrets(env).resolve(ref)
    assert "hunter2" not in str(error.value)
    return str(error.value)


def test_an_environment_variable_is_read():
    assert Secrets({"ORDERS_PASSWORD": "hunter2"}).resolve(SecretRef("env", "ORDERS_PASSWORD")) == "hunter2"


def test_a_missing_variable_is_named():
    ref = SecretRef("env", "ORDERS_PASSWORD", "mitm.toml: resources.orders.password")
    assert refusal(ref, env={}) == (
        "mitm.toml: resources.orders.password: env:ORDERS_PASSWORD: the environment variable ORDERS_PASSWORD is not set"
    )


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("ONRECORD_TEST_SECRET", "hunter2")
    assert Secrets().resolve(SecretRef("env", "ONRECORD_TEST_SECRET")) == "hunter2"


@pytest.mark.parametrize(
    ("content", "value"), [(b"a\n", "a"), (b"a", "a"), (b"a\n\n", "a\n"), (b"a\r\n", "a"), (b" a ", " a ")]
)
def test_one_newline_at_the_end_of_a_file_is_not_part_of_the_secret(tmp_path, content, value):
    assert Secrets().resolve(file(tmp_path, content)) == value


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622, 0o777])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path, mode):
    assert "chmod 600" in refusal(file(tmp_path, mode=mode))


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert "not a regular file" in refusal(SecretRef("file", str(tmp_path / "fifo")))
    assert "regular file" in refusal(SecretRef("file", str(tmp_path)))
    assert "No such file" in refusal(SecretRef("file", str(tmp_path / "absent")))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path):
    ref = file(tmp_path)
    os.chown(ref.target, 12345, 0)
    assert "another user" in refusal(ref)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "empty"), (b"\n", "empty"), (b"hunter2\xff", "UTF-8"), (b"hunter2\0", "NUL"), (b"x" * 65537, "over 65536")],
)
def test_a_value_that_cannot_be_a_secret_is_refused(tmp_path, content, why):
    assert why in refusal(file(tmp_path, content))


def test_a_program_runs_without_shell_or_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ONRECORD_LEAK", "yes")
    ref = program(tmp_path, 'echo "$# $2 [$ONRECORD_LEAK] $PWD"')
    assert Secrets().resolve(ref) == "2 second one [] /"


def test_the_output_of_a_failing_program_is_not_shown(tmp_path):
    text = refusal(program(tmp_path, "echo hunter2; echo hunter2 >&2; exit 3"))
    assert "ended with status 3" in text
    assert "second one" not in text, "an argument may be a secret"


def test_a_program_that_hangs_or_leaves_children_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(secrets, "EXEC_TIMEOUT", 0.2)
    started = time.monotonic()
    assert "no answer within 0.2 s" in refusal(program(tmp_path, "sleep 60 & sleep 60"))
    assert time.monotonic() - started < 30


def test_a_program_that_never_stops_writing_is_ended(tmp_path):
    assert "over 65536 bytes" in refusal(program(tmp_path, "while :; do echo hunter2hunter2hunter2; done"))


@pytest.mark.parametrize(("mode", "why"), [(0o720, "write"), (0o702, "write"), (0o600, "executable")])
def test_a_program_that_others_can_write_or_nobody_can_run_is_refused(tmp_path, mode, why):
    assert why in refusal(program(tmp_path, "echo x", mode))


@pytest.mark.parametrize("target", ["cat /etc/passwd", "", "'unclosed", "./program"])
def test_a_program_needs_an_absolute_path(target):
    refusal(SecretRef("exec", target))


def test_a_program_that_is_not_there_is_refused(tmp_path):
    assert check_program(tmp_path / "absent").startswith("cannot be run")


def test_a_secret_is_read_once_and_told_once(tmp_path):
    told: list[str] = []
    resolver = Secrets({"A": "first-value"}, on_new=told.append)
    ref = program(tmp_path, f"echo x >> {tmp_path}/runs; echo value")
    assert [resolver.resolve(ref), resolver.resolve(ref), resolver.resolve(SecretRef("env", "A"))] == [
        "value",
        "value",
        "first-value",
    ]
    assert told == resolver.values() == ["value", "first-value"]
    assert (tmp_path / "runs").read_text() == "x\n"
    assert "value" not in repr(resolver)
