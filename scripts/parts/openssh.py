"""A real OpenSSH server on a free loopback port, and what a client of the gateway needs: Debian's openssh packages.

It runs as the user of this process, who is also the only one that can log in. As root it needs /run/sshd: it is made.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from onrecord.scripts.parts.ports import free_port
from onrecord.scripts.parts.postgres import PartError

START_TIMEOUT = 60.0
PRIVSEP = Path("/run/sshd")


def program(name: str) -> str:
    """The path of one of OpenSSH's programs. Raises PartError."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise PartError(f"{name} is missing: install openssh-server and openssh-client")
    return found


def make_key(path: Path, *, kind: str = "ed25519", comment: str = "onrecord part") -> Path:
    """A key pair at `path` and `path`.pub, without passphrase."""
    subprocess.run(
        [program("ssh-keygen"), "-q", "-t", kind, "-N", "", "-C", comment, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path


class OpenSshPart:
    """`with OpenSshPart() as host:` a running sshd. `key` logs in; `host_key` is what a client must pin.

    `home` is HOME of what runs there. `settings` are lines of sshd_config. `log()` is what sshd printed.
    """

    host = "127.0.0.1"

    def __init__(self, *, settings: tuple[str, ...] = ()) -> None:
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.port = 0
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.getuid() == 0:
            PRIVSEP.mkdir(mode=0o755, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="onrecord-sshd-"))
        self.home = self.folder / "home"
        self.home.mkdir()
        self.key = make_key(self.folder / "user_key")
        server_key = make_key(self.folder / "host_key")
        self.host_key = " ".join(server_key.with_suffix(".pub").read_text().split()[:2])
        self.authorized = self.folder / "authorized_keys"
        self.authorized.write_text(self.key.with_suffix(".pub").read_text())
        self.port = free_port(self.host)
        config = self.folder / "sshd_config"
        config.write_text(
            "\n".join(
                (
                    *self._settings,  # the first value of a keyword counts
                    f"Port {self.port}",
                    f"ListenAddress {self.host}",
                    f"HostKey {server_key}",
                    f"PidFile {self.folder / 'sshd.pid'}",
                    f"AuthorizedKeysFile {self.authorized}",
                    f"SetEnv HOME={self.home}",
                    "AcceptEnv LANG LC_* GIT_PROTOCOL APP_*",
                    "StrictModes no",
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "KbdInteractiveAuthentication no",
                    "PermitRootLogin yes",
                    "PermitTTY yes",
                    "PrintMotd no",
                    "PrintLastLog no",
                    "MaxSessions 128",
                    "MaxStartups 100",
                    "LogLevel VERBOSE",
                    "Subsystem sftp internal-sftp",
                    "",
                )
            )
        )
        self._log = self.folder / "sshd.log"
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [program("sshd"), "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise PartError(f"sshd did not start:\n{self.log()}")
            time.sleep(0.02)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What sshd printed so far."""
        return self._log.read_text(errors="replace")

    def _listens(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True


def ssh_resource(host: OpenSshPart, **more: Any) -> dict[str, Any]:
    """A `[resources.NAME]` table for a part."""
    return {
        "type": "ssh",
        "upstream": f"ssh://{host.user}@{host.host}:{host.port}",
        "key": f"file:{host.key}",
        "host_key": host.host_key,
        "groups": ["agents"],
        "default": "allow",
        "unknown": "allow",
    } | more


class SshClient:
    """The real `ssh` and its kin, towards a gateway on `port` whose host key is `host_key`, with `token`.

    The token is handed over by SSH_ASKPASS, so that nothing is typed. `config` is an ssh_config that names it all.
    """

    def __init__(self, folder: Path, port: int, host_key: str, token: str, **options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        known = folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {host_key}\n")
        askpass = folder / "askpass"
        askpass.write_text(f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(token)}\n")
        askpass.chmod(0o700)
        self.env = {**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":9"}
        self.env.pop("SSH_AUTH_SOCK", None)
        self.config = folder / "ssh_config"
        lines = {
            "HostName": "127.0.0.1",
            "Port": str(port),
            "UserKnownHostsFile": str(known),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentityFile": "none",
            "PubkeyAuthentication": "no",
            "PreferredAuthentications": "password",
            "NumberOfPasswordPrompts": "1",
            "LogLevel": "INFO",
        } | options
        self.config.write_text("Host *\n" + "".join(f"    {name} {value}\n" for name, value in lines.items()))

    def command(self, *arguments: str, tool: str = "ssh") -> list[str]:
        """The argument list of `tool` with this configuration."""
        return [program(tool), "-F", str(self.config), *arguments]

    def run(
        self, *arguments: str, tool: str = "ssh", stdin: bytes | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end. `arguments` begin with `USER@gateway` where `tool` is ssh."""
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(
            self.command(*arguments, tool=tool),
            check=False,
            capture_output=True,
            env=self.env,
            timeout=timeout,
            **given,
        )
