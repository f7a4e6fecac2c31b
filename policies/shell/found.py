"""What a command line was found to do; grown while the tree is walked."""

from __future__ import annotations

import posixpath
import re

from onrecord.policies.files import plants, plants_below
from onrecord.policies.model import Action
from onrecord.policies.shell.words import Word

RANK: dict[Action, int] = {"read": 0, "write": 1, "admin": 2, "unknown": 3}

_REASONS = 16
_TEXT = 200
_INNOCENT = frozenset({"/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/zero", "/dev/tty"})


class Found:
    """The sum of all commands of a line. `cwds`: where relative paths may start; "" is where the line starts."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.terminal = terminal
        self.argv: list[tuple[str, ...]] = []
        self.programs: set[str] = set()
        self.read: set[str] = set()
        self.written: set[str] = set()
        self.deleted: set[str] = set()
        self.dials: set[tuple[str, int]] = set()
        self.redirections: list[tuple[str, str]] = []
        self.actions: set[Action] = {"read"}
        self.reasons: list[str] = []
        self.cwds: tuple[str, ...] = ("",)
        self.trapped = False  # code waits for the end, wherever that is
        self.budget = 400  # simple commands, nested ones too

    def judge(self, action: Action, reason: str = "") -> None:
        self.actions.add(action)
        text = f"{action}: {reason}"[:_TEXT]
        if reason and action != "read" and text not in self.reasons and len(self.reasons) < _REASONS:
            self.reasons.append(text)

    def unknown(self, reason: str) -> None:
        self.judge("unknown", reason)

    # Paths

    def paths(self, word: Word) -> list[str]:
        """The paths that `word` may stand for, normalised by their text; relative ones to where the line starts."""
        texts = word.braces or (word.text,)
        found = []
        for text in texts:
            if text.startswith("~") and word.home:
                found.append(_normal(text))
                continue
            if text.startswith("/"):
                found.append(_normal(text))
                continue
            own = "./" + text if text.startswith("~") else text
            for cwd in self.cwds:
                joined = _normal(f"{cwd}/{own}" if cwd else own)
                found.append("./" + joined if joined.startswith("~") and not cwd.startswith("~") else joined)
        return found

    def _known(self, word: Word) -> None:
        if not word.static and not word.place:
            self.unknown(f"a path that is known only when it runs: {word.text}")

    def reads(self, word: Word) -> None:
        if word.pipe or word.text == "-":
            return
        self._known(word)
        self.read.update(path for path in self.paths(word) if path not in _INNOCENT)

    def writes(self, word: Word, *, below: bool = False) -> None:
        """`below`: files under the path are written too (`tar -C`, `cp -r`). `-` is a file of that name here."""
        if word.pipe:
            return
        self._known(word)
        for path in self.paths(word):
            if path in _INNOCENT:
                continue
            self.judge("write", f"writes {path}")
            self.written.add(path)
            why = plants(path) or (plants_below(path) if below else None)
            if why:
                self.judge("admin", f"writes {path}: {why}")

    def deletes(self, word: Word) -> None:
        if word.place:
            self._deletes_below(word)
        else:
            self.writes(word)
        if not word.pipe:
            self.deleted.update(self.paths(word))

    def _deletes_below(self, word: Word) -> None:
        """Files that find found: judged as those of `find -delete` are, and by names that are given in full."""
        for path in self.paths(word):
            self.judge("write", f"writes {path}")
            self.written.add(path)
            start, below, name = f"/{path}".partition("/**")
            start = start[1:] or ("." if path.startswith("**") else "/")
            why = plants_below(start) if below else plants(path)
            name = name.lstrip("/")
            if name and not re.search(r"[*?\[]", name):
                why = why or plants(path)
            if why:
                self.judge("admin", f"writes {path}: {why}")

    def goes(self, word: Word | None) -> None:
        """`cd`: the later relative paths start there, or where they did if it fails."""
        if word is None:
            places = ["~"]
        elif not word.static or word.glob or word.text == "-":
            self.unknown("changes to a folder that is known only when it runs")
            return
        else:
            places = self.paths(word)
        merged = tuple(dict.fromkeys((*self.cwds, *places)))
        if self.trapped:
            self.unknown("changes the folder in which a trap will run")
        if len(merged) > 8:
            self.unknown("changes the folder too often")
            return
        self.cwds = merged


def _normal(path: str) -> str:
    """`.` and double slashes gone, and `..` by the text: through a symbolic link it may lead elsewhere."""
    if path.startswith("~"):
        home, _, rest = path.partition("/")
        below = posixpath.normpath(rest) if rest else "."
        return home if below == "." else f"{home}/{below.lstrip('/')}"
    normal = posixpath.normpath(path) if path else "."
    return normal[1:] if normal.startswith("//") else normal
