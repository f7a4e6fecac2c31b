"""Bodies recorded while they flow; gRPC framing."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.streams import GrpcFrames, Stream


class Journal:
    """Takes chunks, until it is full."""

    def __init__(self) -> None:
        self.chunks: list[tuple[int, Any, str]] = []
        self.full = False

    def chunk(self, _: Any, __: str, size: int, *, data: Any, digest: str, note: str) -> None:
        if self.full:
            raise OSError("full")
        self.chunks.append((size, data, note))


class Scene:
    """A stream, what was recorded of it, and what it called."""

    def __init__(self, **more: Any) -> None:
        self.journal, self.ends, self.failures = Journal(), 0, list[str]()
        decision = SimpleNamespace(opened=SimpleNamespace(digest=hashlib.sha256))
        settings: dict[str, Any] = {"limit": 1000, "expected": None} | more
        self.stream = Stream(
            cast(Any, SimpleNamespace(decision=decision)),
            cast(Any, self.journal),
            "to_client",
            on_end=self._end,
            on_failure=self.failures.append,
            **settings,
        )

    def _end(self) -> None:
        self.ends += 1


def test_a_stream_without_a_decision_cannot_be() -> None:
    with pytest.raises(RuntimeError, match="before its decision"):
        Stream(
            cast(Any, SimpleNamespace(decision=None)),
            cast(Any, Journal()),
            "to_client",
            limit=1,
            expected=None,
            on_end=lambda: None,
            on_failure=lambda _: None,
        )


def test_pieces_pass_unchanged_and_end_once() -> None:
    scene = Scene()
    assert [scene.stream(piece) for piece in (b"one", b"two", b"")] == [b"one", b"two", b""]
    assert (scene.stream.size, scene.ends, len(scene.journal.chunks)) == (6, 1, 2)
    assert scene.stream.digest() == hashlib.sha256(b"onetwo").hexdigest()


def test_with_its_last_expected_byte_a_stream_is_at_its_end() -> None:
    scene = Scene(expected=6)
    scene.stream(b"one")
    assert scene.ends == 0
    scene.stream(b"two")
    scene.stream(b"")
    assert scene.ends == 1


def test_what_is_beyond_the_bound_passes_counted_and_is_not_kept() -> None:
    scene = Scene(limit=4)
    assert scene.stream(b"abc") + scene.stream(b"def") + scene.stream(b"ghi") == b"abcdefghi"
    assert [(size, bool(note)) for size, _, note in scene.journal.chunks] == [(3, False), (3, True), (3, True)]
    assert scene.journal.chunks[2][1] is None


def test_what_cannot_be_recorded_does_not_pass_nor_anything_after_it() -> None:
    scene = Scene()
    scene.stream(b"one")
    scene.journal.full = True
    assert scene.stream(b"two") == b""
    scene.journal.full = False
    assert scene.stream(b"three") == b""
    assert scene.stream(b"") == b""
    assert (len(scene.failures), scene.ends, scene.stream.broken) == (1, 0, True)


def check_whole(body: bytes) -> None:
    check = GrpcFrames()
    check(body)
    check(b"")


def frame(data: bytes) -> bytes:
    return b"\x00" + len(data).to_bytes(4, "big") + data


@given(st.lists(st.binary(max_size=20), max_size=5), st.integers(1, 7))
def test_grpc_messages_pass_however_they_are_cut(messages: list[bytes], step: int) -> None:
    check, data = GrpcFrames(), b"".join(map(frame, messages))
    for start in range(0, len(data), step):
        check(data[start : start + step])
    check(b"")


@pytest.mark.parametrize(
    "body", [b'{"a": 1}', b"\x02\x00\x00\x00\x00", b"\x00\x7f\xff\xff\xff", frame(b"abc")[:-1], b"\x00"]
)
def test_what_is_no_sequence_of_grpc_messages_raises(body: bytes) -> None:
    with pytest.raises(ValueError, match="gRPC"):
        check_whole(body)


def test_a_body_that_fails_its_check_does_not_pass() -> None:
    scene = Scene(check=GrpcFrames())
    assert scene.stream(b'{"drop": true}') == b""
    assert (scene.journal.chunks, len(scene.failures)) == ([], 1)
