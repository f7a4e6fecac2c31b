"""The demo's agent: it has its own OIDC token and ordinary tools, nothing else. What it runs is real curl and psql."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onrecord.scripts.parts.postgres import PartError

PROMPT = b"=> "
PATIENCE = 30.0
HIDDEN = "\\set QUIET off"  # psql's banner goes, its command tags stay


@dataclass(frozen=True, slots=True)
class Agent:
    """Tools and environment. `variables` is what `onrecord env` printed for the agent's token."""

    variables: Mapping[str, str]
    psql: str
    curl: str

    def environment(self) -> dict[str, str]:
        """Nothing of ours but PATH: no secret of the gateway or of an upstream can be in it."""
        base = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
        base["PGCONNECT_TIMEOUT"] = "20"
        return base | dict(self.variables)

    def run(self, *argv: str) -> str:
        """Run one command; what a terminal would show of it."""
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE,
            env=self.environment(),
        )
        return done.stdout.rstrip("\n")

    def query(self, *statements: str, database: str = "orders", user: str = "devin") -> str:
        """One interactive psql session with these statements, as its terminal shows it."""
        argv = [self.psql, "-X", "-q", "-n", "-P", "pager=off", "-P", "footer=off", "-d", database, "-U", user]
        typed = typescript(argv, [HIDDEN, *statements], self.environment())
        _, _, shown = typed.partition(HIDDEN)
        return (shown or typed).strip("\n").rpartition(f"\n{database}=> ")[0] or typed.strip()


def find_psql(bindir: Path) -> tuple[str, bool]:
    """A psql, and whether it can speak TLS: the machine's own, else the embedded server's, which cannot."""
    found = shutil.which("psql")
    return (found, True) if found else (str(bindir / "psql"), False)


def find_curl() -> str:
    """curl, or PartError."""
    found = shutil.which("curl")
    if found is None:
        raise PartError("the demo's agent needs curl: apt-get install curl")
    return found


def typescript(argv: Sequence[str], lines: Sequence[str], environment: Mapping[str, str]) -> str:
    """Type `lines` at a program's prompts on a pseudo terminal, then end of input; everything it showed."""
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        list(argv), stdin=terminal, stdout=terminal, stderr=terminal, env=dict(environment), start_new_session=True
    )
    os.close(terminal)
    shown = b""
    try:
        for line in [*lines, "\x04"]:
            shown += _until_prompt(control)
            if process.poll() is not None:
                break
            os.write(control, line.encode() + (b"" if line == "\x04" else b"\n"))
        shown += _until_end(control)
        process.wait(PATIENCE)
    except OSError:
        pass  # the program ended and took the terminal's other side with it
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(control)
    return shown.decode(errors="replace").replace("\r\n", "\n").replace("^D", "").replace("\x08", "")


def _until_prompt(control: int) -> bytes:
    """Read until the program waits for input or has ended."""
    shown = b""
    deadline = time.monotonic() + PATIENCE
    while not shown.endswith(PROMPT):
        if not select.select([control], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise PartError(f"no prompt within {PATIENCE:.0f} s; it showed: {shown.decode(errors='replace')[-500:]}")
        try:
            piece = os.read(control, 65536)
        except OSError:
            return shown
        if not piece:
            return shown
        shown += piece
    return shown


def _until_end(control: int) -> bytes:
    shown = b""
    while select.select([control], [], [], PATIENCE)[0]:
        try:
            piece = os.read(control, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    return shown
