"""Whether the host of an SSH resource lets the gateway in."""

from __future__ import annotations

import asyncio
from pathlib import Path

from onrecord.policies.config import SshResource
from onrecord.policies.model import Identity
from onrecord.policies.secrets import Secrets
from onrecord.scripts.checks.finding import Finding


def try_ssh(key: str, resource: SshResource, secrets: Secrets, state: Path) -> list[Finding]:
    """Log in as each user of the resource, with the host key checked. Nothing is run."""
    from onrecord.shims.ssh.upstream import Upstream, UpstreamError

    upstream = Upstream(resource, secrets, state)
    checker = Identity(issuer="onrecord", subject="onrecord check")

    async def log_in(user: str) -> None:
        connection = await upstream.connect(user, checker, lambda _error: None, session="check")
        connection.abort()

    findings = []
    for user in (resource.user, *resource.users):
        where = f"{user} at {resource.host}:{resource.port}"
        try:
            asyncio.run(log_in(user))
        except UpstreamError as error:
            findings.append(Finding(f"{key}.upstream", "failed", f"{where}: {error}"))
        else:
            findings.append(Finding(key, "ok", f"{where}: logged in, the host key is the pinned one"))
        if user == "root":
            findings.append(
                Finding(key, "note", "root may do anything on the host; a user with few rights is a boundary")
            )
    return findings
