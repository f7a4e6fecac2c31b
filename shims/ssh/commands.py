"""A command line as a Command. Pure."""

from __future__ import annotations

from onrecord.policies.model import Session, SshCommand
from onrecord.policies.shell import command_of
from onrecord.shims.ssh.copies.judging import judged


def exec_command(session: Session, text: str, user: str, *, interactive: bool = False) -> SshCommand:
    """What `text` does on the host, as far as it can be read."""
    return judged(command_of(text, session, user=user, interactive=interactive))


def shell_command(session: Session, user: str) -> SshCommand:
    """A shell whose lines nobody decides: `interactive = "record"` lets it be asked for."""
    return SshCommand(session=session, action="write", text="(shell)", user=user, interactive=True)
