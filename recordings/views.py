"""Records as people and programs read them: committed bytes → the JSON objects of the fixed surface.

Pure. Everything here comes from leaves; the caller only says which leaves belong together.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from onrecord.recordings.frames import HEADER, NO_ID, Kind, id_text

View = dict[str, Any]


class _Verdict(msgspec.Struct):
    type: str
    policy: str
    reason: str = ""
    hint: str = ""
    approvers: str = ""
    policies: str = ""
    applied: bool = True


class _Identity(msgspec.Struct):
    issuer: str
    subject: str
    groups: tuple[str, ...] = ()
    kind: str = "agent"
    on_behalf_of: str | None = None
    agent: str | None = None
    token_id: str = ""
    run: str | None = None


class _Command(msgspec.Struct):
    kind: str
    action: str
    text: str
    detail: dict[str, msgspec.Raw]
    verdict: _Verdict
    cause: str | None = None


class _Outcome(msgspec.Struct):
    status: str
    code: str = ""
    rows: int = 0
    bytes: int = 0
    duration_ms: float = 0.0
    error: str | None = None
    tag: str = ""
    masked: dict[str, int] = msgspec.field(default_factory=dict)
    digest: str | None = None
    size: int = 0
    sha256: str = ""


class _Chunk(msgspec.Struct):
    direction: str
    size: int
    digest: str = ""
    rows: int = 0
    note: str = ""
    channel: str = ""


class _Session(msgspec.Struct):
    run: str
    identity: _Identity
    resource: str
    protocol: str
    client: str
    login: str = ""


class _Approval(msgspec.Struct):
    approval: str
    event: str
    reason: str = ""


class _SessionEnd(msgspec.Struct):
    reason: str


class _Refusal(msgspec.Struct):
    what: str
    reason: str
    protocol: str
    client: str
    text: str = ""
    detail: str = ""
    resource: str = ""
    identity: _Identity | None = None
    count: int = 1


# what a payload must be to be shown; more fields are welcome, words of later versions too
_SHAPES = {
    kind: msgspec.json.Decoder(shape).decode
    for kind, shape in {
        Kind.COMMAND: _Command,
        Kind.OUTCOME: _Outcome,
        Kind.CHUNK: _Chunk,
        Kind.SESSION: _Session,
        Kind.SESSION_END: _SessionEnd,
        Kind.APPROVAL: _Approval,
        Kind.REFUSAL: _Refusal,
    }.items()
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_decode = msgspec.json.Decoder().decode


class Leaf(msgspec.Struct, frozen=True):
    """A record's stored bytes, taken apart. `payload` is None where it cannot be read."""

    kind: int
    id: str
    session: bytes
    command: bytes
    at: int
    payload: View | None

    def get(self, name: str, default: Any = None) -> Any:
        """A field of the payload."""
        return default if self.payload is None else self.payload.get(name, default)


def read_leaf(data: object) -> Leaf:
    """Take a leaf apart. Never raises; what is no record has kind 0 and no payload."""
    if not isinstance(data, bytes) or len(data) < HEADER.size:
        return Leaf(0, "", NO_ID, NO_ID, 0, None)
    _, kind, key, record, session, command, at = HEADER.unpack_from(data)
    payload: View | None = None
    if key == 0:
        try:
            content = data[HEADER.size :]
            if kind in _SHAPES:
                _SHAPES[kind](content)
            decoded = _decode(content)
            payload = decoded if isinstance(decoded, dict) else None
        except (ValueError, RecursionError):  # MsgspecError and UnicodeDecodeError are ValueErrors
            payload = None
    return Leaf(kind, id_text(record), session, command, at, payload)


