"""Versions 4, 5 and 6, to asyncssh's real server: negotiated, read as they are, decided by their real effect."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest

from onrecord.policies.model import Command
from onrecord.policies.verdict import Allow, Deny, Ruling
from onrecord.shims.ssh.sftp import access, attributes, wire
from onrecord.shims.ssh.sftp.places import names, read_attrs, read_status
from onrecord.shims.ssh.sftp.requests import ATOMIC, NATIVE, OVERWRITE, STAT_ALWAYS, STAT_IF_EXISTS, version_packet
from onrecord.shims.ssh.sftp.wire import Attrs, Fields
from tests.shims.ssh.sftp.lab import Lab, masks, refusing
from tests.shims.ssh.sftp.raw import EMPTY, Raw

LATER = [4, 5, 6]
READ = access.READ_DATA | access.READ_ATTRIBUTES
WRITE = access.WRITE_DATA | access.WRITE_ATTRIBUTES


@pytest.fixture(params=LATER)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def later(lab: Lab, version: int) -> Lab:
    lab.serve_with_asyncssh(version)
    return lab


@pytest.fixture
def six(lab: Lab) -> Lab:
    lab.serve_with_asyncssh(6)
    return lab


def only_reads(command: Command) -> Ruling:
    return Ruling(Deny("no") if command.action != "read" else Allow(), "guard")


def open_for(raw: Raw, version: int, path: str, *, write: bool = False, attrs: bytes = EMPTY) -> bytes:
    """An OPEN in the words of the version; the whole answer."""
    if version >= 5:
        disposition = access.CREATE_TRUNCATE if write else access.OPEN_EXISTING
        return raw.open_later(path, WRITE if write else READ, disposition, attrs)
    flags = wire.FLAG_WRITE | wire.FLAG_CREAT | wire.FLAG_TRUNC if write else wire.FLAG_READ
    return raw.ask(wire.OPEN, wire.string(path.encode()), wire.u32(flags), attrs)


def handle_of(answer: bytes) -> bytes:
    assert answer[0] == wire.HANDLE, answer
    return Fields(answer, 5).string()


# negotiation


@pytest.mark.parametrize("server", [3, 4, 5, 6])
@pytest.mark.parametrize("client", [3, 4, 5, 6, 7, 99])
def test_both_sides_speak_the_lower_version(lab: Lab, client: int, server: int) -> None:
    lab.serve_with_asyncssh(server)
    spoken = min(client, server)
    with Raw(lab, version=client) as raw:
        assert raw.version[:5] == bytes([wire.VERSION_REPLY]) + wire.u32(spoken)
        empty = wire.u32(0) if spoken == 3 else EMPTY
        assert raw.status(wire.MKDIR, wire.string(b"d"), empty)[0] == wire.OK
    assert lab.one("mkdir")["outcome"]["status"] == "ok"


@pytest.mark.parametrize("answered", [0, 2, 5, 6, 7, 0xFFFFFFFF])
def test_a_server_that_answers_another_version_than_it_may_ends_the_channel(lab: Lab, answered: int) -> None:
    script = lab.folder / "server.py"
    script.write_text(
        "import os, time\nos.read(0, 9)\n"
        f"os.write(1, {version_packet(wire.VERSION_REPLY, [], answered)!r})\ntime.sleep(60)\n"
    )
    lab.server = ("python3", str(script))
    with Raw(lab, greet=False) as raw:
        raw.socket.sendall(version_packet(wire.INIT, [], 4))
        assert raw.ends()
    assert f"it speaks version {answered}, asked for 4" in lab.ends[0]


@pytest.mark.parametrize("client", [3, 6])
def test_extensions_in_init_go_nowhere(six: Lab, client: int) -> None:
    pairs = [(b"version-select", b"3"), (b"filename-translation-control", b"\1"), (b"newline@vandyke.com", b"\r")]
    with Raw(six, greet=False) as raw:
        raw.socket.sendall(version_packet(wire.INIT, pairs, client))
        assert raw.packet()[:5] == bytes([wire.VERSION_REPLY]) + wire.u32(client)


@pytest.mark.parametrize("junk", [b"\0", wire.u32(9) + b"x", wire.string(b"name"), wire.string(b"a") * 200])
def test_an_init_with_junk_behind_it_ends_the_channel(six: Lab, junk: bytes) -> None:
    body = bytes([wire.INIT]) + wire.u32(6) + junk
    with Raw(six, greet=False) as raw:
        raw.socket.sendall(wire.string(body))
        assert raw.ends()
    assert six.one("unreadable")["outcome"]["status"] == "refused"


def test_what_a_server_says_of_itself_is_not_passed_on(later: Lab, version: int) -> None:
    with Raw(later, version=version) as raw:
        assert b"posix-rename@openssh.com" in raw.version
        for name in (b"supported", b"supported2", b"acl-supported", b"vendor-id", b"newline", b"ranges@asyncssh.com"):
            assert wire.string(name) not in raw.version


@pytest.mark.parametrize(
    "name", [b"version-select", b"text-seek", b"filename-translation-control", b"ranges@asyncssh.com", b"check-file"]
)
def test_extensions_of_later_versions_are_refused_and_recorded(later: Lab, version: int, name: bytes) -> None:
    with Raw(later, version=version) as raw:
        assert raw.status(wire.EXTENDED, wire.string(name), wire.string(b"3"))[0] == wire.OP_UNSUPPORTED
        assert read_attrs(raw.ask(wire.STAT, wire.string(b"."), wire.u32(0)), version).file_type == wire.DIRECTORY
    assert name.decode() in later.one("unsupported")["text"]


# every operation


def test_files_pass_with_size_and_sha256(later: Lab, version: int) -> None:
    content = os.urandom(200_000)
    with Raw(later, version=version) as raw:
        handle = handle_of(open_for(raw, version, "f", write=True))
        for at in range(0, len(content), 50_000):
            raw.write(handle, at, content[at : at + 50_000])
        raw.close_handle(handle)
        handle = handle_of(open_for(raw, version, "f"))
        got = b"".join(raw.read(handle, at, 50_000) for at in range(0, len(content), 50_000))
        raw.close_handle(handle)
    assert got == content == (later.home / "f").read_bytes()
    for operation in ("write", "read"):
        outcome = later.one(operation)["outcome"]
        assert (outcome["size"], outcome["tag"]) == (len(content), "the whole file")
        assert outcome["sha256"] == hashlib.sha256(content).hexdigest()


def test_the_last_data_of_version_6_says_so_and_both_sides_know(six: Lab) -> None:
    (six.home / "f").write_bytes(b"0123456789")
    with Raw(six, version=6) as raw:
        handle = handle_of(open_for(raw, 6, "f"))
        answer = raw.ask(wire.READ, wire.string(handle), wire.u64(0), wire.u32(4))
        assert answer[9:] == b"0123"
        answer = raw.ask(wire.READ, wire.string(handle), wire.u64(4), wire.u32(100))
        assert answer[9:] == b"456789\1"
        raw.close_handle(handle)
    outcome = six.one("read")["outcome"]
    assert (outcome["size"], outcome["tag"]) == (10, "the whole file")


def test_names_in_a_folder_are_on_record_and_the_end_of_the_list_is_told(later: Lab, version: int) -> None:
    for i in range(10):
        (later.home / f"file{i}").touch()
    with Raw(later, version=version) as raw:
        handle = handle_of(raw.ask(wire.OPENDIR, wire.string(b".")))
        answer = raw.ask(wire.READDIR, wire.string(handle))
        assert b"file7" in names(answer, version)
        assert (answer[-1] == 1) is (version == 6)
        assert raw.status(wire.READDIR, wire.string(handle))[0] == wire.EOF
        raw.close_handle(handle)
    command = later.one("readdir")
    assert "file9" in command["chunks"][0]["data"]
    assert command["outcome"]["rows"] == 12


def symlink(raw: Raw, version: int, link: bytes, text: bytes) -> tuple[int, str]:
    if version >= 6:
        return raw.status(wire.LINK, wire.string(link), wire.string(text), b"\1")
    return raw.status(wire.SYMLINK, wire.string(link), wire.string(text))


def hard_link(raw: Raw, version: int, old: bytes, new: bytes) -> tuple[int, str]:
    if version >= 6:
        return raw.status(wire.LINK, wire.string(new), wire.string(old), b"\0")
    return raw.status(wire.EXTENDED, wire.string(b"hardlink@openssh.com"), wire.string(old), wire.string(new))


def rename(raw: Raw, version: int, old: bytes, new: bytes, flags: int = 0) -> tuple[int, str]:
    more = (wire.u32(flags),) if version >= 5 else ()
    return raw.status(wire.RENAME, wire.string(old), wire.string(new), *more)


def test_each_operation_is_a_command_with_canonical_paths(later: Lab, version: int) -> None:
    (later.home / "a").write_text("hello")
    with Raw(later, version=version) as raw:
        got = [
            raw.status(wire.MKDIR, wire.string(b"d"), EMPTY),
            rename(raw, version, b"a", b"d/../b"),
            hard_link(raw, version, b"b", b"hard"),
            symlink(raw, version, b"soft", b"b"),
            raw.status(wire.SETSTAT, wire.string(b"b"), attributes.encoded(Attrs(permissions=0o600), version)),
            raw.status(wire.REMOVE, wire.string(b"hard")),
            raw.status(wire.RMDIR, wire.string(b"d")),
        ]
        assert [code for code, _ in got] == [wire.OK] * 7
        answer = raw.ask(wire.READLINK, wire.string(b"soft"))
        assert names(answer, version) == [b"b"]
        assert raw.ask(wire.EXTENDED, wire.string(b"statvfs@openssh.com"), wire.string(b"."))[0] == wire.EXTENDED_REPLY
    home = str(later.home)
    done = {(one["detail"]["operation"], one["detail"]["path"], one["detail"]["target"]) for one in later.commands()}
    assert done == {
        ("mkdir", f"{home}/d", ""),
        ("rename", f"{home}/a", f"{home}/b"),
        ("link", f"{home}/b", f"{home}/hard"),
        ("symlink", f"{home}/soft", f"{home}/b"),
        ("setstat", f"{home}/b", ""),
        ("remove", f"{home}/hard", ""),
        ("rmdir", f"{home}/d", ""),
        ("readlink", f"{home}/soft", ""),
        ("statvfs", home, ""),
    }
    assert (later.home / "soft").readlink() == Path("b")
    assert (later.home / "b").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("operation", ["read", "write", "mkdir", "rename", "link", "symlink", "setstat", "remove"])
def test_each_operation_can_be_refused(later: Lab, version: int, operation: str) -> None:
    (later.home / "a").write_text("content")
    before = sorted(path.name for path in later.home.iterdir())
    later.engine.rule = refusing(operation)
    with Raw(later, version=version) as raw:
        asked = {
            "read": lambda: read_status(open_for(raw, version, "a")),
            "write": lambda: read_status(open_for(raw, version, "new", write=True)),
            "mkdir": lambda: raw.status(wire.MKDIR, wire.string(b"d"), EMPTY),
            "rename": lambda: rename(raw, version, b"a", b"b", OVERWRITE | ATOMIC),
            "link": lambda: hard_link(raw, version, b"a", b"b"),
            "symlink": lambda: symlink(raw, version, b"l", b"a"),
            "setstat": lambda: raw.status(wire.SETSTAT, wire.string(b"a"), attributes.encoded(Attrs(size=0), version)),
            "remove": lambda: raw.status(wire.REMOVE, wire.string(b"a")),
        }
        code, message = asked[operation]()
    assert code == wire.PERMISSION_DENIED
    assert "not for agents" in message
    assert later.one(operation)["outcome"]["status"] == "refused"
    assert sorted(path.name for path in later.home.iterdir()) == before
    assert (later.home / "a").read_text() == "content"


def test_attributes_are_told_as_the_version_has_them(later: Lab, version: int) -> None:
    (later.home / "f").write_text("12345")
    with Raw(later, version=version) as raw:
        handle = handle_of(open_for(raw, version, "f"))
        wanted = wire.u32(0xFFFFFFFF)
        for kind, of in ((wire.STAT, b"f"), (wire.LSTAT, b"f"), (wire.FSTAT, handle)):
            found = read_attrs(raw.ask(kind, wire.string(of), wanted), version)
            assert (found.size, found.file_type) == (5, wire.REGULAR)
            assert found.owner is not None
            assert found.fractions is not None
            assert (found.ctime is not None) is (version == 6)
        assert raw.status(wire.STAT, wire.string(b"f"))[0] == wire.BAD_MESSAGE


def test_times_and_their_fractions_arrive(later: Lab, version: int) -> None:
    (later.home / "f").touch()
    when = Attrs(atime=1_000_000_000, mtime=1_100_000_000, fractions=(123_456_789, 0, 987_654_321, 0))
    with Raw(later, version=version) as raw:
        assert raw.status(wire.SETSTAT, wire.string(b"f"), attributes.encoded(when, version))[0] == wire.OK
    found = (later.home / "f").stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_000_123_456_789, 1_100_000_000_987_654_321)
    assert "times" in later.one("setstat")["text"]


# what plants, what is admin


@pytest.mark.parametrize("attrs", [Attrs(permissions=0o4755), Attrs(owner=b"root", group=b"root")])
def test_setid_bits_and_owners_are_admin_however_they_are_set(later: Lab, version: int, attrs: Attrs) -> None:
    def rule(command: Command) -> Ruling:
        return Ruling(Deny("no") if command.action == "admin" else Allow(), "guard")

    later.engine.rule = rule
    (later.home / "f").touch()
    field = attributes.encoded(attrs, version)
    with Raw(later, version=version) as raw:
        handle = handle_of(open_for(raw, version, "f", write=True))
        asked = [
            raw.status(wire.SETSTAT, wire.string(b"f"), field),
            raw.status(wire.EXTENDED, wire.string(b"lsetstat@openssh.com"), wire.string(b"f"), field),
            raw.status(wire.FSETSTAT, wire.string(handle), field),
            read_status(open_for(raw, version, "n", write=True, attrs=field)),
            raw.status(wire.MKDIR, wire.string(b"d"), field),
        ]
    assert [code for code, _ in asked] == [wire.PERMISSION_DENIED] * 5
    assert sorted(path.name for path in later.home.iterdir()) == ["f"]


def test_ways_around_writing_a_planting_file_are_admin(later: Lab, version: int) -> None:
    (later.home / "a").write_text("key")
    (later.home / ".ssh").mkdir()
    (later.home / "x").symlink_to(".ssh")
    target = b"x/authorized_keys"
    with Raw(later, version=version) as raw:
        assert hard_link(raw, version, b"a", target)[0] == wire.OK
        assert raw.status(wire.REMOVE, wire.string(target))[0] == wire.OK
        assert symlink(raw, version, target, b"../a")[0] == wire.OK
        assert raw.status(wire.REMOVE, wire.string(target))[0] == wire.OK
        assert rename(raw, version, b"a", target, NATIVE)[0] == wire.OK
        assert open_for(raw, version, "x/authorized_keys", write=True)[0] == wire.HANDLE
        assert symlink(raw, version, b"y", b".ssh")[0] == wire.OK
    assert [(one["detail"]["operation"], one["action"]) for one in later.commands()] == [
        ("link", "admin"),
        ("remove", "admin"),
        ("symlink", "admin"),
        ("remove", "admin"),
        ("rename", "admin"),
        ("write", "admin"),
        ("symlink", "admin"),
    ]


def test_a_hard_link_of_a_symbolic_one_is_judged_by_where_that_leads(later: Lab, version: int) -> None:
    (later.home / "secret").write_text("x")
    (later.home / "l").symlink_to("secret")
    with Raw(later, version=version) as raw:
        assert hard_link(raw, version, b"l", b"new")[0] == wire.OK
    assert later.one("link")["detail"]["paths_read"] == [str(later.home / "secret")]
    assert not (later.home / "new").is_symlink()


def test_rename_says_how_it_was_asked_for(later: Lab, version: int) -> None:
    for name in ("a", "b"):
        (later.home / name).write_text(name)
    with Raw(later, version=version) as raw:
        code, _ = rename(raw, version, b"a", b"b", OVERWRITE)
    assert (code == wire.OK) is (version >= 5)
    text = later.one("rename")["text"]
    assert text.endswith(" (overwrite)") is (version >= 5)
    assert (later.home / "b").read_text() == ("a" if version >= 5 else "b")


@pytest.mark.parametrize("flags", [8, 0x80000000, 0xFFFFFFFF])
def test_rename_with_unknown_flags_is_refused_and_recorded(six: Lab, flags: int) -> None:
    (six.home / "a").touch()
    with Raw(six, version=6) as raw:
        assert rename(raw, 6, b"a", b"b", flags)[0] == wire.OP_UNSUPPORTED
    assert six.one("unsupported")["outcome"]["status"] == "refused"
    assert (six.home / "a").exists()


# OPEN of version 5 and 6


@pytest.mark.parametrize("version", [5, 6])
@pytest.mark.parametrize(
    ("wanted", "flags"),
    [
        (READ, access.CREATE_NEW),
        (READ, access.CREATE_TRUNCATE),
        (READ, access.OPEN_OR_CREATE),
        (READ, access.TRUNCATE_EXISTING),
        (READ, access.OPEN_EXISTING | access.APPENDING),
        (READ, access.OPEN_EXISTING | access.APPENDING_ATOMIC),
        (access.APPEND_DATA, access.OPEN_EXISTING),
        (access.WRITE_DATA, access.OPEN_EXISTING),
        (READ | access.WRITE_DATA, access.OPEN_EXISTING),
        (0, access.TRUNCATE_EXISTING),
    ],
)
def test_opens_that_change_a_file_are_a_write_whatever_else_they_say(
    later: Lab, version: int, wanted: int, flags: int
) -> None:
    (later.home / "f").write_text("keep me")
    later.engine.rule = only_reads
    with Raw(later, version=version) as raw:
        for path in ("f", "new"):
            assert read_status(raw.open_later(path, wanted, flags))[0] == wire.PERMISSION_DENIED
        assert raw.open_later("f", READ, access.OPEN_EXISTING)[0] == wire.HANDLE
        assert raw.open_later("f", 0, access.OPEN_EXISTING)[0] == wire.HANDLE
    assert (later.home / "f").read_text() == "keep me"
    assert not (later.home / "new").exists()


@pytest.mark.parametrize(
    ("wanted", "flags", "named"),
    [
        (READ | 0x10000, access.OPEN_EXISTING, "DELETE"),
        (READ | 0x40000, access.OPEN_EXISTING, "WRITE_ACL"),
        (READ | 0x80000, access.OPEN_EXISTING, "WRITE_OWNER"),
        (READ | 0x20, access.OPEN_EXISTING, "EXECUTE"),
        (READ | 0x80000000, access.OPEN_EXISTING, "0x80000000"),
        (READ, access.OPEN_EXISTING | 0x800, "DELETE_ON_CLOSE"),
        (READ, access.OPEN_EXISTING | 0x20, "TEXT_MODE"),
        (READ, access.OPEN_EXISTING | 0x40, "BLOCK_READ"),
        (READ, access.OPEN_EXISTING | 0x8000, "OVERRIDE_OWNER"),
        (READ, access.OPEN_EXISTING | 0x40000000, "0x40000000"),
        (READ, 5, "disposition 5"),
        (READ, 7, "disposition 7"),
    ],
)
def test_opens_that_are_not_decided_are_refused_and_recorded(six: Lab, wanted: int, flags: int, named: str) -> None:
    (six.home / "f").write_text("keep me")
    with Raw(six, version=6) as raw:
        code, message = read_status(raw.open_later("f", wanted, flags))
    assert code == wire.OP_UNSUPPORTED
    assert named in message
    assert named in six.one("unsupported")["text"]
    assert (six.home / "f").read_text() == "keep me"


def test_text_mode_of_version_4_is_refused(lab: Lab) -> None:
    lab.serve_with_asyncssh(4)
    with Raw(lab, version=4) as raw:
        code, message = raw.status(wire.OPEN, wire.string(b"f"), wire.u32(0x41), EMPTY)
    assert (code, "text mode" in message) == (wire.OP_UNSUPPORTED, True)


def test_nofollow_meets_no_link(six: Lab) -> None:
    (six.home / "secret").write_text("x")
    (six.home / "l").symlink_to("secret")
    with Raw(six, version=6) as raw:
        code, _ = read_status(raw.open_later("l", READ, access.OPEN_EXISTING | access.NOFOLLOW))
        assert code == wire.LINK_LOOP
    assert six.one("read")["detail"]["path"] == f"{six.home}/l"
    assert six.one("read")["outcome"]["code"] == "LINK_LOOP"


@pytest.mark.parametrize("version", [5, 6])
def test_an_exclusive_open_does_not_follow_a_link(later: Lab, version: int) -> None:
    (later.home / "l").symlink_to("nowhere")
    with Raw(later, version=version) as raw:
        assert read_status(raw.open_later("l", WRITE, access.CREATE_NEW))[0] == wire.FAILURE
    assert not (later.home / "nowhere").exists()


@pytest.mark.parametrize("version", [5, 6])
def test_appended_bytes_are_said_to_be_appended(later: Lab, version: int) -> None:
    (later.home / "f").write_text("one ")
    with Raw(later, version=version) as raw:
        flags = access.OPEN_EXISTING | access.APPENDING
        handle = handle_of(raw.open_later("f", access.APPEND_DATA | access.WRITE_DATA, flags))
        raw.write(handle, 0, b"two")
        raw.close_handle(handle)
    assert (later.home / "f").read_text() == "one two"
    assert later.one("write")["outcome"]["tag"] == "3 bytes appended, not known to be the whole file"


@pytest.mark.parametrize("version", [5, 6])
def test_no_hash_is_claimed_where_it_is_not_certain_where_bytes_go(later: Lab, version: int) -> None:
    (later.home / "f").write_text("one ")
    with Raw(later, version=version) as raw:
        handle = handle_of(raw.open_later("f", access.APPEND_DATA | access.WRITE_DATA, access.OPEN_EXISTING))
        raw.write(handle, 0, b"two")
        raw.close_handle(handle)
    outcome = later.one("write")["outcome"]
    assert not outcome.get("sha256")
    assert outcome["size"] == 3


# attributes that are not decided


@pytest.mark.parametrize(
    ("attrs", "named"),
    [
        (Attrs(acl=b"\0\0\0\0"), "access control list"),
        (Attrs(bits=(0x200, 0x200)), "attribute bits"),
        (Attrs(allocation=10), "allocation size"),
        (Attrs(text_hint=0), "text hint"),
        (Attrs(mime_type=b"text/plain"), "MIME type"),
        (Attrs(links=2), "link count"),
        (Attrs(untranslated=b"x"), "untranslated name"),
        (Attrs(ctime=1), "change time"),
    ],
)
def test_attributes_that_are_not_decided_are_refused_and_recorded(six: Lab, attrs: Attrs, named: str) -> None:
    (six.home / "f").touch()
    field = attributes.encoded(attrs, 6)
    with Raw(six, version=6) as raw:
        handle = handle_of(open_for(raw, 6, "f", write=True))
        asked = [
            raw.status(wire.SETSTAT, wire.string(b"f"), field),
            raw.status(wire.FSETSTAT, wire.string(handle), field),
            raw.status(wire.MKDIR, wire.string(b"d"), field),
            read_status(open_for(raw, 6, "g", write=True, attrs=field)),
        ]
    assert all(code == wire.OP_UNSUPPORTED and named in message for code, message in asked)
    assert len(six.of("unsupported")) == 4
    assert sorted(path.name for path in six.home.iterdir()) == ["f"]


def test_extended_attributes_are_not_passed_on(later: Lab, version: int) -> None:
    (later.home / "f").touch()
    field = wire.u32(attributes.EXTENDED) + b"\5" + wire.u32(1) + wire.string(b"user.x") + wire.string(b"y")
    with Raw(later, version=version) as raw:
        assert raw.status(wire.SETSTAT, wire.string(b"f"), field)[0] == wire.OP_UNSUPPORTED


@pytest.mark.parametrize(
    "field",
    [
        wire.u32(2) + b"\5" + wire.u32(0) * 2,  # version 3's numbers of owner and group
        wire.u32(0) + b"\0",
        wire.u32(0) + b"\x0a",
        wire.u32(0),
        wire.u32(1) + b"\1",
        wire.u32(0x80) + b"\1" + wire.u32(0xFFFFFFFF) + b"root",
        wire.u32(0x80) + b"\1" + wire.string(b"root"),
        wire.u32(0x80000000) + b"\1" + wire.u32(0xFFFFFFFF),
        wire.u32(0x40) + b"\1" + wire.u32(100) + b"short",
        wire.u32(0x108) + b"\1" + wire.u64(0),
        wire.u32(4) + b"\1" + wire.u32(0o600) + b"more",
        wire.u32(0x10000) + b"\1",
    ],
)
def test_attributes_that_lie_about_themselves_are_not_read(later: Lab, version: int, field: bytes) -> None:
    (later.home / "f").touch()
    with Raw(later, version=version) as raw:
        assert raw.status(wire.SETSTAT, wire.string(b"f"), field)[0] == wire.BAD_MESSAGE
        assert raw.status(wire.MKDIR, wire.string(b"d"), EMPTY)[0] == wire.OK
    assert [one["detail"]["operation"] for one in later.commands()] == ["unreadable", "mkdir"]


@pytest.mark.parametrize(("older", "flag"), [(4, 0x200), (4, 0x400), (5, 0x400), (5, 0x8000)])
def test_attributes_of_a_later_version_are_not_read(lab: Lab, older: int, flag: int) -> None:
    lab.serve_with_asyncssh(older)
    with Raw(lab, version=older) as raw:
        field = wire.u32(flag) + b"\1" + b"\0" * 8
        assert raw.status(wire.SETSTAT, wire.string(b"f"), field)[0] == wire.BAD_MESSAGE


# version 6 alone


def test_locks_are_refused_and_recorded(six: Lab) -> None:
    (six.home / "f").touch()
    with Raw(six, version=6) as raw:
        handle = handle_of(open_for(raw, 6, "f"))
        for kind, more in ((wire.BLOCK, wire.u32(0x40)), (wire.UNBLOCK, b"")):
            code, message = raw.status(kind, wire.string(handle), wire.u64(0), wire.u64(0), more)
            assert code == wire.OP_UNSUPPORTED
            assert "lock" in message
    assert len(six.of("unsupported")) == 2


def test_version_6_has_no_symlink_and_the_earlier_ones_no_link(lab: Lab) -> None:
    for version, kind in ((6, wire.SYMLINK), (5, wire.LINK), (4, wire.LINK)):
        lab.serve_with_asyncssh(version)
        with Raw(lab, version=version) as raw:
            assert raw.status(kind, wire.string(b"a"), wire.string(b"b"), b"\1")[0] == wire.OP_UNSUPPORTED
    assert list(lab.home.iterdir()) == []


def test_a_link_is_hard_or_symbolic_and_nothing_else(six: Lab) -> None:
    (six.home / "a").touch()
    with Raw(six, version=6) as raw:
        assert raw.status(wire.LINK, wire.string(b"l"), wire.string(b"a"), b"\2")[0] == wire.BAD_MESSAGE
        assert raw.status(wire.LINK, wire.string(b"l"), wire.string(b"a"))[0] == wire.BAD_MESSAGE
    assert not (six.home / "l").exists()


def realpath(raw: Raw, path: bytes, *more: bytes) -> bytes:
    return raw.ask(wire.REALPATH, wire.string(path), *more)


def test_realpath_puts_paths_together_and_tells_attributes_if_asked(six: Lab) -> None:
    (six.home / "d").mkdir()
    (six.home / "d/f").write_text("12345")
    (six.home / "l").symlink_to("d")
    real = f"{six.home}/d/f".encode()
    with Raw(six, version=6) as raw:
        for more in ((), (b"\1",), (b"\1", wire.string(b".")), (wire.byte(STAT_IF_EXISTS),)):
            assert names(realpath(raw, b"l/../l/f" if len(more) < 2 else b"l/f", *more), 6) == [real]
        answer = realpath(raw, b"l", wire.byte(STAT_ALWAYS), wire.string(b"f"))
        fields = Fields(answer, 9)
        assert fields.string() == real
        assert attributes.read(fields, 6).size == 5
        assert names(realpath(raw, b"/etc", b"\1", wire.string(real)), 6) == [real]
        assert names(realpath(raw, b"none", wire.byte(STAT_IF_EXISTS)), 6) == [f"{six.home}/none".encode()]
        assert read_status(realpath(raw, b"none", wire.byte(STAT_ALWAYS)))[0] == wire.NO_SUCH_FILE
        assert read_status(realpath(raw, b"f", b"\4"))[0] == wire.OP_UNSUPPORTED
        assert read_status(realpath(raw, b"f", b"\1", b"junk"))[0] == wire.BAD_MESSAGE
        assert read_status(realpath(raw, b"f", b"\1", *[wire.string(b"x")] * 100))[0] == wire.BAD_MESSAGE
    assert all(one["outcome"] is not None for one in six.commands())


def test_realpath_tells_no_attributes_that_stat_would_not(six: Lab) -> None:
    (six.home / "f").write_text("12345")
    six.engine.rule = refusing("stat")
    with Raw(six, version=6) as raw:
        assert names(realpath(raw, b"f", b"\1"), 6)
        assert read_status(realpath(raw, b"f", wire.byte(STAT_IF_EXISTS)))[0] == wire.PERMISSION_DENIED


def test_ids_of_a_client_may_repeat(six: Lab) -> None:
    with Raw(six, version=6) as raw:
        for _ in range(3):
            raw.socket.sendall(wire.packet(wire.STAT, 7, wire.string(b"."), wire.u32(0)))
        assert [raw.packet()[:5] for _ in range(3)] == [bytes([wire.ATTRS]) + wire.u32(7)] * 3


@pytest.mark.parametrize("packet", [struct.pack(">I", 0), struct.pack(">I", 0xFFFFFFFF) + b"\3"])
def test_a_packet_of_an_impossible_length_ends_the_channel(six: Lab, packet: bytes) -> None:
    with Raw(six, version=6) as raw:
        raw.socket.sendall(packet)
        assert raw.ends()


def test_handles_that_nobody_was_given_are_none(later: Lab, version: int) -> None:
    with Raw(later, version=version) as raw:
        assert raw.status(wire.READ, wire.string(b"h"), wire.u64(0), wire.u32(1))[0] == wire.INVALID_HANDLE
        assert raw.status(wire.CLOSE, wire.string(b"h"))[0] == wire.INVALID_HANDLE


# masks


def test_a_text_file_arrives_masked_and_its_size_is_that_of_the_copy(later: Lab, version: int) -> None:
    text = "name: Ann\nmail: ann@example.com\n" * 100
    later.settings["masks"] = masks(email="redact")
    (later.home / "f").write_text(text)
    (later.home / "l").symlink_to("f")
    with Raw(later, version=version) as raw:
        handle = handle_of(open_for(raw, version, "l"))
        content = b""
        while True:
            answer = raw.ask(wire.READ, wire.string(handle), wire.u64(len(content)), wire.u32(999))
            if answer[0] != wire.DATA:
                break
            content += Fields(answer, 5).string()
        told = [
            read_attrs(raw.ask(kind, wire.string(of), wire.u32(attributes.WANTED)), version)
            for kind, of in ((wire.STAT, b"l"), (wire.LSTAT, b"f"), (wire.FSTAT, handle))
        ]
        if version == 6:
            fields = Fields(realpath(raw, b"l", wire.byte(STAT_ALWAYS)), 9)
            assert fields.string() == f"{later.home}/f".encode()
            told.append(attributes.read(fields, 6))
        raw.close_handle(handle)
    assert b"ann@example.com" not in content
    assert content.count(b"name: Ann") == 100
    assert {attrs.size for attrs in told} == {len(content)}
    assert len(content) != len(text)
    command = later.one("read")
    assert command["outcome"]["masked"] == {"email": 100}
    assert "ann@example.com" not in str(command["chunks"])


def test_what_is_not_text_is_refused_where_masks_apply(later: Lab, version: int) -> None:
    later.settings["masks"] = masks(email="redact")
    (later.home / "f").write_bytes(b"text\0more")
    with Raw(later, version=version) as raw:
        assert read_status(open_for(raw, version, "f"))[0] == wire.PERMISSION_DENIED
        if version >= 5:
            both = READ | access.WRITE_DATA
            assert read_status(raw.open_later("f", both, access.OPEN_EXISTING))[0] == wire.PERMISSION_DENIED
