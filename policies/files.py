"""Which paths plant code or access, and which hold secrets: one list for SSH commands, SFTP and scp.

A path may be absolute, begin with `~` or `~user`, or be relative: then it may lie in any folder, so it counts where a
rule could end with it. `*`, `?` and `[…]` stand for whatever they could match, and a component `**` for any number of
folders, or none. `..` is resolved by the text. The lists are of Linux servers; case is left alone.
"""

from __future__ import annotations

import fnmatch
import functools
import posixpath

from onrecord.policies.file_rules import PLANTS, SECRETS
from onrecord.policies.sql.wordlists import words as word_list

_Rule = tuple[tuple[str, ...], bool, str]
_GLOB = frozenset("*?[")
_NOTHING = frozenset({"/dev/null", "/dev/zero", "/dev/full", "/dev/stdout", "/dev/stderr", "/dev/tty"})
_SHARED = "/dev/shm/"  # noqa: S108 - a name to compare with
_LIMIT = 4096
_COMPONENTS = 256


def _rules(table: tuple[tuple[str, str], ...]) -> tuple[_Rule, ...]:
    found: list[_Rule] = []
    for patterns, why in table:
        for pattern in patterns.split():
            below = pattern.endswith("/") and len(pattern) > 1
            parts = tuple(part for part in pattern.split("/") if part)
            found.append((parts if parts[:1] in (("~",), ("**",)) else ("", *parts), below, why))
    return tuple(found)


_PLANT_RULES = _rules(PLANTS)
_SECRET_RULES = _rules(SECRETS)


def plants(path: str) -> str | None:
    """Why writing `path` plants code or access, or changes who may do what; None where no rule says so."""
    if path in _NOTHING or (path.startswith(_SHARED) and ".." not in path):
        return None
    return _first(path, _PLANT_RULES)


def plants_below(path: str) -> str | None:
    """Why writing anything below the folder `path` may plant code or access.

    Rules for any folder do not count: of those only the files' own names tell.
    """
    why = plants(path)
    if why or len(path) > _LIMIT:
        return why
    for spelling in normalise(path):
        parts = tuple(spelling.rstrip("/").split("/")) if spelling != "/" else ("",)
        if parts in (("",), ("~",), (".",)) or set(parts) == {".."}:
            return "the folder itself, with all that is in it"
        for pattern, _, reason in _PLANT_RULES:
            size = len(parts)
            if pattern[0] != "**" and len(pattern) > size and _equal(parts, pattern[:size]):
                return f"below it lies what is {reason}"
    return None


def secrets_below(path: str, *, deep: bool = False) -> str | None:
    """Why the folder `path` holds secrets: itself, or with `deep` anywhere below. Rules for any folder do not count."""
    if len(path) > _LIMIT:
        return None
    for spelling in normalise(path):
        parts = tuple(spelling.rstrip("/").split("/")) if spelling != "/" else ("",)
        parts = ("~", *parts) if parts[0] not in ("", "~") else parts
        parts = ("~",) if parts == ("~", ".") or set(parts[1:]) == {".."} else parts
        for pattern, _, reason in _SECRET_RULES:
            size = len(parts)
            inside = len(pattern) > size if deep else len(pattern) == size + 1 and size > 1 and parts[1:] != ("etc",)
            if pattern[0] != "**" and inside and _equal(parts, pattern[:size]):
                return f"a folder with {reason}"
    return None


def secret_file(path: str) -> str | None:
    """Why `path` holds a secret; None where no rule says so. `*.pub` and `known_hosts` are none."""
    name = path.rstrip("/").rpartition("/")[2]
    public = name.endswith(".pub") or name == "known_hosts"
    if public and not _GLOB.intersection(path) and not normalise(path)[0].startswith("/proc/"):
        return None
    return _first(path, _SECRET_RULES)


