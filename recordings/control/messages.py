"""The control channel's messages and their frames: a 4-byte big-endian length, then one JSON object tagged by `type`.

A later kind of message is one more Struct in the union of its direction. Pure: bytes in, messages out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from time import monotonic
from typing import Annotated

import msgspec

from onrecord.policies.errors import ControlError
from onrecord.policies.policy_set import PolicySet

PROTOCOL = 1
MAX_TO_RECORDER = 64 * 1024
MAX_TO_PROCESS = 16 * 1024 * 1024
MAX_TEXT = 4000

_LENGTH = struct.Struct(">I")


class Hello(msgspec.Struct, frozen=True, tag="hello", forbid_unknown_fields=True):
    """A process's first message: its name, process id, and the digest of the policies that it already runs."""

    process: str
    pid: int
    protocol: int = PROTOCOL
    digest: str = ""


class Ready(msgspec.Struct, frozen=True, tag="ready", forbid_unknown_fields=True):
    """The answer to Prepare: whether the set with `digest` compiled here, and why not."""

    digest: str
    ok: bool
    error: str = ""


class Refusals(msgspec.Struct, frozen=True, tag="refusals", forbid_unknown_fields=True):
    """`count` refusals that a process could not write to its journal."""

    count: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    reason: str


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat", forbid_unknown_fields=True):
    """The recorder lived at `at` (this machine's monotonic seconds: time spent in a buffer counts as silence).

    `store_error` says why it cannot store; empty where it can.
    """

    store_error: str = ""
    at: float = msgspec.field(default_factory=monotonic)


class Prepare(msgspec.Struct, frozen=True, tag="prepare", forbid_unknown_fields=True):
    """Compile this policy set aside and answer Ready."""

    digest: str
    policies: PolicySet


class Commit(msgspec.Struct, frozen=True, tag="commit", forbid_unknown_fields=True):
    """Every process compiled the set: put it into force now."""

    digest: str


class PolicyFailed(msgspec.Struct, frozen=True, tag="policy_failed", forbid_unknown_fields=True):
    """The newest policies cannot be used, since `age` seconds."""

    error: str
    age: float = 0.0


ToRecorder = Hello | Ready | Refusals
ToProcess = Heartbeat | Prepare | Commit | PolicyFailed

_encode = msgspec.json.Encoder().encode


def encode(message: ToRecorder | ToProcess, limit: int) -> bytes:
    """One message as a frame. Raises ControlError where it is longer than `limit` bytes."""
    payload = _encode(message)
    if len(payload) > limit:
        raise ControlError(f"a control message of {len(payload)} bytes is over its limit of {limit}")
    return _LENGTH.pack(len(payload)) + payload


class Decoder[T]:
    """Bytes → messages of one direction, in any chunking. Raises ControlError at the first nonsense."""

    def __init__(self, union: type[T], limit: int) -> None:
        self._decode = msgspec.json.Decoder(union).decode
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """The messages that `data` completes. Read them all before the next feed."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer)
            if length > self._limit:
                raise ControlError(f"a control message of {length} bytes is over its limit of {self._limit}")
            end = _LENGTH.size + length
            if len(buffer) < end:
                return
            payload = bytes(buffer[_LENGTH.size : end])
            del buffer[:end]
            try:
                message = self._decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ControlError(f"a control message is not understood: {error}") from None
            yield message


def to_recorder() -> Decoder[ToRecorder]:
    """A decoder of what processes send to the recorder."""
    return Decoder(ToRecorder, MAX_TO_RECORDER)  # type: ignore[arg-type]  # a union is no type to mypy


def to_process() -> Decoder[ToProcess]:
    """A decoder of what the recorder sends to processes."""
    return Decoder(ToProcess, MAX_TO_PROCESS)  # type: ignore[arg-type]


def clip(text: str) -> str:
    """`text` short enough for a message."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
