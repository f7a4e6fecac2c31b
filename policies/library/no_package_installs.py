"""No package managers: what they install runs as code, and as root."""

from __future__ import annotations

from itertools import pairwise

from onrecord.policies import Deny, SshCommand, Verdict
from onrecord.policies.shell.table.packages import MANAGERS

_BUILDERS = frozenset(
    {"make", "cmake", "ninja", "cargo", "go", "bundle", "composer", "mvn", "gradle", "uv", "uvx", "pipx", "poetry"}
)
_LISTINGS = frozenset({"list", "search", "show", "info", "policy", "freeze", "--version", "-v", "-V", "version", "help", "--help",
                       "-l", "-L", "-s", "-S", "-q", "-qa", "-qi", "-ql", "-qf"})  # fmt: skip
_MODULES = frozenset({"pip", "ensurepip", "easy_install", "conda"})


class NoPackageInstalls:
    """Denies package managers of the system and of languages, but for words that only list what is there."""

    def ssh(self, command: SshCommand) -> Verdict | None:
        for words in command.argv:
            name = words[0].rpartition("/")[2] if words else ""
            if name in MANAGERS and not (len(words) > 1 and words[1] in _LISTINGS):
                return _deny(name)
            if name.startswith("python") and any(
                first == "-m" and second in _MODULES for first, second in pairwise(words[1:])
            ):
                return _deny("pip")
            if name in _BUILDERS and any(
                word in {"install", "add", "sync", "get", "update", "upgrade", "tool", "run"} for word in words[1:]
            ):
                return _deny(name)
        named = {words[0].rpartition("/")[2] for words in command.argv if words}
        hidden = (command.programs & MANAGERS) - named
        if hidden:
            return _deny(min(hidden))
        return None


def _deny(name: str) -> Deny:
    return Deny(
        f"{name} installs packages, and those run code", hint="ask for the package in the host's image or playbook"
    )


addons = [NoPackageInstalls()]
