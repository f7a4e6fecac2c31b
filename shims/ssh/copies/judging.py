"""What a command line means that runs scp's far side without being recognised as a copy. Pure."""

from __future__ import annotations

import posixpath

import msgspec

from onrecord.policies.model import SshCommand


def judged(command: SshCommand) -> SshCommand:
    """A line that is not recognised as a copy: where it runs scp's far side all the same, its files are not known."""
    for argv in command.argv:
        if argv and posixpath.basename(argv[0]) == "scp" and any(_far_side(word) for word in argv[1:]):
            also_admin = command.also_admin or command.action == "admin"
            return msgspec.structs.replace(command, action="unknown", also_admin=also_admin)
    return command


def _far_side(word: str) -> bool:
    return word.startswith("-") and not word.startswith("--") and not {"t", "f"}.isdisjoint(word)
