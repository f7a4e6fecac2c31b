"""One word for what became of a command, the same on every screen: `log`, console, page and export."""

from __future__ import annotations


def mark_of(verdict: str, *, applied: bool, approval: str, status: str) -> str:
    """The verdict where that stopped it, "granted" where a human let it run, else its outcome's status.

    `status` is empty while it runs; what was only observed stands in brackets.
    """
    if verdict in ("deny", "hold"):
        if not applied:
            return f"({verdict})"
        if verdict == "hold" and approval and status != "refused":
            return "granted" if status in ("", "ok") else status
        return verdict
    return "unread" if verdict == "unreadable" else status or "running"
