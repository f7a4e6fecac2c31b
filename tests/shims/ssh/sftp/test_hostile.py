"""Clients that do what no client should."""

from __future__ import annotations

import contextlib
import os
import struct
import threading

import pytest

from onrecord.policies.model import Command
from onrecord.policies.verdict import Allow, Deny, Ruling
from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.core import MAX_FAULTS, MAX_MADE
from onrecord.shims.ssh.sftp.requests import version_packet
from onrecord.shims.ssh.sftp.wire import Fields
from tests.helpers import wait_until
from tests.shims.ssh.sftp.lab import Lab, masks
from tests.shims.ssh.sftp.raw import Raw


@pytest.mark.parametrize("length", [0, wire.MAX_PACKET + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_packet_of_an_impossible_length_ends_the_channel(lab: Lab, length: int) -> None:
    with Raw(lab) as raw:
        raw.socket.sendall(struct.pack(">I", length) + b"\x03")
        assert raw.ends()
    assert "SFTP" in lab.ends[0]
    assert lab.one("unreadable")["outcome"]["status"] == "refused"


def test_nothing_is_taken_before_init(lab: Lab) -> None:
    with Raw(lab, greet=False) as raw:
        raw.send(wire.STAT, wire.string(b"."))
        assert raw.ends()
    assert [one["detail"]["operation"] for one in lab.commands()] == ["unreadable"]


@pytest.mark.parametrize("version", [4, 5, 6, 99])
def test_later_versions_are_negotiated_down_to_3(lab: Lab, version: int) -> None:
    with Raw(lab, greet=False) as raw:
        raw.socket.sendall(struct.pack(">IBI", 5, wire.INIT, version))
        answer = raw.packet()
        assert answer[:5] == bytes([wire.VERSION_REPLY, 0, 0, 0, 3])
        assert raw.status(wire.MKDIR, wire.string(b"d"), wire.u32(0))[0] == wire.OK


def test_earlier_versions_are_refused(lab: Lab) -> None:
    with Raw(lab, greet=False) as raw:
        raw.socket.sendall(struct.pack(">IBI", 5, wire.INIT, 2))
        assert raw.ends()


def test_a_second_init_is_a_request_that_is_not_passed_on(lab: Lab) -> None:
    with Raw(lab) as raw:
        raw.socket.sendall(version_packet(wire.INIT, []))
        assert wire.Fields(raw.packet(), 5).u32() == wire.OP_UNSUPPORTED


def test_unknown_extensions_are_neither_offered_nor_passed_on(lab: Lab) -> None:
    with Raw(lab) as raw:
        offered = raw.version
        assert b"posix-rename@openssh.com" in offered
        for name in (b"vendor-id", b"md5-hash", b"check-file-name", b"newline", b"text-seek"):
            code, message = raw.status(wire.EXTENDED, wire.string(name), wire.string(b"junk"))
            assert code == wire.OP_UNSUPPORTED
            assert "not passed on" in message
    assert all(one["outcome"]["status"] == "refused" for one in lab.of("unsupported"))


@pytest.mark.parametrize("kind", [0, 2, 21, 22, 23, 99, 101, 103, 199, 201, 255])
def test_unknown_types_are_refused(lab: Lab, kind: int) -> None:
    with Raw(lab) as raw:
        assert raw.status(kind, wire.string(b"x"))[0] == wire.OP_UNSUPPORTED
        assert raw.status(wire.MKDIR, wire.string(b"d"), wire.u32(0))[0] == wire.OK


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (wire.OPEN, (wire.string(b"f"),)),
        (wire.OPEN, (wire.string(b"f"), wire.u32(1), wire.u32(0), b"more")),
        (wire.STAT, (wire.u32(1000), b"short")),
        (wire.STAT, (wire.string(b"a\0b"),)),
        (wire.STAT, (wire.string(b"x" * 5000),)),
        (wire.READ, (wire.string(b"h"), wire.u64(0))),
        (wire.WRITE, (wire.string(b"h"), wire.u64(0), wire.u32(100), b"less")),
        (wire.WRITE, (wire.string(b"h"), wire.u64(0), wire.u32(1), b"more")),
        (wire.CLOSE, (wire.string(b"h" * 300),)),
        (wire.SETSTAT, (wire.string(b"f"), wire.u32(0x40))),
        (wire.SETSTAT, (wire.string(b"f"), wire.u32(0x80000000), wire.u32(1 << 30))),
        (wire.EXTENDED, (wire.string(b"posix-rename@openssh.com"), wire.string(b"a"))),
        (wire.EXTENDED, (wire.string(b"fsync@openssh.com"), wire.string(b"h"), b"junk")),
    ],
)
def test_a_request_that_cannot_be_read_is_answered_and_goes_nowhere(
    lab: Lab, kind: int, parts: tuple[bytes, ...]
) -> None:
    with Raw(lab) as raw:
        assert raw.status(kind, *parts)[0] == wire.BAD_MESSAGE
        assert raw.status(wire.MKDIR, wire.string(b"d"), wire.u32(0))[0] == wire.OK
    assert [one["detail"]["operation"] for one in lab.commands()] == ["unreadable", "mkdir"]