def normalise(path: str) -> tuple[str, ...]:
    """The spellings of `path` that rules are tried on: `//`, `.` and `..` gone by the text, aliases of / followed."""
    text = posixpath.normpath(path or ".")
    if text.startswith("//"):
        text = text[1:]
    if path.startswith("~"):
        _, _, rest = path.partition("/")
        below = posixpath.normpath(rest).lstrip("/") if rest else "."
        # Above a home lie other homes, and the root.
        climbed = below.startswith("..")
        while below.startswith("../") or below == "..":
            below = below[3:]
        text = f"~/{below}" if below not in ("", ".") else "~"
        if climbed:
            return (text, below or "/", *_root(below), f"~/{below.partition('/')[2]}")
        return (text,)
    for alias in ("/proc/self/root", "/proc/1/root", "/proc/thread-self/root"):
        if text == alias or text.startswith(alias + "/"):
            return (text, text[len(alias) :] or "/")
    parts = text.split("/")
    if text.startswith("/proc/") and len(parts) > 3 and parts[3] == "root":
        return (text, "/" + "/".join(parts[4:]))
    for home in ("home", "Users"):
        if len(parts) > 2 and parts[1] == home and parts[0] == "" and parts[2] != "**":
            return (text, "/".join(["~", *parts[3:]]))
    if parts[:2] == ["", "root"]:
        return (text, "/".join(["~", *parts[2:]]))
    if not text.startswith("../"):
        return (text,)
    while text.startswith("../"):
        text = text[3:]
    # Above may lie other homes, and the folder of all homes.
    first, _, rest = text.partition("/")
    others = (f"~/{rest}",) if rest else ()
    return (text, *others, *(_root(text) if any(_one(first, home) for home in ("home", "Users", "root")) else ()))


def _root(below: str) -> tuple[str, ...]:
    """The spellings of `below` as a path from the root."""
    return normalise(f"/{below}")


def _first(path: str, rules: tuple[_Rule, ...]) -> str | None:
    if len(path) > _LIMIT or path.count("/") > _COMPONENTS:
        return "too long to be judged"
    return _cached(path, rules is _PLANT_RULES)


@functools.lru_cache(maxsize=4096)
def _cached(path: str, planting: bool) -> str | None:
    rules = _PLANT_RULES if planting else _SECRET_RULES
    for spelling in normalise(path):
        parts = tuple(spelling.rstrip("/").split("/")) if spelling != "/" else ("",)
        relative = parts[0] not in ("", "~")
        deep = "**" in parts
        for pattern, below, why in rules:
            if deep:
                if _reaches(parts, pattern, below=below, planting=planting):
                    return why
            elif _matches(parts, pattern, below=below, relative=relative):
                return why
    return None


def _reaches(path: tuple[str, ...], pattern: tuple[str, ...], *, below: bool, planting: bool) -> bool:
    """Whether some file that `path` may be is one of the rule; `path` has a component `**`.

    Where a name follows the `**`, folders of rules for any folder (`**/secrets/`) do not count for secrets, unless
    they are named: else nothing could be read that way. What is written there may be in any of them.
    """
    first = path.index("**")
    last = len(path) - 1 - path[::-1].index("**")
    folder, names = path[:first], path[last + 1 :]
    if pattern[0] == "**":
        rest = pattern[1:]
        if not names or (below and planting):
            return True
        if below:
            named = any(_equal(folder[at : at + len(rest)], rest) for at in range(len(folder)))
            return named or any(_may_be(name, rest[-1]) for name in names)
        size = min(len(names), len(rest))
        return all(_may_be(a, b) for a, b in zip(names[-size:], rest[-size:], strict=True))
    if folder[:1] in (("",), ("~",)):
        folders = [folder]
        if pattern[0] == "~" and folder[0] == "" and (len(folder) == 1 or _one(folder[1], "home")):
            folders.append(("~", *folder[3:]))
        if pattern[0] == "~" and folder[0] == "" and len(folder) > 1 and _one(folder[1], "root"):
            folders.append(("~", *folder[2:]))
        return any(_under(each, names, pattern, below=below) for each in folders)
    if pattern[0] == "~" and _under(("~", *folder), names, pattern, below=below):
        return True
    for begin in range(1, len(pattern)):
        tail = pattern[begin:]
        if len(tail) == 1 and tail[0] in _COMMON:
            continue
        if below and len(folder) < len(tail) and not (names and _may_be(names[-1], tail[-1])):
            continue
        if (folder or len(tail) == 1) and _under(folder, names, tail, below=below):
            return True
    return False


def _under(folder: tuple[str, ...], names: tuple[str, ...], pattern: tuple[str, ...], *, below: bool) -> bool:
    """Whether `folder/**/names` may be what `pattern` says, or with `below` lie below that."""
    size = min(len(folder), len(pattern))
    if not _equal(folder[:size], pattern[:size]):
        return False
    if len(folder) >= len(pattern):
        return below or (not names and len(folder) == len(pattern))
    return below or not names or _may_be(names[-1], pattern[-1])


