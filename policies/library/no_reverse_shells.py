"""No shell that another host drives: /dev/tcp, nc -e, socat EXEC, a pipe between a network program and a shell."""

from __future__ import annotations

import re

from onrecord.policies import Deny, SshCommand, Verdict

_NETWORK = frozenset({"nc", "ncat", "netcat", "nc.openbsd", "nc.traditional", "socat", "telnet", "openssl", "cryptcat", "pwncat", "chisel",
                      "ngrok", "autossh", "websocat", "stunnel", "proxychains", "rlwrap", "dropbear", "gs-netcat", "frpc", "tailscale"})  # fmt: skip
_SHELLS = frozenset(
    {"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "fish", "csh", "tcsh", "busybox", "rbash", "pwsh"}
)
_LANGUAGES = re.compile(
    r"(?:python|perl|ruby|node|nodejs|php|lua|awk|gawk|tclsh|expect|java|deno|bun|go|julia|R|Rscript|jrunscript)[\d.]*"
)
_SOCKETS = re.compile(
    r"socket|/dev/(?:tcp|udp)/|/inet[46]?/|fsockopen|TCPSocket|net\.connect|net\.Socket|IO::Socket|connect\(|pty\.spawn|createConnection"
)
_TUNNELS = re.compile(r"-\w*[RDLw]")


class NoReverseShells:
    """Denies the forms of a shell over a connection. An aid: it knows forms, so `unknown = "deny"` is the boundary."""

    def ssh(self, command: SshCommand) -> Verdict | None:
        if "/dev/tcp/" in command.text or "/dev/udp/" in command.text:
            return _deny("a redirection to /dev/tcp or /dev/udp")
        programs = command.programs
        network = sorted(programs & _NETWORK)
        if network:
            return _deny(f"{network[0]} carries a shell as well as anything else")
        for words in command.argv:
            name = words[0].rpartition("/")[2] if words else ""
            if _LANGUAGES.fullmatch(name) and any(_SOCKETS.search(word) for word in words[1:]):
                return _deny(f"{name} with code that opens a connection")
            if name == "ssh" and any(_TUNNELS.match(word) for word in words[1:]):
                return _deny("ssh with a tunnel")
        if programs & {"curl", "wget", "fetch", "lwp-download"} and programs & (
            _SHELLS | {"python", "python3", "perl", "ruby", "node", "php"}
        ):
            return _deny("what another host sends is run as code")
        if programs & {"mkfifo", "mknod"} and programs & _SHELLS:
            return _deny("a shell on a named pipe")
        if command.dials and programs & _SHELLS:
            return _deny("a shell beside a connection")
        if (
            any("-i" in words[1:] for words in command.argv if words and words[0].rpartition("/")[2] in _SHELLS)
            and command.redirections
        ):
            return _deny("an interactive shell with its input or output elsewhere")
        return None


def _deny(reason: str) -> Deny:
    return Deny(
        f"{reason}: this could be a shell that another host drives", hint="run the command itself through this gateway"
    )


addons = [NoReverseShells()]
