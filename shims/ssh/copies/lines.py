"""A command line that scp, rsync or git sends → what it copies, in which direction. Pure.

Only the very form in which those programs ask their far side is recognised: one program, plain words, options that are
known. Anything else is not this module's, and is judged as the shell command that it is.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from onrecord.policies.sql.wordlists import words

Kind = Literal["scp", "rsync", "git"]
Direction = Literal["read", "write"]

_WORD = re.compile(
    r"""(?: [A-Za-z0-9_@%+=:,./-] | \\[\x20-\x7e\x80-\U0010ffff] | '[^']*' | [\x80-\U0010ffff] )+""", re.VERBOSE
)
_TILDE = re.compile(r"~(?=/|$)")
_RSYNC_LETTERS = frozenset("0@ACDEFHIJKLNOPRSUWXabcdghiklmnopqrtuvxyz")  # without s: then arguments come later
_RSYNC_CAPABILITIES = re.compile(r"e\d*\.[A-Za-z0-9]*")
_RSYNC_FLAGS = words(
    "--server --sender --delete --delete-before --delete-during --delete-after --delete-delay --delete-excluded "
    "--numeric-ids --inplace --partial --size-only --existing --ignore-existing --append --append-verify --safe-links "
    "--copy-unsafe-links --force --ignore-errors --fuzzy --list-only --open-noatime --remove-source-files --mkpath "
    "--delay-updates --fsync --old-compress --new-compress --no-implied-dirs --no-r --no-W --no-i-r --no-inc-recursive "
    "--no-whole-file --use-qsort --from0 --stats --human-readable --omit-dir-times --ignore-missing-args "
    "--delete-missing-args --trust-sender"
)
_RSYNC_VALUES = words(
    "--checksum-choice --compress-level --compress-choice --bwlimit --timeout --max-size --min-size --max-delete "
    "--modify-window --log-format --out-format --block-size --checksum-seed --skip-compress --suffix --max-alloc --zc "
    "--zl --cc --info --debug"
)
_RSYNC_PATHS: dict[str, Direction] = {
    "--backup-dir": "write",
    "--partial-dir": "write",
    "--temp-dir": "write",
    "--link-dest": "read",
    "--compare-dest": "read",
    "--copy-dest": "read",
}


class Copy(NamedTuple):
    """What is copied. `direction`: whether the host's files are read or written.

    Paths are as the host will see them, relative ones from the home; `below`: everything under them is meant too.
    `folder`: scp's target must be one. `reads` and `writes` are the paths of rsync's options.
    """

    kind: Kind
    direction: Direction
    paths: tuple[str, ...]
    below: bool = False
    folder: bool = False
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def plain_words(line: str) -> list[str] | None:
    """The words of a line in which a shell has nothing to do but to split and unquote; None for any other."""
    found: list[str] = []
    for part in _parts(line):
        tilde = _TILDE.match(part)
        rest = part[1:] if tilde else part
        if (rest and not _WORD.fullmatch(rest)) or rest.startswith("="):  # zsh looks `=x` up
            return None
        text = re.sub(r"\\(.)|'([^']*)'", lambda one: one[1] or one[2] or "", rest, flags=re.DOTALL)
        # a tilde in quotes is a name, not the home
        found.append("~" + text if tilde else "./" + text if text.startswith("~") else text)
    return found


def _parts(line: str) -> list[str]:
    """Split at spaces outside of quotes."""
    return [found[0] for found in re.finditer(r"(?:\\.|'[^']*'|[^\s'\\]|['\\])+", line, re.DOTALL)]


def copy_of(line: str) -> Copy | None:
    """What `line` copies; None where it is no such line."""
    given = plain_words(line)
    if not given or "\n" in line or "\r" in line:
        return None
    program, arguments = given[0], given[1:]
    if program == "scp":
        return _scp(arguments)
    if program == "rsync":
        return _rsync(arguments)
    if program == "git" and arguments[:1] in (["upload-pack"], ["receive-pack"]):
        program, arguments = f"git-{arguments[0]}", arguments[1:]
    if program in ("git-upload-pack", "git-receive-pack"):
        return _git(program, arguments)
    return None


def _scp(arguments: list[str]) -> Copy | None:
    letters = set()
    while arguments and re.fullmatch(r"-[rpdvqtf]+", arguments[0]):
        letters |= set(arguments.pop(0)[1:])
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    elif arguments and arguments[0].startswith("-"):
        return None
    if ("t" in letters) == ("f" in letters) or not arguments or not all(arguments):
        return None
    if "t" in letters:
        if len(arguments) != 1:
            return None
        return Copy("scp", "write", tuple(arguments), below="r" in letters, folder="d" in letters)
    return Copy("scp", "read", tuple(arguments), below="r" in letters)


def _rsync(arguments: list[str]) -> Copy | None:
    flags: set[str] = set()
    reads: list[str] = []
    writes: list[str] = []
    while arguments and arguments[0].startswith("-"):
        word = arguments.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            if not _rsync_letters(word[1:], flags):
                return None
        elif name in _RSYNC_PATHS and equals and value:
            (reads if _RSYNC_PATHS[name] == "read" else writes).append(value)
        elif name in _RSYNC_PATHS and not equals and arguments:
            (reads if _RSYNC_PATHS[name] == "read" else writes).append(arguments.pop(0))
        elif name in _RSYNC_VALUES and equals:
            continue
        elif word in _RSYNC_FLAGS or word == "--files-from=-":
            flags.add(word)
        else:
            return None
    if "--server" not in flags or arguments[:1] != ["."] or len(arguments) < 2:
        return None
    paths = tuple(path or "." for path in arguments[1:])
    if "--sender" in flags:
        if "--remove-source-files" in flags:
            writes += paths
        return Copy("rsync", "read", paths, below=True, reads=tuple(reads), writes=tuple(writes))
    if len(paths) != 1:
        return None
    return Copy("rsync", "write", paths, below=True, reads=tuple(reads), writes=tuple(writes))


def _rsync_letters(letters: str, flags: set[str]) -> bool:
    for at, letter in enumerate(letters):
        if letter == "e":
            return _RSYNC_CAPABILITIES.fullmatch(letters[at:]) is not None
        if letter not in _RSYNC_LETTERS:
            return False
        flags.add(letter)
    return bool(letters)


def _git(program: str, arguments: list[str]) -> Copy | None:
    known = {"--strict", "--no-strict"} if program == "git-upload-pack" else set()
    while arguments and arguments[0].startswith("-"):
        word = arguments.pop(0)
        if word not in known and not re.fullmatch(r"--timeout=\d+", word):
            return None
    if len(arguments) != 1 or not arguments[0]:
        return None
    path = arguments[0].removeprefix("./") if arguments[0].startswith("./~") else arguments[0]
    if path.startswith("~") and path != "~" and not path.startswith("~/"):
        return None
    direction: Direction = "read" if program == "git-upload-pack" else "write"
    return Copy("git", direction, (path,), below=True)  # git itself looks the home up, also where it was quoted
