"""One line of the timeline, made from committed bytes. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from onrecord.recordings.display.neutral import clean
from onrecord.recordings.evidence.merkle import leaf_hash
from onrecord.recordings.frames import HEADER, NO_ID, Kind, id_text
from onrecord.recordings.words import mark_of

LINE = 400  # characters of a command that a line can show
_UNREADABLE = (ValueError, RecursionError)


class Key(NamedTuple):
    """A place in the timeline: time (Unix nanoseconds), then the record's number."""

    at: int
    seq: int


class Proof(NamedTuple):
    """A record that a line was made from: its number, and the tree's hash of the bytes that were read."""

    seq: int
    hashed: bytes


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A command or refusal on one line. All texts are harmless already; `status` is "" while it runs."""

    key: Key
    id: str
    kind: str
    action: str
    who: str
    place: str
    run: str
    session: str
    verdict: str
    applied: bool
    status: str
    line: str
    approval: str = ""
    proofs: tuple[Proof, ...]

    @property
    def open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.status == ""

    @property
    def mark(self) -> str:
        """What became of it, in one word."""
        return mark_of(self.verdict, applied=self.applied, approval=self.approval, status=self.status)

    @property
    def troubled(self) -> bool:
        """Whether the strip counts it."""
        return self.verdict != "allow" or self.status not in ("", "ok")


class Owner(msgspec.Struct, frozen=True):
    """What a line shows of its session."""

    who: str = "–"
    place: str = "–"
    run: str = ""
    proof: Proof | None = None


class _Who(msgspec.Struct):
    subject: str


class _Verdict(msgspec.Struct):
    type: str
    policy: str
    reason: str = ""
    applied: bool = True
    approval: str = ""


class _Command(msgspec.Struct):
    kind: str
    action: str
    text: str
    verdict: _Verdict
    detail: dict[str, msgspec.Raw]


class _Outcome(msgspec.Struct):
    status: str


class _Session(msgspec.Struct):
    run: str
    identity: _Who
    resource: str


class _Refusal(msgspec.Struct):
    what: str
    reason: str
    text: str = ""
    resource: str = ""
    identity: _Who | None = None


_read_command = msgspec.json.Decoder(_Command).decode
_read_outcome = msgspec.json.Decoder(_Outcome).decode
_read_session = msgspec.json.Decoder(_Session).decode
_read_refusal = msgspec.json.Decoder(_Refusal).decode


def proof_of(seq: int, leaf: object) -> Proof:
    """What a badge rests on; bytes that are none match no tree."""
    return Proof(seq, leaf_hash(leaf) if isinstance(leaf, bytes) else b"")


def read_owner(seq: int, leaf: object) -> Owner:
    """The session's part of a line. Never raises."""
    proof = proof_of(seq, leaf)
    try:
        record = _read_session(_payload(leaf))
    except _UNREADABLE:
        return Owner(proof=proof)
    return Owner(clean(record.identity.subject), clean(record.resource) or "–", record.run, proof)


def read_row(key: Key, leaf: object, owner: Owner | None, outcome: tuple[int, object] | None) -> Row:
    """The line of record `key.seq`; `outcome` is number and bytes of its outcome's record. Never raises."""
    proofs = [proof_of(key.seq, leaf)]
    kind, id, session = _header(leaf)
    if kind == Kind.REFUSAL:
        return _refusal(key, id, leaf, proofs)
    status = ""
    if outcome is not None:
        proofs.append(proof_of(*outcome))
        try:
            status = clean(_read_outcome(_payload(outcome[1])).status)
        except _UNREADABLE:
            status = "unreadable"
    owner = owner or Owner()
    if owner.proof is not None:
        proofs.append(owner.proof)
    try:
        record = _read_command(_payload(leaf))
    except _UNREADABLE:
        return Row(
            key=key, id=id, kind="unreadable", action="unknown", who=owner.who, place=owner.place, run=owner.run,
            session=session, verdict="unreadable", applied=True, status=status,
            line="(this record's content cannot be read)", proofs=tuple(proofs),
        )  # fmt: skip
    verdict = record.verdict
    return Row(
        key=key,
        id=id,
        kind=clean(record.kind),
        action=clean(record.action),
        who=owner.who,
        place=owner.place,
        run=owner.run,
        session=session,
        verdict=clean(verdict.type),
        applied=verdict.applied,
        approval=clean(verdict.approval),
        status=status,
        line=one_line(record.text) or one_line(verdict.reason) or f"({clean(record.kind)})",
        proofs=tuple(proofs),
    )


def one_line(text: str) -> str:
    """The beginning of a text on one line, harmless."""
    return clean(" ".join(text[: 4 * LINE].split()))[:LINE]


def _refusal(key: Key, id: str, leaf: object, proofs: list[Proof]) -> Row:
    try:
        record = _read_refusal(_payload(leaf))
    except _UNREADABLE:
        record = _Refusal("", "", "(this record's content cannot be read)")
        kind, verdict = "unreadable", "unreadable"
    else:
        kind, verdict = "refusal", "deny"
    return Row(
        key=key,
        id=id,
        kind=kind,
        action="unknown",
        who=clean(record.identity.subject) if record.identity else "–",
        place=clean(record.resource) or "–",
        run="",
        session="",
        verdict=verdict,
        applied=True,
        status="refused",
        line=one_line(record.text) or one_line(record.reason) or "–",
        proofs=tuple(proofs),
    )


def _header(leaf: object) -> tuple[int, str, str]:
    if not isinstance(leaf, bytes) or len(leaf) < HEADER.size:
        return 0, "", ""
    _, kind, _, id, session, _, _ = HEADER.unpack_from(leaf)
    return kind, id_text(id), id_text(session) if session != NO_ID else ""


def _payload(leaf: object) -> bytes:
    """Raises ValueError where there is none in clear."""
    if not isinstance(leaf, bytes) or len(leaf) < HEADER.size or HEADER.unpack_from(leaf)[2] != 0:
        raise ValueError("no payload in clear")
    return leaf[HEADER.size :]