def test_a_flood_of_requests_that_cannot_be_read_ends_the_channel(lab: Lab) -> None:
    with Raw(lab) as raw:
        with contextlib.suppress(OSError):
            for _ in range(100):
                raw.send(wire.STAT)
        assert raw.ends()
    assert len(lab.of("unreadable")) == MAX_FAULTS + 1


def test_a_handle_nobody_was_given_is_no_handle(lab: Lab) -> None:
    (lab.home / "secret").write_text("x")
    with Raw(lab) as one, Raw(lab) as other:
        handle = one.open("secret", wire.FLAG_READ)
        for wrong in (handle, b"\0\0\0\7", b""):
            assert other.status(wire.READ, wire.string(wrong), wire.u64(0), wire.u32(10))[0] == wire.FAILURE
            assert other.status(wire.WRITE, wire.string(wrong), wire.u64(0), wire.string(b"x"))[0] == wire.FAILURE
            for kind in (wire.CLOSE, wire.FSTAT, wire.READDIR):
                assert other.status(kind, wire.string(wrong))[0] == wire.FAILURE
            assert other.status(wire.FSETSTAT, wire.string(wrong), wire.u32(0))[0] == wire.FAILURE


def test_a_handle_serves_only_what_it_was_opened_for(lab: Lab) -> None:
    (lab.home / "f").write_text("x")
    with Raw(lab) as raw:
        reading = raw.open("f", wire.FLAG_READ)
        assert raw.status(wire.WRITE, wire.string(reading), wire.u64(0), wire.string(b"y"))[0] == wire.PERMISSION_DENIED
        writing = raw.open("f", wire.FLAG_WRITE)
        assert raw.status(wire.READ, wire.string(writing), wire.u64(0), wire.u32(9))[0] == wire.PERMISSION_DENIED
        raw.close_handle(reading)
        assert raw.status(wire.READ, wire.string(reading), wire.u64(0), wire.u32(9))[0] == wire.FAILURE


@pytest.mark.parametrize(
    "flags", [0, wire.FLAG_TRUNC, wire.FLAG_CREAT, wire.FLAG_APPEND, wire.FLAG_TRUNC | wire.FLAG_READ]
)
def test_flags_that_change_a_file_are_a_write_whatever_else_they_say(lab: Lab, flags: int) -> None:
    (lab.home / "f").write_text("keep me")

    def rule(command: Command) -> Ruling:
        return Ruling(Deny("no") if command.action != "read" else Allow(), "guard")

    lab.engine.rule = rule
    with Raw(lab) as raw:
        answer = raw.ask(wire.OPEN, wire.string(b"f"), wire.u32(flags), wire.u32(0))
        assert (answer[0] == wire.HANDLE) is (flags == 0)
    assert (lab.home / "f").read_text() == "keep me"


def test_open_files_are_bounded(lab: Lab) -> None:
    lab.settings["max_handles"] = 3
    (lab.home / "f").write_text("x")
    with Raw(lab) as raw:
        handles = [raw.open("f", wire.FLAG_READ) for _ in range(3)]
        code, message = raw.status(wire.OPEN, wire.string(b"f"), wire.u32(1), wire.u32(0))
        assert code == wire.FAILURE
        assert "more than 3" in message
        assert raw.status(wire.OPENDIR, wire.string(b"."))[0] == wire.FAILURE
        raw.close_handle(handles[0])
        raw.open("f", wire.FLAG_READ)


def test_ten_thousand_requests_at_once_are_answered_in_order(lab: Lab) -> None:
    (lab.home / "f").write_bytes(b"x" * 1000)
    with Raw(lab) as raw:
        handle = raw.open("f", wire.FLAG_READ)
        first = raw._id + 1
        request = b"".join(
            wire.packet(wire.READ, first + i, wire.string(handle), wire.u64(i % 1000), wire.u32(1))
            for i in range(10_000)
        )
        raw.socket.settimeout(60)
        sender = threading.Thread(target=raw.socket.sendall, args=(request,))
        sender.start()
        for i in range(10_000):
            answer = raw.packet()
            assert answer[0] == wire.DATA
            assert int.from_bytes(answer[1:5], "big") == first + i
        sender.join()


def test_request_ids_of_a_client_may_repeat(lab: Lab) -> None:
    with Raw(lab) as raw:
        for _ in range(2):
            raw.socket.sendall(wire.packet(wire.STAT, 7, wire.string(b".")))
        assert [raw.packet()[:5] for _ in range(2)] == [bytes([wire.ATTRS]) + wire.u32(7)] * 2


