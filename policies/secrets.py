"""Secrets by reference: `env:NAME`, `file:PATH`, `exec:/abs/program argument …`.

A reference is resolved once and kept for the process's life. No error, log line or repr ever holds a value.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from onrecord.policies.config.types import SecretRef
from onrecord.policies.config.values import program_of
from onrecord.policies.errors import SecretError

MAX_SECRET = 64 * 1024
EXEC_TIMEOUT = 10.0


class Secrets:
    """Resolves references. `on_new` is told each value once, before `resolve` returns it.

    `env` replaces the process's environment (tests, and processes that are handed only their own secrets).
    """

    def __init__(self, env: Mapping[str, str] | None = None, on_new: Callable[[str], None] | None = None) -> None:
        self._env = os.environ if env is None else env
        self._found: dict[tuple[str, str], str] = {}
        self.on_new = on_new

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._found)} resolved>"

    def resolve(self, ref: SecretRef) -> str:
        """The value of `ref`, from the cache if it was read before. Raises SecretError."""
        key = (ref.scheme, ref.target)
        value = self._found.get(key)
        if value is None:
            value = self._read(ref)
            self._found[key] = value
            if self.on_new is not None:
                self.on_new(value)
        return value

    def values(self) -> list[str]:
        """All values resolved so far."""
        return list(self._found.values())

    def _read(self, ref: SecretRef) -> str:
        shown = f"exec:{ref.target.split()[0]} …" if ref.scheme == "exec" and ref.target else str(ref)
        name = f"{ref.where}: {shown}" if ref.where else shown
        if ref.scheme == "env":
            value = self._env.get(ref.target)
            if value is None:
                raise SecretError(f"{name}: the environment variable {ref.target} is not set")
        elif ref.scheme == "file":
            value = _decode(_read_file(Path(ref.target), name), name)
        else:
            value = _decode(_run(ref.target, name), name)
        if not value:
            raise SecretError(f"{name}: the secret is empty")
        if "\0" in value:
            raise SecretError(f"{name}: the secret holds a NUL character")
        return value


def _decode(data: bytes, name: str) -> str:
    if len(data) > MAX_SECRET:
        raise SecretError(f"{name}: the secret is over {MAX_SECRET} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SecretError(f"{name}: the secret is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _read_file(path: Path, name: str) -> bytes:
    """The file's bytes, from the very file that was checked (no race between check and use)."""
    try:
        # O_NONBLOCK: opening a FIFO must not hang; it is refused just below
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise SecretError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise SecretError(f"{name}: not a regular file")
        if status.st_uid not in (0, os.geteuid()):
            raise SecretError(f"{name}: belongs to another user (chown it to the gateway's user or to root)")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise SecretError(f"{name}: mode {mode:04o} lets others read or write it (chmod 600)")
        return os.read(fd, MAX_SECRET + 1)
    except OSError as error:
        raise SecretError(f"{name}: cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)


def check_program(path: Path) -> str:
    """Why `path` must not be run, or "". Only root and the own user may be able to write it."""
    try:
        status = path.stat()
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    if not stat.S_ISREG(status.st_mode) or not os.access(path, os.X_OK):
        return "not an executable file"
    if status.st_uid not in (0, os.geteuid()):
        return "the program belongs to another user"
    if status.st_mode & 0o022:
        return f"mode {stat.S_IMODE(status.st_mode):04o} lets others write the program (chmod go-w)"
    return ""


def _run(command: str, name: str) -> bytes:
    """The program's standard output: no shell, empty environment, bounded time and size."""
    try:
        argv = program_of(command)
    except ValueError as error:
        raise SecretError(f"{name}: {error}") from None
    reason = check_program(Path(argv[0]))
    if reason:
        raise SecretError(f"{name}: {reason}")
    try:
        process = subprocess.Popen(
            argv,
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may hold the secret
            start_new_session=True,  # so that its children end with it
        )
    except OSError as error:
        raise SecretError(f"{name}: cannot be run: {error.strerror}") from None
    except ValueError:
        raise SecretError(f"{name}: the command line holds a NUL character") from None
    with process:
        try:
            output, ended = _read_output(process, time.monotonic() + EXEC_TIMEOUT)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if not ended:
        raise SecretError(f"{name}: no answer within {EXEC_TIMEOUT:g} s")
    if len(output) <= MAX_SECRET and process.returncode != 0:
        raise SecretError(f"{name}: the program ended with status {process.returncode}")
    return output


def _read_output(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """At most MAX_SECRET + 1 bytes of its output, and whether it came to its end (or the bound) in time."""
    assert process.stdout is not None  # noqa: S101  # PIPE above
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(output) <= MAX_SECRET:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return output, False
            data = os.read(process.stdout.fileno(), MAX_SECRET + 1)
            if not data:
                break
            output += data
        else:
            return output, True
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return output, False
    return output, True
