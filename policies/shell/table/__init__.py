"""Common programs, one file a group. A program or an option that is not here is unknown."""

from __future__ import annotations

from onrecord.policies.shell.options import Program
from onrecord.policies.shell.table import builtins, changing, databases, network, packages, reading, running, system

ROWS: tuple[Program, ...] = (
    *reading.ROWS,
    *changing.ROWS,
    *builtins.ROWS,
    *running.ROWS,
    *network.ROWS,
    *system.ROWS,
    *packages.ROWS,
    *databases.ROWS,
)


def _by_name() -> dict[str, Program]:
    found: dict[str, Program] = {}
    for row in ROWS:
        for name in row.names.split():
            if name in found:
                raise ValueError(f"{name} stands in two rows")
            found[name] = row
    return found


PROGRAMS = _by_name()
