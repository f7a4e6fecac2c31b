"""Paths of a server that nobody knows to resolve links: walked component by component, with the same result."""

from __future__ import annotations

import pytest

from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.paths import is_canonical, lexical, split
from tests.shims.ssh.sftp.lab import Lab
from tests.shims.ssh.sftp.raw import Raw


@pytest.fixture
def walked(lab: Lab) -> Lab:
    lab.settings["ordered"] = False
    (lab.home / ".ssh").mkdir()
    (lab.home / "d").mkdir()
    (lab.home / "x").symlink_to(".ssh")
    (lab.home / "y").symlink_to(f"{lab.home}/d/../x")
    (lab.home / "d" / "up").symlink_to("../..")
    return lab


@pytest.mark.parametrize("path", ["x/k", "y/k", "./x//k", "d/../y/./k", "d/up/home/x/k", "x/../.ssh/k"])
def test_links_are_followed_wherever_they_stand(walked: Lab, path: str) -> None:
    with Raw(walked) as raw:
        raw.open(path, wire.FLAG_WRITE | wire.FLAG_CREAT)
    assert walked.one("write")["detail"]["path"] == f"{walked.home}/.ssh/k"
    assert (walked.home / ".ssh/k").exists()


@pytest.mark.parametrize("ordered", [True, False])
def test_the_last_link_is_followed_only_where_the_operation_follows_it(walked: Lab, ordered: bool) -> None:
    walked.settings["ordered"] = ordered
    home = str(walked.home)
    with Raw(walked) as raw:
        raw.ask(wire.STAT, wire.string(b"x"))
        raw.ask(wire.LSTAT, wire.string(b"x"))
        raw.ask(wire.READLINK, wire.string(b"x"))
        raw.ask(wire.LSTAT, wire.string(b"x/"))
        assert raw.status(wire.REMOVE, wire.string(b"x"))[0] == wire.OK
    assert [one["detail"]["path"] for one in walked.commands()] == [
        f"{home}/.ssh",
        f"{home}/x",
        f"{home}/x",
        f"{home}/.ssh",
        f"{home}/x",
    ]
    assert (walked.home / ".ssh").exists()


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("path", ["nowhere/f", "d/nowhere/../f", "x/nowhere/f"])
def test_a_path_that_is_not_there_is_decided_and_answered_as_the_server_does(
    walked: Lab, path: str, ordered: bool
) -> None:
    walked.settings["ordered"] = ordered
    with Raw(walked) as raw:
        flags = wire.FLAG_WRITE | wire.FLAG_CREAT
        code, _ = raw.status(wire.OPEN, wire.string(path.encode()), wire.u32(flags), wire.u32(0))
    assert code == wire.NO_SUCH_FILE
    assert walked.one("write")["outcome"]["code"] == "NO_SUCH_FILE"


def test_links_in_a_circle_end(walked: Lab) -> None:
    (walked.home / "a").symlink_to("b")
    (walked.home / "b").symlink_to("a")
    with Raw(walked) as raw:
        assert raw.status(wire.STAT, wire.string(b"a/x"))[0] == wire.FAILURE


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (b"a", (b".", b"a")),
        (b"/a", (b"/", b"a")),
        (b"a/b", (b"a", b"b")),
        (b"a/", (b"a/", b"")),
        (b"a/..", (b"a/..", b"")),
        (b"/", (b"/", b"")),
        (b"", (b".", b"")),
    ],
)
def test_a_path_is_split_where_its_last_name_is_one(path: bytes, parts: tuple[bytes, bytes]) -> None:
    assert split(path) == parts


def test_only_absolute_paths_in_their_usual_form_are_canonical() -> None:
    assert all(is_canonical(path) for path in (b"/", b"/a", b"/a/b", b"/a/...", b"/caf\xe9"))
    assert not any(is_canonical(path) for path in (b"", b"a", b"/a/", b"//a", b"/a/../b", b"/./a", b"/a\0"))
    assert lexical(b"/home", b"a/../b") == b"/home/b"
    assert lexical(b"/home", b"//x") == b"/x"
