"""A silent recorder and a full disk in the middle of a session, real processes: what is not recorded never runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from onrecord.recordings.frames import FILE_HEADER_SIZE, Kind, decode_frames, read_file_header
from tests.addons.test_losses import Disk
from tests.conftest import Shop
from tests.helpers import Gateway, make_config, postgres_resource, running_gateway, wait_until


@contextlib.contextmanager
def running(folder: Path, shop: Shop) -> Iterator[Gateway]:
    setup = make_config(
        folder,
        resources={
            "orders": postgres_resource(shop.server, user=shop.user, database=shop.database) | {"unknown": "allow"}
        },
        gateway={"http": None},
        env={"SHOP_PASSWORD": shop.password},
    )
    with running_gateway(setup) as gateway:
        yield gateway


def connect(gateway: Gateway) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=gateway.setup.postgres_port,
        dbname="orders",
        user="devin",
        password=gateway.setup.mint(),
        sslmode="disable",
        gssencmode="disable",
        autocommit=True,
    )


def payloads(gateway: Gateway, kind: Kind) -> list[dict[str, Any]]:
    """What the shim's journals hold of `kind`."""
    found: list[dict[str, Any]] = []
    for path in sorted((gateway.setup.state / "journal").glob("postgres-*.journal")):
        data = path.read_bytes()
        frames = decode_frames(data[FILE_HEADER_SIZE:], read_file_header(data), FILE_HEADER_SIZE)
        found += [json.loads(frame.payload) for frame in frames if frame.kind is kind]
    return found


def recorder_of(gateway: Gateway) -> int:
    """The pid of the gateway's recorder."""
    pid = gateway.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        if b"recordings.recorder" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("there is no recorder")


def answers(connection: psycopg.Connection) -> str:
    """Code and text of the refusal of a statement, "" where it runs."""
    try:
        connection.execute("SELECT 'probe'")
    except psycopg.Error as error:
        return f"{error.sqlstate} {error}"
    return ""


def test_a_silent_recorder_refuses_statements_of_open_sessions_until_it_speaks_again(
    tmp_path: Path, shop: Shop
) -> None:
    with running(tmp_path, shop) as gateway, connect(gateway) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        recorder = recorder_of(gateway)
        os.kill(recorder, signal.SIGSTOP)
        try:
            refused = wait_until(lambda: answers(connection), what="a refusal")
            assert refused.startswith("42501 onrecord: onrecord:control")
            with pytest.raises(psycopg.OperationalError, match="onrecord:control"):
                connect(gateway)
            texts = [(one["text"], one["verdict"]["policy"]) for one in payloads(gateway, Kind.COMMAND)]
            assert ("SELECT 'probe'", "onrecord:control") in texts
            assert any(one["what"] == "onrecord:control" for one in payloads(gateway, Kind.REFUSAL))
        finally:
            os.kill(recorder, signal.SIGCONT)
        wait_until(lambda: not answers(connection), what="the recovery")
        assert connection.execute("SELECT 2").fetchone() == (2,)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB. Where none can be mounted the test fails: it must not be skipped."""
    folder = tmp_path / "gateway"
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_lets_no_statement_run_and_open_sessions_recover_by_themselves(
    tmp_path: Path, small_disk: Path, shop: Shop
) -> None:
    padding = "x" * 50_000
    with running(tmp_path, shop) as gateway, connect(gateway) as connection, connect(gateway) as other:
        connection.execute("CREATE TEMP TABLE ran (n int)")
        disk = Disk(small_disk)
        disk.fill()
        ran, refused = 0, ""
        while not refused:  # the journal keeps some space allocated: the first few are still recorded
            assert ran < 200, "a full disk refuses nothing"
            try:
                connection.execute(f"INSERT INTO ran VALUES ({ran + 1}) /* {padding} */")
                ran += 1
            except psycopg.Error as error:
                refused = f"{error.sqlstate} {error}"
        assert refused.startswith(("42501 onrecord: onrecord:store", "42501 onrecord: onrecord:control")), refused
        assert not other.closed
        assert answers(other), "nothing can be recorded for others either"
        disk.empty()
        wait_until(lambda: not answers(connection), what="the recovery")
        wait_until(lambda: not answers(other), what="the recovery of the other session")
        assert connection.execute("SELECT count(*) FROM ran").fetchone() == (ran,)
        policies = [record["verdict"]["policy"] for record in payloads(gateway, Kind.COMMAND)]
        assert "onrecord:store" in policies or "onrecord:control" in policies, "the refusal is on record"
