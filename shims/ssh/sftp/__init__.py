"""The SFTP subsystem."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onrecord.shims.ssh.channel import ClientSession
    from onrecord.shims.ssh.link import Link


async def serve_sftp(link: Link, client: ClientSession) -> None:  # noqa: ARG001
    """Serve SFTP on a channel that just opened: `link.upstream()`, then `client.attach(handler)`.

    The task is cancelled when the client closes the channel.
    """
    client.refuse_unsupported("(subsystem sftp)", "SFTP is not in this version")
