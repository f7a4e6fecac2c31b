"""The gateway's CA, made once: workers that start together must not write it over each other or read half of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from mitmproxy.certs import CertStore

KEY_SIZE = 2048  # bits: the default of mitmproxy's option, which the gateway leaves alone


def make_ca(folder: Path) -> None:
    """Make the CA in `folder` (mitmproxy's confdir) where there is none yet."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        CertStore.from_store(folder, "mitmproxy", KEY_SIZE)
    finally:
        os.close(lock)
