"""What the gateway itself rules: the resource's `admin`, `unknown` and `default`, and what it says where it fails."""

from __future__ import annotations

from onrecord.policies.model import Command, Resource
from onrecord.policies.verdict import Allow, Deny, Hold, Ruling

ASK = "ask the gateway's operator"
NOT_LOADED = Ruling(Deny("no policies are loaded", "try again in a few seconds"), "onrecord:engine")
STALE = Ruling(Deny("policies could not be reloaded", ASK), "onrecord:engine")
BROKEN = Ruling(Deny("the decision failed", ASK), "onrecord:engine")

_ADMIN_REASON = "commands that change rights, credentials, later-running code or the audit are not allowed here"
_ADMIN = {
    "allow": Ruling(Allow(), "onrecord:admin"),
    "hold": Ruling(Hold(reason="administrative command"), "onrecord:admin"),
    "deny": Ruling(Deny(_ADMIN_REASON, "a human does this outside the gateway"), "onrecord:admin"),
}
_UNKNOWN = {
    "allow": Ruling(Allow(), "onrecord:unknown"),
    "hold": Ruling(Hold(reason="the command cannot be fully understood"), "onrecord:unknown"),
    "deny": Ruling(
        Deny("the command cannot be fully understood, so it is refused", "say it in a plainer form"), "onrecord:unknown"
    ),
}
_DEFAULT = {
    "allow": Ruling(Allow(), "onrecord:default"),
    "hold": Ruling(Hold(reason="no policy speaks about this command"), "onrecord:default"),
    "deny": Ruling(Deny("no policy allows this command", ASK), "onrecord:default"),
}


def rules_on_action(command: Command) -> list[Ruling]:
    """The rules on admin commands, and on everything that is neither read nor write nor admin; none for the others."""
    action, resource = command.action, command.session.resource
    if action in ("read", "write"):
        return []
    admin = _ADMIN.get(resource.admin, _ADMIN["deny"])
    if action == "admin":
        return [admin]
    unknown = _UNKNOWN.get(resource.unknown, _UNKNOWN["deny"])
    return [unknown, admin] if command.also_admin else [unknown]


def default_of(resource: Resource) -> Ruling:
    """What holds where no policy speaks."""
    return _DEFAULT.get(resource.default, _DEFAULT["deny"])
