"""Files that are read where masks apply: the masked copy is what the client gets, and what is on record."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from onrecord.policies.masking import Masks, PathRule, Rule, no_masks
from onrecord.policies.masking.json_paths import json_path
from onrecord.policies.model import Command
from onrecord.policies.verdict import Allow, Ruling
from onrecord.shims.ssh.sftp import opening, wire
from onrecord.shims.ssh.sftp.files import MAX_MASKED, Budget, masked_copy
from onrecord.shims.ssh.sftp.places import read_attrs
from tests.helpers import wait_until
from tests.shims.ssh.sftp.lab import Lab, masks
from tests.shims.ssh.sftp.raw import Raw

TEXT = "name: Ann\nmail: ann@example.com\n" * 1000


@pytest.fixture
def masked(lab: Lab) -> Lab:
    lab.settings["masks"] = masks(email="redact")
    return lab


def test_a_text_file_arrives_masked_and_is_recorded_masked(masked: Lab) -> None:
    (masked.home / "f").write_text(TEXT)
    masked.batch("get f local")
    got = (masked.folder / "local").read_text()
    assert "ann@example.com" not in got
    assert got.count("name: Ann") == 1000
    command = masked.one("read")
    assert command["outcome"]["masked"] == {"email": 1000}
    assert command["outcome"]["size"] == len(got)
    assert command["outcome"]["tag"] == "the whole file"
    assert all("ann@example.com" not in str(chunk["data"]) for chunk in command["chunks"])
    assert command["chunks"][0]["data"].startswith("name: Ann")


def test_the_size_that_is_told_is_that_of_the_masked_file(masked: Lab) -> None:
    (masked.home / "f").write_text(TEXT)
    with Raw(masked) as raw:
        handle = raw.open("f", wire.FLAG_READ)
        sizes = [
            read_attrs(raw.ask(wire.STAT, wire.string(b"f"))).size,
            read_attrs(raw.ask(wire.LSTAT, wire.string(b"f"))).size,
            read_attrs(raw.ask(wire.FSTAT, wire.string(handle))).size,
        ]
        content = b""
        while (answer := raw.ask(wire.READ, wire.string(handle), wire.u64(len(content)), wire.u32(1000)))[
            0
        ] == wire.DATA:
            content += wire.Fields(answer, 5).string()
        assert sizes == [len(content)] * 3
        assert len(content) != len(TEXT)


def test_a_secret_over_the_edge_of_two_reads_is_masked(masked: Lab) -> None:
    (masked.home / "f").write_text("x" * 95 + " ann@example.com " + "y" * 100)
    with Raw(masked) as raw:
        handle = raw.open("f", wire.FLAG_READ)
        assert b"ann@" not in raw.read(handle, 90, 10) + raw.read(handle, 100, 30)


@pytest.mark.parametrize("content", [b"text\0more", b"\xff\xfe\x00", bytes(range(256))])
def test_what_is_not_text_is_refused_with_the_reason(masked: Lab, content: bytes) -> None:
    (masked.home / "f").write_bytes(content)
    with Raw(masked) as raw:
        code, message = raw.status(wire.OPEN, wire.string(b"f"), wire.u32(wire.FLAG_READ), wire.u32(0))
    assert code == wire.PERMISSION_DENIED
    assert "text" in message
    assert masked.one("read")["outcome"]["status"] == "refused"
    assert "masks apply here" in masked.notes[0]


def test_a_file_that_is_too_large_is_refused(masked: Lab) -> None:
    with (masked.home / "f").open("wb") as file:
        file.truncate(MAX_MASKED + 1)
    with Raw(masked) as raw:
        assert (
            raw.status(wire.OPEN, wire.string(b"f"), wire.u32(wire.FLAG_READ), wire.u32(0))[0] == wire.PERMISSION_DENIED
        )


def test_a_file_is_not_opened_for_both_where_masks_apply(masked: Lab) -> None:
    (masked.home / "f").write_text(TEXT)
    with Raw(masked) as raw:
        flags = wire.FLAG_READ | wire.FLAG_WRITE
        assert raw.status(wire.OPEN, wire.string(b"f"), wire.u32(flags), wire.u32(0))[0] == wire.PERMISSION_DENIED
    assert masked.one("read")["outcome"]["status"] == masked.one("write")["outcome"]["status"] == "refused"


def test_masked_copies_are_bounded_in_all_and_given_back(masked: Lab) -> None:
    budget = Budget(MAX_MASKED + len(TEXT))
    masked.settings["budget"] = budget
    (masked.home / "f").write_text(TEXT)
    with Raw(masked) as raw:
        handle = raw.open("f", wire.FLAG_READ)
        kept = budget.used
        assert 0 < kept <= len(TEXT)
        for _ in range(3):
            raw.ask(wire.STAT, wire.string(b"f"))
        assert budget.used == kept
        raw.close_handle(handle)
        assert budget.used == 0
        raw.open("f", wire.FLAG_READ)
    wait_until(lambda: budget.used == 0, what="the copy to be forgotten")
    budget.take(len(TEXT) + 1)
    with Raw(masked) as raw:
        code, message = raw.status(wire.OPEN, wire.string(b"f"), wire.u32(wire.FLAG_READ), wire.u32(0))
    assert code == wire.PERMISSION_DENIED
    assert "try again" in message


def test_uploads_pass_where_masks_apply(masked: Lab) -> None:
    (masked.folder / "local").write_text(TEXT)
    masked.batch("put local f")
    assert (masked.home / "f").read_text() == TEXT


def test_a_policy_may_ask_for_masks(lab: Lab) -> None:
    lab.settings["no_masks"] = lambda: no_masks(b"k" * 32)

    def rule(command: Command) -> Ruling:
        return Ruling(Allow(mask=("email",) if getattr(command, "operation", "") == "read" else ()), "test")

    lab.engine.rule = rule
    (lab.home / "f").write_text(TEXT)
    lab.batch("get f local")
    assert "ann@example.com" not in (lab.folder / "local").read_text()


@pytest.mark.parametrize("asked_by", ["configuration", "policy"])
def test_the_server_copies_no_file_of_which_a_masked_copy_is_shown(lab: Lab, asked_by: str) -> None:
    if asked_by == "configuration":
        lab.settings["masks"] = masks(email="redact")
    else:
        lab.settings["no_masks"] = lambda: no_masks(b"k" * 32)

        def rule(command: Command) -> Ruling:
            masked = getattr(command, "operation", "") == "read" and getattr(command, "path", "").endswith("/f")
            return Ruling(Allow(mask=("email",) if masked else ()), "test")

        lab.engine.rule = rule
    (lab.home / "f").write_text("mail: ann@example.com")
    for skipped in (0, 10):  # the whole of it, and a piece in which nothing is found
        with Raw(lab) as raw:
            source, target = raw.open("f", wire.FLAG_READ), raw.open("g", wire.FLAG_WRITE | wire.FLAG_CREAT)
            fields = wire.string(source) + wire.u64(skipped) + wire.u64(0) + wire.string(target) + wire.u64(0)
            code, message = raw.status(wire.EXTENDED, wire.string(b"copy-data"), fields)
            assert code == wire.PERMISSION_DENIED
            assert "masks apply here" in message
        assert (lab.home / "g").read_bytes() == b""
    assert [one["outcome"]["status"] for one in lab.of("copy")] == ["refused", "refused"]


def test_a_large_file_that_is_searched_holds_up_no_other_channel(masked: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(*given: Any) -> Any:
        assert go_on.wait(120)
        return masked_copy(*given)

    monkeypatch.setattr(opening, "masked_copy", slow)
    (masked.home / "f").write_text(TEXT)
    with Raw(masked) as one, Raw(masked) as other:
        one.send(wire.OPEN, wire.string(b"f"), wire.u32(wire.FLAG_READ), wire.u32(0))
        wait_until(lambda: masked.of("read"), what="the file to be decided")
        try:
            for _ in range(20):
                assert other.ask(wire.REALPATH, wire.string(b"."))[0] == wire.NAME
        finally:
            go_on.set()
        assert one.packet()[0] == wire.HANDLE


def test_a_channel_that_ends_while_a_file_is_searched_gives_its_room_back(
    masked: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, go_on, begun = Budget(), threading.Event(), threading.Event()

    def slow(*given: Any) -> Any:
        begun.set()
        assert go_on.wait(120)
        return masked_copy(*given)

    monkeypatch.setattr(opening, "masked_copy", slow)
    masked.settings["budget"] = budget
    (masked.home / "f").write_text(TEXT)
    with Raw(masked) as raw:
        raw.send(wire.OPEN, wire.string(b"f"), wire.u32(wire.FLAG_READ), wire.u32(0))
        assert begun.wait(60)
    try:
        wait_until(lambda: masked.one("read")["outcome"] is not None, what="the outcome")
        wait_until(lambda: budget.used == 0, what="the room")
    finally:
        go_on.set()
    assert masked.one("read")["outcome"]["status"] == "aborted"


@pytest.mark.parametrize("path", [b"/x", b"/x.JSON", b"/x.json"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"])
def test_json_is_known_as_such_behind_a_byte_order_mark_and_in_capitals(path: bytes, mark: bytes) -> None:
    rules = Masks(key=b"k" * 32, json_paths=[PathRule(json_path("email"), Rule(name="email"))])
    assert b"ann" not in masked_copy(mark + b'{"email": "ann"}', rules, path)[0]
