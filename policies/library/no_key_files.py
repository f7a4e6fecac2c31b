"""No reading of key files, tokens, password files and histories, by commands or by SFTP."""

from __future__ import annotations

import re

from onrecord.policies import Deny, SftpCommand, SshCommand, Verdict
from onrecord.policies.files import secret_file, secrets_below

_APART = re.compile(r"[\s='\"@(),;|&<>`$]+")
_FILE = re.compile(r"[/._]")
# They read folders with all that is below.
_DEEP = frozenset(
    {"tar", "cp", "mv", "rsync", "scp", "zip", "grep", "egrep", "fgrep", "cpio", "7z", "xargs", "parallel"}
)
_LISTS = frozenset({"opendir", "readdir", "stat", "lstat", "realpath", "fstat", "close"})


class NoKeyFiles:
    """Denies every command that names a secret file, to read, to write or to move."""

    def ssh(self, command: SshCommand) -> Verdict | None:
        named = command.paths_read | command.paths_written | command.paths_deleted
        deep = bool(command.programs & _DEEP)
        for path in sorted(named):
            why = secret_file(path) or (secrets_below(path, deep=deep) if path in command.paths_read else None)
            if why:
                return _deny(path, why)
        if command.action == "unknown":
            # What is not understood may still name a file in its words.
            pieces = {piece for words in command.argv for word in words for piece in _APART.split(word)}
            for piece in sorted(pieces):
                why = secret_file(piece) if _FILE.search(piece) and not piece.startswith(("http:", "https:")) else None
                if why:
                    return _deny(piece, why)
        return None

    def sftp(self, command: SftpCommand) -> Verdict | None:
        if command.operation in _LISTS:
            return None
        for path in (command.path, command.target):
            why = secret_file(path) if path else None
            if why:
                return _deny(path, why)
        return None


def _deny(path: str, why: str) -> Deny:
    return Deny(f"{path} is {why}", hint="ask for what you need from it, not for the file")


addons = [NoKeyFiles()]
