"""Only reading: what changes, administers or cannot be understood is denied."""

from __future__ import annotations

from onrecord.policies import Command, Deny, Verdict


class ReadOnly:
    """Denies every command whose action is not `read`, over all protocols."""

    def command(self, command: Command) -> Verdict | None:
        if command.action == "read":
            return None
        return Deny(
            f"this resource is read-only for you and the command's action is {command.action}",
            hint="use a command that only reads, or ask for a resource that you may change",
        )


addons = [ReadOnly()]