def iso_time(at: int) -> str:
    """Unix nanoseconds as ISO 8601 in UTC, to the microsecond."""
    moment = _EPOCH + timedelta(microseconds=min(at // 1000, _LAST))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f").rjust(26, "0") + "Z"


def command_view(leaf: Leaf, session: Leaf | None, outcome: Leaf | None) -> View:
    """One line of `log`: a command, or a refusal of what never became one."""
    if leaf.kind == Kind.REFUSAL:
        return _refusal_view(leaf)
    head: View = {"id": leaf.id, "at": iso_time(leaf.at), "kind": "unreadable"}
    head |= _session_part(session) | {"session": id_text(leaf.session) or None}
    if leaf.payload is None:
        return head | {
            "action": "unknown", "text": "(this record's content cannot be read)", "detail": {}, "verdict": None,
            "approval": None, "cause": None, "outcome": _outcome_part(outcome),
        }  # fmt: skip
    head["kind"] = str(leaf.get("kind", "unreadable"))
    return head | {
        "action": leaf.get("action", "unknown"),
        "text": leaf.get("text", ""),
        "detail": leaf.get("detail", {}),
        "verdict": _verdict_part(leaf.get("verdict")),
        "approval": None,
        "cause": leaf.get("cause"),
        "outcome": _outcome_part(outcome),
    }


def session_view(leaf: Leaf, end: Leaf | None, commands: int) -> View:
    """One line of `sessions`."""
    part = _session_part(leaf)
    return {
        "id": leaf.id,
        "at": iso_time(leaf.at),
        "ended": iso_time(end.at) if end is not None else None,
        "reason": end.get("reason") if end is not None else None,
        **part,
        "login": leaf.get("login", ""),
        "commands": commands,
    }


def chunk_view(leaf: Leaf) -> View:
    """A part of a stream."""
    return {
        "id": leaf.id,
        "at": iso_time(leaf.at),
        "direction": leaf.get("direction", "to_client"),
        "size": leaf.get("size", 0),
        "rows": leaf.get("rows", 0),
        "data": leaf.get("data"),
        "digest": leaf.get("digest") or None,
        "note": leaf.get("note", ""),
        "channel": leaf.get("channel", ""),
    }


def record_view(leaf: Leaf) -> View:
    """Any record, as it stands."""
    name = Kind(leaf.kind).name.lower() if leaf.kind in list(Kind) else "unknown"
    return {
        "id": leaf.id,
        "at": iso_time(leaf.at),
        "kind": name,
        "session": id_text(leaf.session) or None,
        "command": id_text(leaf.command) or None,
        "record": leaf.payload,
    }


def join_chunks(sample: object, chunks: list[View]) -> object:
    """The sample of a result that was recorded in parts: the data of all parts to the client, after `sample`."""
    parts = [
        chunk["data"]
        for chunk in chunks
        if chunk["direction"] == "to_client"
        and chunk["data"] is not None
        and chunk.get("note") != "notification"
        and chunk.get("channel") not in ("resize", "signal")
    ]
    if not parts:
        return sample
    if sample is not None:
        parts.insert(0, sample)
    if all(isinstance(part, str) for part in parts):
        return "".join(parts)
    if all(isinstance(part, list) for part in parts):
        return [row for part in parts for row in part]
    if all(isinstance(part, dict) and isinstance(part.get("rows"), list) for part in parts):
        return {**parts[0], "rows": [row for part in parts for row in part["rows"]]}
    if isinstance(parts[0], dict) and isinstance(parts[0].get("rows"), list):
        rest = [row for part in parts[1:] if isinstance(part, list) for row in part]
        if len(parts) == 1 or all(isinstance(part, list) for part in parts[1:]):
            return {**parts[0], "rows": [*parts[0]["rows"], *rest]}
    return parts[0] if len(parts) == 1 else parts


def _session_part(session: Leaf | None) -> View:
    if session is None or session.payload is None:
        names = ("run", "identity", "resource", "protocol", "client")
        return dict.fromkeys(names)
    return {
        "run": session.get("run"),
        "identity": _identity_part(session.get("identity")),
        "resource": session.get("resource"),
        "protocol": session.get("protocol"),
        "client": session.get("client"),
    }


def _identity_part(identity: object) -> View | None:
    if not isinstance(identity, dict):
        return None
    return {
        "issuer": identity.get("issuer", ""),
        "subject": identity.get("subject", ""),
        "groups": identity.get("groups", []),
        "on_behalf_of": identity.get("on_behalf_of"),
        "kind": identity.get("kind", "agent"),
        "agent": identity.get("agent"),
        "token_id": identity.get("token_id", ""),
    }


def _verdict_part(verdict: object) -> View | None:
    if not isinstance(verdict, dict):
        return None
    part = {name: verdict.get(name, "") for name in ("type", "policy", "reason", "policies")}
    if verdict.get("hint"):
        part["hint"] = verdict["hint"]
    if verdict.get("approvers"):
        part["approvers"] = verdict["approvers"]
    part["applied"] = verdict.get("applied", True)
    return part


def _outcome_part(outcome: Leaf | None) -> View | None:
    if outcome is None:
        return None
    part: View = {
        "status": outcome.get("status", "unreadable"),
        "code": outcome.get("code", ""),
        "rows": outcome.get("rows", 0),
        "bytes": outcome.get("bytes", 0),
        "duration_ms": outcome.get("duration_ms", 0.0),
        "error": outcome.get("error"),
        "masked": outcome.get("masked", {}),
        "sample": outcome.get("sample"),
        "digest": outcome.get("digest"),
        "size": outcome.get("size", 0),
    }
    if outcome.get("tag"):
        part["tag"] = outcome.get("tag")
    if outcome.get("sha256"):
        part["sha256"] = outcome.get("sha256")
    return part


def _refusal_view(leaf: Leaf) -> View:
    """Refused before it was a command: what is not known is null."""
    identity = leaf.get("identity")
    return {
        "id": leaf.id,
        "at": iso_time(leaf.at),
        "kind": "refusal" if leaf.payload is not None else "unreadable",
        "run": identity.get("run") if isinstance(identity, dict) else None,
        "identity": _identity_part(identity),
        "resource": leaf.get("resource") or None,
        "protocol": leaf.get("protocol"),
        "client": leaf.get("client"),
        "session": None,
        "action": "unknown",
        "text": leaf.get("text", ""),
        "detail": {"what": leaf.get("what", ""), "detail": leaf.get("detail", ""), "count": leaf.get("count", 1)},
        "verdict": {
            "type": "deny", "policy": leaf.get("what", ""), "reason": leaf.get("reason", ""), "policies": "",
            "applied": True,
        },
        "approval": None,
        "cause": None,
        "outcome": {
            "status": "refused", "code": "", "rows": 0, "bytes": 0, "duration_ms": 0.0, "error": leaf.get("reason"),
            "masked": {}, "sample": None, "digest": None, "size": 0,
        },
    }  # fmt: skip
