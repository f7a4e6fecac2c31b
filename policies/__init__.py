"""The shared policy module: what policies read, what they answer, and who is asked."""

from onrecord.policies.model import (
    Command,
    ForwardCommand,
    HttpCommand,
    Identity,
    KubeCommand,
    LlmCommand,
    McpCommand,
    Outcome,
    Resource,
    Run,
    Session,
    SftpCommand,
    SqlCommand,
    SshCommand,
)
from onrecord.policies.verdict import Allow, Deny, Hold, Verdict

__all__ = [
    "Allow",
    "Command",
    "Deny",
    "ForwardCommand",
    "Hold",
    "HttpCommand",
    "Identity",
    "KubeCommand",
    "LlmCommand",
    "McpCommand",
    "Outcome",
    "Resource",
    "Run",
    "Session",
    "SftpCommand",
    "SqlCommand",
    "SshCommand",
    "Verdict",
]
