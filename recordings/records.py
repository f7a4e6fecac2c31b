"""What stands in a record's payload: one frozen shape a kind, encoded as JSON.

JSON, because an outsider who checks a proof must be able to read what was proved. Ids and times stand in the
frame's clear header, not here. A reader accepts unknown fields (later versions add some) but never guesses
missing ones. What became of a command is recorded as `policies.model.Outcome`, before the end of its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from onrecord.policies.approvals import Approver, Preview, Request
from onrecord.policies.kills import Kill
from onrecord.policies.model import Identity, Outcome
from onrecord.policies.verdict import Hold, Verdict

Direction = Literal["to_client", "to_upstream"]


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A data-path process opened its journal."""

    process: str
    pid: int
    version: str
    host: str = ""


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session began. `digest_key` (hex) keys every digest of the session: erasing it makes them mute."""

    run: str
    identity: Identity
    resource: str
    protocol: str
    client: str
    login: str = ""
    digest_key: str = ""


class VerdictRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The ruling on a command. `applied` is false where `mode = "observe"` let it pass nevertheless.

    `approval` is the id of the approval that a held command waited for.
    """

    type: Literal["allow", "deny", "hold"]
    policy: str
    reason: str = ""
    hint: str = ""
    approvers: str = ""
    policies: str = ""
    applied: bool = True
    approval: str = ""


class CommandRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command was decided; written before its first byte goes upstream."""

    kind: str
    action: str
    text: str
    detail: msgspec.Raw | Mapping[str, object]
    verdict: VerdictRecord
    cause: str | None = None


class ChunkRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a stream, written before it is delivered.

    `data` is the bounded, masked content: text, `{"base64": …}`, or rows; None beyond the bound, where `size`
    (bytes) and `digest` (HMAC-SHA256 under the session's key, hex) still count it. `note` says what it is.
    `channel` names one of several streams of a command (docs/decisions/0011): "stdin", "stdout", "stderr", "terminal",
    "resize" (`data` is `{"columns": …, "rows": …}`), "signal" (`data` is its name).
    """

    direction: Direction
    size: int
    digest: str = ""
    data: object = None
    rows: int = 0
    note: str = ""
    channel: str = ""


class SessionEndRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session ended: why, and how many commands it had."""

    reason: str
    commands: int = 0


class RefusalRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something was refused before it was a command: a bad token, an unknown host, junk on the wire.

    `what` is the policy's name ("onrecord:identity", "onrecord:egress", "onrecord:protocol", …); `text` what was
    asked for, without credentials; `detail` the reason in full, for the operator.
    """

    what: str
    reason: str
    protocol: str
    client: str
    text: str = ""
    detail: str = ""
    resource: str = ""
    identity: Identity | None = None
    count: int = 1


class PolicyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process took a policy set into use, or could not: `error` says why."""

    digest: str
    files: tuple[str, ...] = ()
    error: str = ""


class GapRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What could not be recorded one by one is counted here."""

    refusals: int
    since: int
    reason: str


class LookRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person logged in at the admin page or left, or saw recorded or held content there; written before it is shown.

    `what` is "login", "logout", "approval", "list", "command", "session", "run" or "record"; `of` the id of what was
    looked at, `parts` what of it was shown ("text", "parameters", "detail", "result"), of a list the approvals in it.
    """

    identity: Identity
    what: str
    client: str
    of: str = ""
    parts: tuple[str, ...] = ()
    auth_time: float = 0.0
    acr: str = ""


class ApprovalRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step of an approval, by the process that knows it: the recorder, or (`used`) whoever lets the command go.

    "requested" carries the whole request; "agreed" is one person's yes of several; "rejected" a decision that was not
    accepted (`decision` says which, `reason` why); "consumed" that the recorder gave the grant away, once.
    """

    approval: str
    event: Literal[
        "requested",
        "preview",
        "agreed",
        "granted",
        "refused",
        "expired",
        "cancelled",
        "revoked",
        "consumed",
        "used",
        "rejected",
    ]
    reason: str = ""
    decision: str = ""
    expires_at: float = 0.0
    by: Approver | None = None
    request: Request | None = None
    preview: Preview | None = None


class KillRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A kill switch was set, or lifted by `by`; "rejected": somebody tried who may not."""

    event: Literal["killed", "lifted", "rejected"]
    kill: Kill | None = None
    reason: str = ""
    by: Approver | None = None


Record = (
    ProcessRecord
    | SessionRecord
    | CommandRecord
    | ChunkRecord
    | Outcome
    | SessionEndRecord
    | RefusalRecord
    | PolicyRecord
    | GapRecord
    | LookRecord
    | ApprovalRecord
    | KillRecord
)


def verdict_record(
    verdict: Verdict, policy: str, policies: str, *, applied: bool = True, approval: str = ""
) -> VerdictRecord:
    """The record of `verdict`, given by `policy` under the policy set with digest `policies`."""
    name = verdict.__struct_config__.tag
    return VerdictRecord(
        type=name,  # type: ignore[arg-type]  # the tags of Verdict are the literals
        policy=policy,
        reason=getattr(verdict, "reason", ""),
        hint=getattr(verdict, "hint", ""),
        approvers=verdict.who if isinstance(verdict, Hold) else "",
        policies=policies,
        applied=applied,
        approval=approval,
    )


_encode_strict = msgspec.json.Encoder().encode


def encode(record: Record | VerdictRecord) -> bytes:
    """A record as JSON; lone surrogates (bytes that were no UTF-8) become visible escapes."""
    try:
        return _encode_strict(record)
    except UnicodeEncodeError:
        fields = msgspec.structs.asdict(record)
        plain = {
            name: msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
            for name, value in fields.items()
        }
        return _encode_strict(_escape(msgspec.to_builtins(plain, str_keys=True)))


def _escape(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_escape(name): _escape(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escape(item) for item in value]
    return value
