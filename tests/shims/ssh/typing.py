"""Someone at a terminal: the real ssh on a pseudo-terminal."""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl

from onrecord.scripts.parts.openssh import SshClient

PATIENCE = 60.0


class Terminal:
    """`type` sends keys, `wait` reads until a text shows."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self._master = process, master
        self.shown = b""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait(self, text: str, *, times: int = 1) -> None:
        """Until `text` was shown `times` times."""
        deadline = time.monotonic() + PATIENCE
        while self.shown.count(text.encode()) < times:
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"waited for {text!r} and saw {self.shown!r}")

    def resize(self, columns: int, rows: int) -> None:
        ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def end(self) -> int:
        """Read to the end; the exit status."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 1.0)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self.shown += data
        return bool(data)


@contextmanager
def terminal(client: SshClient, *arguments: str, columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    """ssh with these arguments on a terminal of this size."""
    master, slave = os.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        client.command(*arguments),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**client.env, "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)
