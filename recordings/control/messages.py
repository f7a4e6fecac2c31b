"""The control channel's messages and their frames: a 4-byte big-endian length, then one JSON object tagged by `type`.

A later kind of message is one more Struct in the union of its direction. Pure: bytes in, messages out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from time import monotonic
from typing import Annotated, Literal

import msgspec

from onrecord.policies.approvals import Approval, Approver, Preview, Request
from onrecord.policies.errors import ControlError
from onrecord.policies.kills import Kill, Target
from onrecord.policies.policy_set import PolicySet

PROTOCOL = 2
MAX_TO_RECORDER = 1024 * 1024
MAX_TO_PROCESS = 16 * 1024 * 1024
MAX_TEXT = 4000

_LENGTH = struct.Struct(">I")


class Hello(msgspec.Struct, frozen=True, tag="hello", forbid_unknown_fields=True):
    """A process's first message: its name, process id, and the digest of the policies that it already runs.

    With `role` "admin" it decides no commands and runs no policies: it carries what humans decide.
    """

    process: str
    pid: int
    protocol: int = PROTOCOL
    digest: str = ""
    role: Literal["datapath", "admin"] = "datapath"


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


# -- approvals: between a process that lets commands go and the recorder -----------------------------------------------


class HoldRequest(msgspec.Struct, frozen=True, tag="hold", forbid_unknown_fields=True):
    """A command waits. `again`: it was said before, on a connection that was lost."""

    request: Request
    again: bool = False


class HoldAnswer(msgspec.Struct, frozen=True, tag="held", forbid_unknown_fields=True):
    """The answer to HoldRequest `ref` (its request's id): `approval` serves it, another one where it is a repeat.

    An empty `approval` says no, with `reason`. `expires_in` is seconds from now.
    """

    ref: str
    approval: str
    state: str
    reason: str = ""
    by: str = ""
    expires_in: float = 0.0


class Ruled(msgspec.Struct, frozen=True, tag="ruled", forbid_unknown_fields=True):
    """The approval changed its state while the process waits for it."""

    approval: str
    state: str
    reason: str = ""
    by: str = ""
    expires_in: float = 0.0


class Consume(msgspec.Struct, frozen=True, tag="consume", forbid_unknown_fields=True):
    """Give me the grant, for the command with `digest` under the policies `policies`. `nonce` names this one use."""

    approval: str
    nonce: str
    digest: str
    policies: str


class Consumed(msgspec.Struct, frozen=True, tag="consumed", forbid_unknown_fields=True):
    """The answer to Consume: whether the command may run, now and once."""

    nonce: str
    ok: bool
    reason: str = ""
    by: str = ""


class CancelHold(msgspec.Struct, frozen=True, tag="cancel_hold", forbid_unknown_fields=True):
    """The client waits no longer. `keep`: the approval goes on for a repeat; else it is cancelled for `reason`."""

    approval: str
    reason: str
    keep: bool = False


class Previewed(msgspec.Struct, frozen=True, tag="previewed", forbid_unknown_fields=True):
    """What would happen, found out while the approval waits."""

    approval: str
    preview: Preview


class Kills(msgspec.Struct, frozen=True, tag="kills", forbid_unknown_fields=True):
    """All kill switches that are set: at the beginning, and again at each change."""

    kills: tuple[Kill, ...] = ()


# -- approvals: between the admin process and the recorder -------------------------------------------------------------


class Watch(msgspec.Struct, frozen=True, tag="watch", forbid_unknown_fields=True):
    """Tell me of every approval: those there are, then Watching, then each change."""


class Watching(msgspec.Struct, frozen=True, tag="watching", forbid_unknown_fields=True):
    """What there was has been told."""


class Changed(msgspec.Struct, frozen=True, tag="changed", forbid_unknown_fields=True):
    """An approval as it is now. `expires_in` is seconds from now; `missing` the groups of which nobody agreed yet."""

    approval: Approval
    expires_in: float = 0.0
    missing: tuple[str, ...] = ()
    waiting: bool = False


class Decide(msgspec.Struct, frozen=True, tag="decide", forbid_unknown_fields=True):
    """A human decided. The recorder checks again who may."""

    ref: str
    approval: str
    decision: Literal["approve", "deny", "revoke"]
    by: Approver
    reason: str = ""


class SetKill(msgspec.Struct, frozen=True, tag="set_kill", forbid_unknown_fields=True):
    """Stop a run, a session or an identity. The recorder gives it its id and time."""

    ref: str
    target: Target
    value: str
    by: Approver
    issuer: str = ""
    reason: str = ""


class LiftKill(msgspec.Struct, frozen=True, tag="lift_kill", forbid_unknown_fields=True):
    """Lift the kill switch with this id."""

    ref: str
    kill: str
    by: Approver
    reason: str = ""


class Answered(msgspec.Struct, frozen=True, tag="answered", forbid_unknown_fields=True):
    """The answer to Decide, SetKill or LiftKill. `code`: "ok", "forbidden", "conflict", "not_found" or "trouble"."""

    ref: str
    code: str
    error: str = ""
    id: str = ""
    state: str = ""


FromDataPath = HoldRequest | Consume | CancelHold | Previewed
FromAdmin = Watch | Decide | SetKill | LiftKill
ToDataPath = HoldAnswer | Ruled | Consumed | Kills
ToAdmin = Watching | Changed | Answered | Kills

ToRecorder = Hello | Ready | Refusals | FromDataPath | FromAdmin
ToProcess = Heartbeat | Prepare | Commit | PolicyFailed | ToDataPath | ToAdmin

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
