"""Text → ShellAnalysis: what a command line runs, reads, writes, deletes and dials."""

from __future__ import annotations

import functools

import msgspec

from onrecord.policies.model import Action, NameSet, Session, SshCommand
from onrecord.policies.shell.found import RANK, Found
from onrecord.policies.shell.tree import SIZE
from onrecord.policies.shell.walker import Walker


class ShellAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """What one command line does, as far as its text tells.

    `argv`: the simple commands, those nested in others too, each a tuple of words after quote removal; what is known
    only when it runs stands as it is written. `programs`: names as written and without their folder. Paths are
    normalised by their text; relative ones start where the line starts, `~` is the home. `dials`: (host, port), port 0
    where it is not given. `redirections`: (operator, target). `action`: the strongest of all parts. `also_admin`: the
    action is unknown and a part that is understood is admin. `reasons`: why it is more than a read, for the refusal.
    """

    argv: tuple[tuple[str, ...], ...] = ()
    programs: NameSet = NameSet()
    paths_read: NameSet = NameSet()
    paths_written: NameSet = NameSet()
    paths_deleted: NameSet = NameSet()
    dials: tuple[tuple[str, int], ...] = ()
    redirections: tuple[tuple[str, str], ...] = ()
    action: Action = "unknown"
    also_admin: bool = False
    reasons: tuple[str, ...] = ()


def analyse(line: str, *, terminal: bool = False) -> ShellAnalysis:
    """What `line` does. Never raises: what cannot be read is unknown, with the reason.

    `terminal`: its output is a terminal, so that some programs open a pager.
    """
    if len(line) > SIZE:
        return ShellAnalysis(reasons=(f"unknown: longer than {SIZE} characters",))
    return _analyse(line, terminal)


@functools.lru_cache(maxsize=512)
def _analyse(line: str, terminal: bool) -> ShellAnalysis:
    found = Found(terminal=terminal)
    try:
        Walker(found).code(line)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, UnicodeError) as error:
        # A fault of the analysis is no leave to run: the line is unknown.
        found.unknown(f"the line could not be analysed ({type(error).__name__})")
    if not found.argv and not found.redirections and found.actions == {"read"}:
        found.unknown("no command") if line.strip() and not line.lstrip().startswith("#") else None
    action = max(found.actions, key=RANK.__getitem__)
    return ShellAnalysis(
        argv=tuple(found.argv),
        programs=NameSet(found.programs),
        paths_read=NameSet(found.read),
        paths_written=NameSet(found.written),
        paths_deleted=NameSet(found.deleted),
        dials=tuple(sorted(found.dials)),
        redirections=tuple(found.redirections),
        action=action,
        also_admin=action == "unknown" and "admin" in found.actions,
        reasons=tuple(found.reasons),
    )


def command_of(
    line: str, session: Session, *, user: str = "", interactive: bool = False, terminal: bool = False
) -> SshCommand:
    """The command that `line` is in `session`, run on the host as `user`, as policies see it."""
    found = analyse(line, terminal=terminal or interactive)
    return SshCommand(
        session=session,
        action=found.action,
        also_admin=found.also_admin,
        text=line,
        argv=found.argv,
        programs=found.programs,
        paths_read=found.paths_read,
        paths_written=found.paths_written,
        paths_deleted=found.paths_deleted,
        dials=found.dials,
        redirections=found.redirections,
        interactive=interactive,
        user=user,
    )
