"""Whether what a hook returned is a sound verdict, and its texts made fit to be shown. Pure."""

from __future__ import annotations

import math

from msgspec.structs import replace

from onrecord.policies.verdict import Deny, Hold

MAX_TEXT = 1000
MAX_GROUPS = 8
MAX_PEOPLE = 16


def sound(verdict: Deny | Hold) -> bool:
    """Whether the fields hold what they should (msgspec does not check a constructor's arguments)."""
    if isinstance(verdict, Deny):
        return isinstance(verdict.reason, str) and isinstance(verdict.hint, str)
    names = (verdict.approvers,) if isinstance(verdict.approvers, str) else verdict.approvers
    return (
        isinstance(names, tuple)
        and 0 < len(names) <= MAX_GROUPS
        and all(isinstance(name, str) for name in names)
        and isinstance(verdict.reason, str)
        and _is_number(verdict.timeout)
        and 0 < verdict.timeout < math.inf
        and _is_number(verdict.reuse)
        and 0 <= verdict.reuse < math.inf
        and type(verdict.minimum) is int
        and 1 <= verdict.minimum <= MAX_PEOPLE
        and (verdict.max_rows is None or (type(verdict.max_rows) is int and verdict.max_rows >= 0))
        and isinstance(verdict.wait, bool)
        and isinstance(verdict.mask, tuple)
        and all(isinstance(name, str) for name in verdict.mask)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def presentable(verdict: Deny | Hold) -> Deny | Hold:
    """The verdict with texts that every protocol, log and terminal can carry: a reason may quote the agent."""
    if isinstance(verdict, Deny):
        texts: tuple[str, ...] = (verdict.reason, verdict.hint)
    else:
        texts = (verdict.reason, *verdict.groups)
    if all(text.isprintable() and len(text) <= MAX_TEXT for text in texts):
        return verdict
    first, *others = (printable(text) for text in texts)
    if isinstance(verdict, Deny):
        return Deny(first, others[0])
    approvers = others[0] if isinstance(verdict.approvers, str) else tuple(others)
    return replace(verdict, reason=first, approvers=approvers)


def printable(text: str) -> str:
    """`text` cut to its limit, without line breaks, control characters, bidirectional marks and lone surrogates."""
    shown = (char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text[:MAX_TEXT])
    return "".join(shown)
