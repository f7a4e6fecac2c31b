"""A fresh SSH certificate for an agent's programs, without the agent doing anything.

`certify` is a shell script beside the ssh_config: ssh runs it before it logs in, and `onrecord run` now and then while
its command lives. It makes the key of this environment, shows the token to the gateway, and puts the certificate that
comes back beside the key. It needs OpenSSH and no Python.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from onrecord.scripts.agent_files import TOKEN_FILE

KEYS = "ONRECORD_SSH_KEYS"  # a variable's name: the folder of the environment's key and certificate
RENEW = 60.0  # seconds between two looks of `run`; certify itself renews what is over five minutes old
_QUIT = 2.0

_SCRIPT = """#!/bin/sh
# Written by `onrecord env`: a key and a fresh certificate of the gateway in the folder "${KEYS}".
folder=${KEYS:-}
[ -n "$folder" ] || exit 1
umask 077
[ -d "$folder" ] || mkdir -m 700 "$folder" 2>/dev/null
if [ -L "$folder" ] || [ ! -d "$folder" ] || [ ! -O "$folder" ]; then
  printf '%s\\n' "onrecord: no SSH certificate: $folder is no folder of this user" >&2
  exit 1
fi
chmod 700 "$folder" || exit 1
key=$folder/id made=$folder/id-cert.pub fresh=$folder/.fresh.$$
if [ ! -f "$key" ]; then
  ssh-keygen -q -t ed25519 -N '' -C onrecord -f "$fresh" </dev/null >/dev/null || exit 1
  ln "$fresh" "$key" 2>/dev/null
  rm -f "$fresh" "$fresh.pub"
fi
# Whoever takes the token's file away logs out.
[ -z "${TOKEN_FILE}" ] || [ -r "${TOKEN_FILE}" ] || rm -f "$made"
if [ -s "$made" ] && [ -n "$(find "$made" -mmin -5)" ]; then
  [ -r "${TOKEN_FILE}" ] && [ "${TOKEN_FILE}" -nt "$made" ] || exit 0
fi
public=$(ssh-keygen -y -f "$key" </dev/null) || exit 1
if SSH_ASKPASS=@ASKPASS@ SSH_ASKPASS_REQUIRE=force @SSH@ -F @CONFIG@ onrecord-certificate "$public" \\
     </dev/null >"$fresh" 2>"$fresh.why" && [ -s "$fresh" ]; then
  mv -f "$fresh" "$made"
  rm -f "$fresh.why"
  exit 0
fi
# No echo: that of some shells makes control characters of backslashes in what came from elsewhere.
why=$(grep -v '^$' "$fresh.why" | tail -n 1 | tr -d '\\000-\\037\\177')
printf '%s\\n' "onrecord: the SSH certificate is not renewed: $why" >&2
rm -f "$fresh" "$fresh.why"
[ -s "$made" ]  # it expires by itself
"""


def certify_script(folder: Path) -> str:
    """The text of `certify`, for an environment whose files are in `folder`."""
    text = _SCRIPT.replace("${KEYS", "${" + KEYS).replace("${TOKEN_FILE}", "${" + TOKEN_FILE + ":-}")
    ssh = shutil.which("ssh", path=_path_without(folder / "bin")) or "ssh"
    values = {"ASKPASS": folder / "askpass", "SSH": ssh, "CONFIG": folder / "certificate_config"}
    for name, value in values.items():
        text = text.replace(f"@{name}@", shlex.quote(str(value)))
    return text


def certificate_config(host: str, port: int, login: str, known_hosts: Path) -> str:
    """The ssh_config with which `certify` asks: the token as the password, and nothing of the user's own settings."""
    return "\n".join(
        (
            "# Written by `onrecord env`.",
            "Host onrecord-certificate",
            f"    HostName {host}",
            f"    Port {port}",
            f"    User {login}",
            f'    UserKnownHostsFile "{known_hosts}"',
            "    GlobalKnownHostsFile /dev/null",
            "    StrictHostKeyChecking yes",
            "    UpdateHostKeys no",
            "    PubkeyAuthentication no",
            "    PreferredAuthentications password",
            "    NumberOfPasswordPrompts 1",
            "    ConnectTimeout 15",
            "    LogLevel ERROR",
            "    RequestTTY no",
            "",
        )
    )


def keys_folder() -> Path:
    """A place for the key of one environment; who uses it makes it, as another user may be meant to."""
    return Path(tempfile.gettempdir()) / f"onrecord-ssh-{secrets.token_hex(16)}"


def keep_renewed(folder: Path, certify: Path, variables: Mapping[str, str], *, every: float = RENEW) -> None:
    """Make `folder` and keep a fresh certificate in it until this process ends, whatever it becomes by exec.

    The work is done in a process that is no child of this one: the command must not find a child that it did not make.
    Raises OSError.
    """
    folder.mkdir(mode=0o700)
    me = os.getpid()
    ended = os.pidfd_open(me) if hasattr(os, "pidfd_open") else -1
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        if ended >= 0:
            os.close(ended)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            _only(ended)
            _renew(folder, certify, variables, _Watched(me, ended), every)
    finally:
        os._exit(0)


class _Watched:
    """The process that the certificate is for."""

    def __init__(self, pid: int, ended: int) -> None:
        self._pid, self._ended = pid, ended

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end, and tell whether it came."""
        if self._ended >= 0:
            return bool(select.select([self._ended], [], [], seconds)[0])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                os.kill(self._pid, 0)
            except OSError:
                return True
            time.sleep(0.2)
        return False


def _only(kept: int) -> None:
    """Hold no file of the command's but stderr: who waits for the end of a pipe must not wait for us."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    top = 4096
    if kept >= 3:
        os.closerange(3, kept)
        os.closerange(kept + 1, top)
    else:
        os.closerange(3, top)


def _renew(folder: Path, certify: Path, variables: Mapping[str, str], watched: _Watched, every: float) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    told = False
    try:
        while True:
            work = subprocess.Popen(
                [str(certify)], env=dict(variables), stderr=subprocess.DEVNULL if told else None, start_new_session=True
            )
            while work.poll() is None:
                if watched.ends_within(0.2):
                    _stop(work)
                    return
            # One failure is told once: the line would come each minute.
            told = work.returncode != 0
            if watched.ends_within(every):
                return
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stop(work: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(work.pid, signal.SIGTERM)
    try:
        work.wait(_QUIT)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            os.killpg(work.pid, signal.SIGKILL)


def _path_without(wrappers: Path) -> str:
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(part for part in parts if part and Path(part) != wrappers)
