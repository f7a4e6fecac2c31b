"""The login `+certificate`: a token is shown, and a short-lived certificate for a key of the client's comes back.

The command line is the public key, the answer the certificate. A certificate buys no other: only a token does, so what
is renewed ends with the token, with a kill of the run and with a revoked identity.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import asyncssh

from onrecord.policies.errors import OnrecordError

_log = logging.getLogger("onrecord.ssh")

MAX_KEY = 2048
KINDS = (b"ssh-ed25519", b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp521")
REFUSED, FAILED = 126, 255


class ExchangeError(OnrecordError):
    """What the client sent is no public key that is certified."""


def public_key(text: str) -> asyncssh.SSHKey:
    """The key in one line of OpenSSH's format. Raises ExchangeError."""
    if len(text) > MAX_KEY or not text.isascii() or not text.isprintable():
        raise ExchangeError("the command must be a public key: one line of id.pub")
    try:
        key = asyncssh.import_public_key(text)
    except (asyncssh.KeyImportError, ValueError):
        raise ExchangeError("the command is no public key; it must be one line of id.pub") from None
    if key.algorithm not in KINDS:
        raise ExchangeError("keys of this kind are not certified (ssh-keygen -t ed25519)")
    return key


class ExchangeSession(asyncssh.SSHServerSession[bytes]):
    """A channel that takes one public key as its command and does nothing else."""

    def __init__(self, certify: Callable[[str], str]) -> None:
        self._certify = certify
        self._channel = cast("asyncssh.SSHServerChannel[bytes]", None)
        self._key: str | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def refused_request(self, name: str, what: str) -> None:
        """X11 and agent forwarding: nothing runs here that could use them."""

    def exec_requested(self, command: str) -> bool:
        self._key = command
        return True

    def session_started(self) -> None:
        try:
            answer = self._certify(self._key or "")
        except OnrecordError as error:
            self._end(f"onrecord: {error}\n", REFUSED)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing is signed
            _log.exception("a certificate could not be made")
            self._end(f"onrecord: internal error of the gateway: {type(error).__name__}\n", FAILED)
        else:
            self._channel.write(answer.encode())
            self._channel.exit(0)

    def _end(self, text: str, status: int) -> None:
        clean = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
        self._channel.write_stderr(clean.encode("utf-8", "replace"))
        self._channel.exit(status)
