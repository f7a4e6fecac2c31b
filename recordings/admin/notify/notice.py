"""What a notification says: that something waits, where, whose it is, and where to decide. Never what it is. Pure.

No text of a command, no parameter, no reason (a policy may quote the command in it): whoever reads a chat room is not
whom the policy lets see the payload.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from onrecord.policies.config import NotifyEvent
from onrecord.recordings.display.neutral import clean

MAX_NAME = 200


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One event. Times are Unix seconds; `url` opens the page. `subject` is whom it is about, `state` what happened."""

    event: NotifyEvent
    approval: str
    state: str
    at: float
    expires: float = 0.0
    subject: str = ""
    on_behalf_of: str = ""
    resource: str = ""
    protocol: str = ""
    policy: str = ""
    approvers: str = ""
    url: str = ""

    def title(self) -> str:
        """One line for people."""
        who = _short(self.subject) + (f" (for {_short(self.on_behalf_of)})" if self.on_behalf_of else "")
        if self.event == "pending":
            return f"Approval required: {who} on {_short(self.resource)}"
        if self.event == "killed":
            return f"Killed: {who}"
        return f"Approval {_short(self.state)}: {who} on {_short(self.resource)}"

    def lines(self) -> list[str]:
        """What people need beside the title."""
        found = [
            f"{name}: {_short(value)}"
            for name, value in (
                ("policy", self.policy),
                ("who may approve", self.approvers),
                ("protocol", self.protocol),
            )
            if value
        ]
        if self.expires and self.event == "pending":
            found.append(f"until: {datetime.fromtimestamp(self.expires, UTC):%Y-%m-%d %H:%M:%S} UTC")
        return found

    def body(self) -> dict[str, Any]:
        """The JSON object of a webhook."""
        return {"version": 1, **msgspec.to_builtins(self)}


def _short(text: str) -> str:
    neutral = clean(text)
    return neutral if len(neutral) <= MAX_NAME else neutral[: MAX_NAME - 1] + "…"
