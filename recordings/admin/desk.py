"""An approval as the pages show it: what the recorder told, as one flat object."""

from __future__ import annotations

from typing import Any

import msgspec

from onrecord.policies.approvals import Rules, State
from onrecord.policies.model import Identity
from onrecord.recordings.control.admin import Shown


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One person's word on an approval. `at` is Unix seconds."""

    subject: str
    at: float
    reason: str = ""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Times are Unix seconds; `digest` is what a grant binds to; `groups` are all that may decide.

    `approvers` says in words who must agree, `missing` who has not yet. `unbound` lists what a grant does not bind.
    """

    id: str
    state: str
    at: float
    expires: float
    waiting: bool
    identity: Identity
    run: str
    session: str
    resource: str
    protocol: str
    client: str
    kind: str
    action: str
    text: str
    detail: dict[str, Any]
    parameters: list[Any] | None
    cause: str
    policy: str
    reason: str
    policies: str
    approvers: str
    groups: tuple[str, ...]
    missing: tuple[str, ...]
    agreed: tuple[Word, ...]
    decided: Word | None
    why: str
    digest: str
    preview: str
    counts: tuple[str, ...]
    no_preview: str
    unbound: tuple[str, ...]
    rests_on: tuple[str, ...]
    max_rows: int | None
    reuse: float
    uses: int

    @property
    def pending(self) -> bool:
        """Whether a decision would still count."""
        return self.state == State.PENDING

    @property
    def granted(self) -> bool:
        """Whether it can still be taken back before it is used (again)."""
        return self.state == State.GRANTED


def held_of(shown: Shown, rules: Rules, now: float) -> Held:
    """The page's view of an approval. `now` is Unix seconds."""
    approval = shown.approval
    request = approval.request
    try:
        command = msgspec.json.decode(request.command)
    except (msgspec.DecodeError, ValueError, RecursionError):
        command = {}
    if not isinstance(command, dict):
        command = {}
    detail = command.get("detail")
    detail = dict(detail) if isinstance(detail, dict) else {}
    parameters = detail.get("parameters")
    named = [(name,) if name else rules.approvers for name in request.approvers]
    words = " and ".join(" or ".join(names) or "nobody" for names in named)
    if approval.people > len(named):
        words += f", {approval.people} people in all"
    preview, counts, none = _preview(shown)
    return Held(
        id=approval.id,
        state=approval.state.value,
        at=approval.requested_at,
        expires=now + shown.expires_in,
        waiting=shown.waiting,
        identity=request.identity,
        run=request.run,
        session=request.session,
        resource=request.resource,
        protocol=request.protocol,
        client=request.client,
        kind=str(command.get("kind", "")),
        action=str(command.get("action", "unknown")),
        text=str(command.get("text", "")),
        detail=detail,
        parameters=parameters if isinstance(parameters, list) else None,
        cause=str(command.get("cause") or ""),
        policy=request.policy,
        reason=request.reason,
        policies=request.policies,
        approvers=words,
        groups=tuple(dict.fromkeys(name for names in named for name in names)),
        missing=shown.missing,
        agreed=tuple(Word(subject=vote.approver.subject, at=vote.at, reason=vote.reason) for vote in approval.votes),
        decided=None
        if approval.decided_by is None
        else Word(subject=approval.decided_by.subject, at=approval.decided_at or 0.0, reason=approval.reason),
        why=approval.reason,
        digest=request.digest,
        preview=preview,
        counts=counts,
        no_preview=none,
        unbound=request.unbound,
        rests_on=tuple(name for name, _ in request.rests_on),
        max_rows=request.max_rows,
        reuse=request.reuse,
        uses=len(approval.nonces),
    )


def _preview(shown: Shown) -> tuple[str, tuple[str, ...], str]:
    """Text, counts in words, and why there is none."""
    preview = shown.approval.preview
    if preview is None:
        return "", (), "it is not there yet (reload)" if shown.approval.state == State.PENDING else "none was made"
    counts = []
    if preview.matched is not None:
        counts.append(f"matches {preview.matched} rows now (counted)")
    if preview.rows is not None:
        counts.append(f"the planner expects {preview.rows} rows")
    return preview.text, tuple(counts), preview.reason