def test_a_name_that_is_no_utf8_is_shown_and_kept(lab: Lab) -> None:
    with Raw(lab) as raw:
        raw.close_handle(raw.open(b"caf\xe9", wire.FLAG_WRITE | wire.FLAG_CREAT))
    assert [os.fsencode(path.name) for path in lab.home.iterdir()] == [b"caf\xe9"]
    assert lab.one("write")["detail"]["path"] == f"{lab.home}/caf\\xe9"


def test_a_chain_of_links_that_never_ends_is_refused(lab: Lab) -> None:
    (lab.home / "a").symlink_to("b")
    (lab.home / "b").symlink_to("a")
    with Raw(lab) as raw:
        code, _ = raw.status(wire.OPEN, wire.string(b"a"), wire.u32(wire.FLAG_WRITE | wire.FLAG_CREAT), wire.u32(0))
        assert code == wire.FAILURE


def test_an_exclusive_open_does_not_follow_a_link(lab: Lab) -> None:
    (lab.home / "l").symlink_to("nowhere")
    flags = wire.FLAG_WRITE | wire.FLAG_CREAT | wire.FLAG_EXCL
    with Raw(lab) as raw:
        assert raw.status(wire.OPEN, wire.string(b"l"), wire.u32(flags), wire.u32(0))[0] == wire.FAILURE
    assert not (lab.home / "nowhere").exists()


def test_a_link_that_leads_to_nothing_is_judged_by_where_it_leads(lab: Lab) -> None:
    (lab.home / ".ssh").mkdir()
    (lab.home / "l").symlink_to(".ssh/authorized_keys")
    with Raw(lab) as raw:
        raw.open("l", wire.FLAG_WRITE | wire.FLAG_CREAT)
    assert lab.one("write")["action"] == "admin"
    assert lab.one("write")["detail"]["path"] == f"{lab.home}/.ssh/authorized_keys"


def test_extended_attributes_are_not_passed_on(lab: Lab) -> None:
    (lab.home / "f").touch()
    attrs = wire.u32(0x80000000) + wire.u32(1) + wire.string(b"user.x") + wire.string(b"y")
    with Raw(lab) as raw:
        assert raw.status(wire.SETSTAT, wire.string(b"f"), attrs)[0] == wire.OP_UNSUPPORTED


@pytest.mark.parametrize(
    "attrs", [wire.Attrs(permissions=0o104755), wire.Attrs(permissions=0o2755), wire.Attrs(uid=0, gid=0)]
)
def test_setid_bits_and_owners_are_admin_however_they_are_set(lab: Lab, attrs: wire.Attrs) -> None:
    def rule(command: Command) -> Ruling:
        return Ruling(Deny("no") if command.action == "admin" else Allow(), "guard")

    lab.engine.rule = rule
    (lab.home / "f").touch()
    field = wire.attrs(attrs)
    with Raw(lab) as raw:
        handle = raw.open("f", wire.FLAG_WRITE)
        asked = [
            raw.status(wire.SETSTAT, wire.string(b"f"), field),
            raw.status(wire.EXTENDED, wire.string(b"lsetstat@openssh.com"), wire.string(b"f"), field),
            raw.status(wire.FSETSTAT, wire.string(handle), field),
            raw.status(wire.OPEN, wire.string(b"n"), wire.u32(wire.FLAG_WRITE | wire.FLAG_CREAT), field),
            raw.status(wire.MKDIR, wire.string(b"d"), field),
        ]
    assert [code for code, _ in asked] == [wire.PERMISSION_DENIED] * 5
    assert sorted(path.name for path in lab.home.iterdir()) == ["f"]


def test_a_client_that_asks_and_does_not_read_piles_up_nothing(lab: Lab) -> None:
    """Answers of the gateway's own, from a masked copy, take no room but what the client leaves."""
    lab.settings["masks"] = masks(email="redact")
    (lab.home / "f").write_text("x" * 30_000)
    with Raw(lab) as raw:
        handle = raw.open("f", wire.FLAG_READ)
        asking = b"".join(
            wire.packet(wire.READ, id, wire.string(handle), wire.u64(0), wire.u32(30_000)) for id in range(1500)
        )
        client = threading.Thread(target=raw.socket.sendall, args=(asking,))
        client.start()
        relay = lab.relays[-1]
        wait_until(lambda: relay._full, what="the client to be full")
        transport = relay._ends._transport  # type: ignore[attr-defined]
        assert transport.get_write_buffer_size() < 4 * MAX_MADE
        for id in range(1500):
            answer = raw.packet()
            assert (answer[0], Fields(answer).u32()) == (wire.DATA, id)
        client.join(60)
        raw.close_handle(handle)
    assert lab.one("read")["outcome"]["size"] == 1500 * 30_000
