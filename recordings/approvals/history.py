"""An approval as its records tell it: committed bytes → JSON objects of the fixed surface. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onrecord.recordings.frames import id_text
from onrecord.recordings.views import Leaf, View, iso_time

_STATES = {
    "requested": "pending",
    "granted": "granted",
    "refused": "refused",
    "expired": "expired",
    "cancelled": "cancelled",
    "revoked": "revoked",
    "consumed": "used",
    "used": "used",
}
_DECISIONS = frozenset({"granted", "refused", "revoked"})


def approval_part(id: str, leaves: Sequence[Leaf]) -> View:
    """What `log` and `show` say of a command's approval. `leaves` are its records, in order."""
    request: dict[str, Any] = {}
    state, reason, decided_by, at = "unknown", "", None, None
    for leaf in leaves:
        event = str(leaf.get("event", ""))
        if event == "requested" and isinstance(leaf.get("request"), dict):
            request = leaf.get("request")
        state = _STATES.get(event, state)
        if event in _DECISIONS:
            by = leaf.get("by")
            decided_by = by.get("subject") if isinstance(by, dict) else None
            at = iso_time(leaf.at)
        if event in _DECISIONS or event in ("expired", "cancelled"):
            reason = str(leaf.get("reason", ""))
    listed = request.get("approvers")
    approvers = [name for name in listed if name] if isinstance(listed, list) else []
    return {
        "id": id,
        "state": state,
        "approvers": approvers,
        "decided_by": decided_by,
        "at": at,
        "reason": reason,
    }


def approval_record(id: str, leaves: Sequence[Leaf]) -> View:
    """One line of `approvals --recorded`: an approval, its request, and every step with whose it was."""
    asked = (leaf.get("request") for leaf in leaves)
    request: dict[str, Any] = next((request for request in asked if request and isinstance(request, dict)), {})
    command = request.get("command")
    command = command if isinstance(command, dict) else {}
    return approval_part(id, leaves) | {
        "requested_at": iso_time(leaves[0].at) if leaves else None,
        "run": request.get("run"),
        "session": request.get("session"),
        "identity": request.get("identity"),
        "resource": request.get("resource"),
        "protocol": request.get("protocol"),
        "kind": command.get("kind", ""),
        "action": command.get("action", "unknown"),
        "text": command.get("text", ""),
        "detail": command.get("detail", {}),
        "policy": request.get("policy"),
        "why": request.get("reason"),
        "digest": request.get("digest"),
        "unbound": request.get("unbound", []),
        "steps": [_step(leaf) for leaf in leaves],
    }


def _step(leaf: Leaf) -> View:
    step: View = {"id": leaf.id, "at": iso_time(leaf.at), "event": leaf.get("event", "unreadable")}
    if id_text(leaf.command):
        step["command"] = id_text(leaf.command)
    for name in ("reason", "decision", "by", "preview"):
        if leaf.get(name):
            step[name] = leaf.get(name)
    return step