def _may_be(given: str, pattern: str) -> bool:
    """As `_one`, of a name that a program matched: its patterns match a leading dot too."""
    if given == pattern or fnmatch.fnmatchcase(given, pattern):
        return True
    return bool(_GLOB.intersection(given)) and _overlap(given, pattern[:1] + pattern[1:].replace("*", ""))


def _matches(path: tuple[str, ...], pattern: tuple[str, ...], *, below: bool, relative: bool) -> bool:
    if pattern[0] == "**":
        rest = pattern[1:]
        last = len(path) - len(rest)
        return any(_equal(path[at : at + len(rest)], rest) and (below or at == last) for at in range(max(last, -1) + 1))
    if not relative:
        if below:
            return len(path) >= len(pattern) and _equal(path[: len(pattern)], pattern)
        return len(path) == len(pattern) and _equal(path, pattern)
    # A relative path may begin anywhere in the rule's own folders, but not past its last component.
    for begin in range(1, len(pattern)):
        tail = pattern[begin:]
        long_enough = len(path) >= len(tail) if below else len(path) == len(tail)
        if long_enough and _equal(path[: len(tail)], tail) and not (len(tail) == 1 and tail[0] in _COMMON):
            return True
    return False


# Last components of rules that say nothing alone: a relative `lib/x` is not /lib/x unless the folder is known.
_COMMON = word_list(
    "bin sbin lib lib32 lib64 opt etc usr var home root boot efi dev sys proc share games init service default sv "
    "conf.d network input mail cloud security local snap fly docker containerd mysql php group* magic private X11 "
    "secrets log block disk mapper systemd vim emacs npm yarn go tasks fd cwd task environ maps mem stack cmdline hub "
    "aliases* hosts auto* grub* kernel spool rc* service* secure* pam* hosts.allow audit journal chef salt puppet "
    "ansible at cron crontabs ssl ssh apt dnf rpm dpkg cni acpi ppp gdb libexec libx32 runit s6 sr*"
)


def _equal(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    return len(path) == len(pattern) and all(_one(a, b) for a, b in zip(path, pattern, strict=True))


def _one(given: str, pattern: str) -> bool:
    """Whether a component could be what the rule means; a glob on the given side could be anything it matches."""
    if given == pattern or (given and fnmatch.fnmatchcase(given, pattern)):
        return True
    if not _GLOB.intersection(given):
        return False
    if not given.startswith(".") and pattern.startswith("."):
        return False  # a leading dot is matched only by a written one
    # Of a rule only its leading star stands for anything here: else `*.log` would be said to match `credentials.*`.
    return _overlap(given, pattern[:1] + pattern[1:].replace("*", ""))


@functools.lru_cache(maxsize=8192)
def _overlap(a: str, b: str) -> bool:
    """Whether two shell patterns have a name in common; brackets count as any character."""
    left, right = _tokens(a), _tokens(b)
    reach = {(0, 0)}
    for _ in range(len(left) + len(right) + 1):
        grown = set(reach)
        for i, j in reach:
            if i < len(left) and left[i] == "*":
                grown.add((i + 1, j))
                if j < len(right):
                    grown.add((i, j + 1))
            if j < len(right) and right[j] == "*":
                grown.add((i, j + 1))
                if i < len(left):
                    grown.add((i + 1, j))
            both = i < len(left) and j < len(right) and "*" not in (left[i], right[j])
            if both and (left[i] == right[j] or "?" in (left[i], right[j])):
                grown.add((i + 1, j + 1))
        if grown == reach:
            break
        reach = grown
    return (len(left), len(right)) in reach


def _tokens(pattern: str) -> list[str]:
    found: list[str] = []
    at = 0
    while at < len(pattern) and len(found) < 256:
        char = pattern[at]
        if char == "[":
            end = pattern.find("]", at + 2)
            if "[" in pattern[at + 1 : end + 1]:
                found.append("*")  # `[[:alpha:]]`: where it ends depends on what is in it
                break
            if end > 0:
                found.append("?")
                at = end + 1
                continue
        found.append(char)
        at += 1
    return found
