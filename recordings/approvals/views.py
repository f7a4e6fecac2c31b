"""An approval as JSON, for the admin API, the page and the command line: everything that whoever decides must see."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from onrecord.policies.approvals import Approval, Approver
from onrecord.policies.kills import Kill

View = dict[str, Any]


def approval_view(
    approval: Approval, *, expires_in: float = 0.0, missing: tuple[str, ...] = (), waiting: bool = False
) -> View:
    """One approval. Times are ISO 8601; `expires_in` seconds; `missing` are groups of which nobody has agreed yet."""
    request = approval.request
    try:
        command = msgspec.json.decode(request.command)
    except (msgspec.DecodeError, ValueError, RecursionError):
        command = {}
    who = request.identity
    return {
        "id": approval.id,
        "state": approval.state.value,
        "requested_at": iso(approval.requested_at),
        "expires_at": iso(approval.expires_at),
        "expires_in": round(expires_in, 3),
        "waiting": waiting,
        "run": request.run,
        "session": request.session,
        "identity": {
            "issuer": who.issuer,
            "subject": who.subject,
            "groups": list(who.groups),
            "on_behalf_of": who.on_behalf_of,
            "kind": who.kind,
            "agent": who.agent,
        },
        "resource": request.resource,
        "protocol": request.protocol,
        "client": request.client,
        "login": request.login,
        "kind": command.get("kind", ""),
        "action": command.get("action", "unknown"),
        "text": command.get("text", ""),
        "detail": command.get("detail", {}),
        "cause": command.get("cause"),
        "policy": request.policy,
        "reason": request.reason,
        "policies": request.policies,
        "approvers": [name for name in request.approvers if name],
        "minimum": approval.people,
        "missing": list(missing),
        "agreed": [
            {"by": approver_view(vote.approver), "at": iso(vote.at), "reason": vote.reason} for vote in approval.votes
        ],
        "decided_by": approval.decided_by.subject if approval.decided_by is not None else None,
        "decided": approver_view(approval.decided_by) if approval.decided_by is not None else None,
        "at": iso(approval.decided_at) if approval.decided_at is not None else None,
        "why": approval.reason,
        "max_rows": request.max_rows,
        "reuse": request.reuse,
        "wait": request.wait,
        "uses": len(approval.nonces),
        "digest": request.digest,
        "rests_on": [{"name": name, "digest": digest} for name, digest in request.rests_on],
        "unbound": list(request.unbound),
        "preview": msgspec.to_builtins(approval.preview) if approval.preview is not None else None,
    }


def approver_view(approver: Approver) -> View:
    """Who decided, with the claims that counted."""
    return {
        "issuer": approver.issuer,
        "subject": approver.subject,
        "groups": list(approver.groups),
        "names": list(approver.names),
        "auth_time": iso(approver.auth_time) if approver.auth_time else None,
        "acr": approver.acr,
        "client": approver.client,
        "via": approver.via,
    }


def kill_view(kill: Kill) -> View:
    """One kill switch."""
    return {
        "id": kill.id,
        "target": kill.target,
        "value": kill.value,
        "issuer": kill.issuer or None,
        "reason": kill.reason,
        "at": iso(kill.at),
        "by": approver_view(kill.by) if kill.by is not None else None,
    }


def iso(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (OverflowError, ValueError, OSError):
        return "9999-12-31T00:00:00.000000Z"
