"""Processes of a server: which they are, and the CPU time that they used (a figure that other load hardly moves)."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Meter:
    """CPU microseconds a request of the processes `pids`, over all measurements that `wrap` saw; the median."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._taken: list[float] = []

    def wrap(self, measure: Callable[[], float], seconds: float) -> Callable[[], float]:
        """`measure` answers requests per second, and keeps the server busy at that rate for `seconds`."""

        def measured() -> float:
            before = cpu_seconds(*self._pids)
            rate = measure()
            self._taken.append((cpu_seconds(*self._pids) - before) / (rate * seconds) * 1e6)
            return rate

        return measured

    @property
    def median(self) -> float:
        """Microseconds a request."""
        return statistics.median(self._taken)


def cpu_seconds(*pids: int) -> float:
    """User and system time of `pids` so far, threads included; what has ended counts nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def descendants(pid: int) -> list[int]:
    """All living children of `pid`, theirs too."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found
