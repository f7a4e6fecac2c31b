"""Real shells over stub programs: what bash and dash run for a line, as lists of words."""

from __future__ import annotations

import contextlib
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

PROGRAMS = (
    "ls",
    "cat",
    "head",
    "tail",
    "wc",
    "cut",
    "id",
    "uname",
    "rm",
    "touch",
    "grep",
    "stat",
    "tee",
    "sh",
    "env",
    "nice",
)
SHELLS = ("bash", "dash")


class Stubs:
    """A folder of programs that log their words. `run` gives each call's words and the files that came to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = 0
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.shells = {name: shutil.which(name) for name in SHELLS}
        missing = [name for name, path in self.shells.items() if path is None]
        if missing:
            raise RuntimeError(f"not installed: {', '.join(missing)}")
        # One append a call, so that parallel parts do not mix; a log a run, so that what runs on is not the next's.
        body = f"""#!{self.shells["bash"]}
printf '%s\\0' "${{0##*/}}" "$@" $'\\x01END' >> "$STUB_LOG"
"""
        for name in PROGRAMS:
            path = self.bin / name
            path.write_text(body)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, shell: str, line: str) -> tuple[list[tuple[str, ...]], set[str]]:
        self.runs += 1
        log = self.folder / f"log{self.runs}"
        log.write_bytes(b"")
        program = self.shells[shell]
        assert program is not None
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
            (Path(home) / "d").mkdir()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a loop without an end: what it ran so far counts
                subprocess.run(
                    [program, "-c", line],
                    cwd=home,
                    env={"PATH": str(self.bin), "HOME": home, "STUB_LOG": str(log)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=10,
                )
            made = {str(path.relative_to(home)) for path in Path(home).rglob("*") if not path.is_dir()}
        calls = log.read_bytes().decode(errors="surrogateescape").split("\x01END\0")
        log.unlink()
        return [tuple(call.split("\0")[:-1]) for call in calls if call], made


def covers(argv: tuple[tuple[str, ...], ...], call: tuple[str, ...]) -> bool:
    """Whether one of the commands of the analysis is this call; a word with an expansion stands for any words."""
    return any(_same(command, call) for command in argv)


def _same(command: tuple[str, ...], call: tuple[str, ...]) -> bool:
    pattern = ""
    for word in command:
        if re.search(r"[$`*?\[~]|<\(|>\(", word):
            pattern += "(?:[^\0]*\0)*"
        else:
            pattern += re.escape(word) + "\0"
    return re.fullmatch(pattern, "".join(word + "\0" for word in call), re.DOTALL) is not None
