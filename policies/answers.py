"""Whether what a hook returned is a sound verdict, and its texts made fit to be shown. Pure."""

from __future__ import annotations

import math

from onrecord.policies.verdict import Deny, Hold

MAX_TEXT = 1000


def sound(verdict: Deny | Hold) -> bool:
    """Whether the fields hold what they should (msgspec does not check a constructor's arguments)."""
    if isinstance(verdict, Deny):
        return isinstance(verdict.reason, str) and isinstance(verdict.hint, str)
    return (
        isinstance(verdict.approvers, str)
        and isinstance(verdict.reason, str)
        and isinstance(verdict.timeout, int | float)
        and 0 < verdict.timeout < math.inf
    )


def presentable(verdict: Deny | Hold) -> Deny | Hold:
    """The verdict with texts that every protocol, log and terminal can carry: a reason may quote the agent."""
    texts = (verdict.reason, verdict.hint) if isinstance(verdict, Deny) else (verdict.reason, verdict.approvers)
    if all(text.isprintable() and len(text) <= MAX_TEXT for text in texts):
        return verdict
    first, second = (printable(text) for text in texts)
    return Deny(first, second) if isinstance(verdict, Deny) else Hold(second, first, verdict.timeout)


def printable(text: str) -> str:
    """`text` cut to its limit, without line breaks, control characters, bidirectional marks and lone surrogates."""
    shown = (char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text[:MAX_TEXT])
    return "".join(shown)
