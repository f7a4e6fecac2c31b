"""OpenSSH's sftp through the relay to OpenSSH's sftp-server."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from onrecord.policies.errors import StoreError
from onrecord.shims.ssh.sftp import wire
from tests.helpers import wait_until
from tests.shims.ssh.sftp.lab import Lab, refusing
from tests.shims.ssh.sftp.raw import Raw


def test_an_upload_is_one_command_with_size_and_sha256(lab: Lab) -> None:
    content = os.urandom(3_000_000)
    (lab.folder / "local").write_bytes(content)
    lab.batch("put local remote")
    assert (lab.home / "remote").read_bytes() == content
    command = lab.one("write")
    assert command["detail"]["path"] == str(lab.home / "remote")
    assert command["action"] == "write"
    outcome = command["outcome"]
    assert outcome["status"] == "ok"
    assert outcome["size"] == len(content)
    assert outcome["sha256"] == hashlib.sha256(content).hexdigest()
    assert outcome["tag"] == "the whole file"
    assert sum(chunk["size"] for chunk in command["chunks"]) == len(content)


def test_a_download_is_one_command_with_size_and_sha256(lab: Lab) -> None:
    content = os.urandom(3_000_000)
    (lab.home / "remote").write_bytes(content)
    lab.batch("get remote local")
    assert (lab.folder / "local").read_bytes() == content
    outcome = lab.one("read")["outcome"]
    assert (outcome["status"], outcome["size"]) == ("ok", len(content))
    assert outcome["sha256"] == hashlib.sha256(content).hexdigest()
    assert outcome["tag"] == "the whole file"


def test_a_resumed_download_says_that_its_hash_is_of_a_part(lab: Lab) -> None:
    content = os.urandom(500_000)
    (lab.home / "remote").write_bytes(content)
    (lab.folder / "local").write_bytes(content[:200_000])
    lab.batch("reget remote local")
    assert (lab.folder / "local").read_bytes() == content
    outcome = lab.one("read")["outcome"]
    assert outcome["sha256"] == hashlib.sha256(content[200_000:]).hexdigest()
    assert outcome["tag"] == "bytes 200000 to 500000, not known to be the whole file"


def test_a_resumed_upload_says_that_its_hash_is_of_a_part(lab: Lab) -> None:
    content = os.urandom(500_000)
    (lab.folder / "local").write_bytes(content)
    (lab.home / "remote").write_bytes(content[:200_000])
    lab.batch("reput local remote")
    assert (lab.home / "remote").read_bytes() == content
    assert lab.one("write")["outcome"]["tag"] == "300000 bytes appended, not known to be the whole file"


def test_an_empty_file_has_the_hash_of_nothing(lab: Lab) -> None:
    (lab.folder / "local").write_bytes(b"")
    lab.batch("put local remote", "get remote back")
    for operation in ("write", "read"):
        outcome = lab.one(operation)["outcome"]
        assert outcome["sha256"] == hashlib.sha256(b"").hexdigest()
        assert outcome["tag"] == "the whole file"


def test_each_operation_is_a_command_with_canonical_paths(lab: Lab) -> None:
    (lab.home / "a").write_text("hello")
    lab.batch(
        "mkdir d",
        "rename a d/../b",
        "ln b hard",
        "ln -s b soft",
        "chmod 600 b",
        "ls -l",
        "df .",
        "rm hard",
        "rmdir d",
        "cp b c",
    )
    home = str(lab.home)
    got = {(one["detail"]["operation"], one["detail"]["path"], one["detail"]["target"]) for one in lab.commands()}
    assert {
        ("mkdir", f"{home}/d", ""),
        ("rename", f"{home}/a", f"{home}/b"),
        ("link", f"{home}/b", f"{home}/hard"),
        ("symlink", f"{home}/soft", f"{home}/b"),
        ("setstat", f"{home}/b", ""),
        ("readdir", home, ""),
        ("statvfs", home, ""),
        ("remove", f"{home}/hard", ""),
        ("rmdir", f"{home}/d", ""),
        ("copy", f"{home}/b", f"{home}/c"),
    } <= got
    assert all(
        one["outcome"] is not None and one["outcome"]["status"] == "ok"
        for one in lab.commands()
        if one["action"] != "read"
    )
    assert (lab.home / "soft").readlink() == Path("b")
    assert (lab.home / "c").read_text() == "hello"


def test_names_in_a_folder_are_on_record(lab: Lab) -> None:
    for i in range(300):
        (lab.home / f"file{i}").touch()
    done = lab.batch("ls -1")
    assert done.stdout.count("file") == 300
    command = lab.one("readdir")
    assert sum(chunk["rows"] for chunk in command["chunks"]) == 302
    assert "file299" in [name for chunk in command["chunks"] for name in chunk["data"]]
    assert command["outcome"]["rows"] == 302


def test_a_refused_write_reaches_nothing_and_its_reason_is_told(lab: Lab) -> None:
    lab.engine.rule = refusing("write", "no uploads here")
    (lab.folder / "local").write_text("x")
    done = lab.batch("put local remote", check=False)
    assert done.returncode != 0
    assert "ermission denied" in done.stderr
    assert not (lab.home / "remote").exists()
    assert "no uploads here" in lab.notes[0]
    assert lab.one("write")["outcome"]["status"] == "refused"


@pytest.mark.parametrize(
    ("operation", "line"),
    [
        ("read", "get a"),
        ("mkdir", "mkdir x"),
        ("rename", "rename a b"),
        ("remove", "rm a"),
        ("setstat", "chmod 777 a"),
        ("symlink", "ln -s a l"),
        ("link", "ln a l"),
        ("rmdir", "rmdir d"),
        ("readdir", "ls d"),
        ("statvfs", "df"),
        ("copy", "cp a z"),
    ],
)
def test_each_operation_can_be_refused(lab: Lab, operation: str, line: str) -> None:
    (lab.home / "a").write_text("content")
    (lab.home / "d").mkdir()
    before = sorted(path.name for path in lab.home.iterdir())
    mode = (lab.home / "a").stat().st_mode
    lab.engine.rule = refusing(operation)
    done = lab.batch(line, check=False)
    assert done.returncode != 0
    assert lab.of(operation)[0]["outcome"]["status"] == "refused"
    left = sorted(path.name for path in lab.home.iterdir())
    assert [name for name in left if name != "z"] == before
    assert (lab.home / "a").stat().st_mode == mode
    if "z" in left:
        assert (lab.home / "z").read_bytes() == b""


def test_a_link_to_a_folder_does_not_hide_where_a_file_goes(lab: Lab) -> None:
    (lab.home / ".ssh").mkdir()
    (lab.folder / "key").write_text("ssh-ed25519 AAAA")
    lab.batch("ln -s .ssh x", "put key x/authorized_keys")
    assert lab.one("symlink")["action"] == "admin"
    command = lab.one("write")
    assert command["detail"]["path"] == f"{lab.home}/.ssh/authorized_keys"
    assert command["action"] == "admin"


@pytest.mark.parametrize(
    "path", [".ssh/../.ssh//authorized_keys", "./.ssh/./authorized_keys", "d/../.ssh/authorized_keys", "l"]
)
def test_spellings_of_a_path_are_one_path(lab: Lab, path: str) -> None:
    (lab.home / ".ssh").mkdir()
    (lab.home / "d").mkdir()
    (lab.home / "l").symlink_to(".ssh/authorized_keys")
    (lab.folder / "key").write_text("ssh-ed25519 AAAA")
    lab.batch(f"put key {path}")
    command = lab.one("write")
    assert command["detail"]["path"] == f"{lab.home}/.ssh/authorized_keys"
    assert command["action"] == "admin"
    assert (lab.home / ".ssh/authorized_keys").exists()


@pytest.mark.parametrize(
    "line", ["rename a .ssh/authorized_keys", "ln a .ssh/authorized_keys", "rename d .ssh", "chmod 4755 a"]
)
def test_ways_around_writing_a_planting_file_are_admin(lab: Lab, line: str) -> None:
    (lab.home / "a").write_text("key")
    (lab.home / "d").mkdir()
    if "rename d" not in line:
        (lab.home / ".ssh").mkdir()
    lab.batch(line)
    assert [one["action"] for one in lab.commands() if one["action"] not in ("read", "write")] == ["admin"]


def test_a_file_opened_both_ways_is_two_commands(lab: Lab) -> None:
    with Raw(lab) as raw:
        handle = raw.open("both", wire.FLAG_READ | wire.FLAG_WRITE | wire.FLAG_CREAT)
        raw.write(handle, 0, b"hello")
        assert raw.read(handle, 0, 100) == b"hello"
        raw.close_handle(handle)
    assert lab.one("write")["outcome"]["size"] == 5
    assert lab.one("read")["outcome"]["size"] == 5


def test_reads_out_of_order_have_no_hash_of_the_whole(lab: Lab) -> None:
    (lab.home / "f").write_bytes(bytes(range(200)))
    with Raw(lab) as raw:
        handle = raw.open("f", wire.FLAG_READ)
        assert raw.read(handle, 100, 50) == bytes(range(100, 150))
        assert raw.read(handle, 0, 50) == bytes(range(50))
        raw.close_handle(handle)
    outcome = lab.one("read")["outcome"]
    assert outcome["sha256"] == "" if "sha256" in outcome else True
    assert "out of order" in outcome["tag"]
    assert outcome["size"] == 100


def test_a_channel_that_breaks_off_leaves_an_aborted_transfer(lab: Lab) -> None:
    with Raw(lab) as raw:
        handle = raw.open("f", wire.FLAG_WRITE | wire.FLAG_CREAT)
        raw.write(handle, 0, b"some")
    wait_until(lambda: lab.one("write")["outcome"] is not None, what="the outcome")
    outcome = lab.one("write")["outcome"]
    assert (outcome["status"], outcome["size"]) == ("aborted", 4)


def test_the_record_of_what_is_written_precedes_it(lab: Lab) -> None:
    """With a journal that cannot write, nothing more reaches the host."""
    with Raw(lab) as raw:
        handle = raw.open("f", wire.FLAG_WRITE | wire.FLAG_CREAT)
        raw.write(handle, 0, b"some")
        relay = lab.relays[-1]

        def full() -> None:
            raise StoreError("no space")

        relay.auditor.journal.flush = full  # type: ignore[method-assign]
        raw.send(wire.WRITE, wire.string(handle), wire.u64(4), wire.string(b" more"))
        assert raw.ends()
    assert (lab.home / "f").read_bytes() == b"some"
