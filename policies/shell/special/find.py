"""find: expressions that may write, delete and run, and which files they do it to."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from typing import TYPE_CHECKING

import msgspec

from onrecord.policies.shell.words import Word
from onrecord.policies.sql.wordlists import words as word_list

if TYPE_CHECKING:
    from onrecord.policies.shell.options import Program
    from onrecord.policies.shell.walker import Walker

_TESTS_0 = word_list(
    "-print -print0 -prune -depth -d -mount -xdev -daystart -follow -noleaf -empty -true -false -executable -readable "
    "-writable -nouser -nogroup -ls -quit -not -a -and -o -or ( ) ! , -ignore_readdir_race -warn -nowarn"
)
_TESTS_1 = word_list(
    "-name -iname -path -ipath -wholename -iwholename -regex -iregex -lname -ilname -type -xtype -size -mtime -atime "
    "-ctime -mmin -amin -cmin -user -group -uid -gid -perm -links -inum -maxdepth -mindepth -regextype -fstype -used "
    "-printf -context"
)
_FILES = word_list("-newer -anewer -cnewer -samefile")
_RUNS = word_list("-exec -execdir -ok -okdir")
# They choose folders, so that a name tells less of what is found.
_CHOOSES = word_list("-path -ipath -wholename -iwholename -regex -iregex")
_GRAMMAR = word_list("-a -and -o -or , ( ) ! -not")
# A name that narrows: no brackets and no backslashes, which can be written in many ways.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.*?+@%=~ ,-]+")
_PLAIN_START = re.compile(r"(?:\.{0,2}/|[A-Za-z0-9_.][A-Za-z0-9_. -]*(?:/|$)).*", re.DOTALL)
_STARTS = 8
# They read or change the file itself: of a folder nothing, not what is in it.
_FLAT = word_list(
    "cat head tail wc nl tac rev cut grep egrep fgrep md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cksum "
    "sum od hexdump hd strings zcat bzcat xzcat zstdcat stat readlink realpath basename dirname sort sed awk gawk mawk "
    "test [ rm unlink rmdir touch truncate echo printf true"
)
_RECURSES = re.compile(r"-[A-Za-z0-9]*[rRdD].*|--(?:r|de|di).*", re.DOTALL)


class _Names(msgspec.Struct):
    """What must hold for a file where the reading of an expression has come to: `-name` one of `chain`, or anything
    (None). One for the expression and one for each parenthesis.

    POSIX: `!` binds before `-a`, that before `-o`, that before `,`.
    """

    outer: _Held
    chain: _Held = None
    either: list[_Held] = msgspec.field(default_factory=list)
    negated: bool = False

    def now(self) -> _Held:
        return self.outer if self.chain is None else self.chain

    def part(self, held: _Held) -> None:
        if not self.negated and self.chain is None:
            self.chain = held
        self.negated = False

    def all(self) -> _Held:
        parts = [*self.either, self.chain]
        return None if None in parts else frozenset[str]().union(*(part for part in parts if part is not None))


_Held = frozenset[str] | None


class _Expression:
    """The names that what is run, at the place that was read, can have; and whether it is certainly no folder."""

    def __init__(self) -> None:
        self.names = [_Names(outer=None)]
        self.files = [_Names(outer=None)]
        self.sound = True

    def grammar(self, mark: str) -> None:
        for stack in (self.names, self.files):
            top = stack[-1]
            if mark == "(":
                stack.append(_Names(outer=top.now()))
            elif mark == ")":
                if len(stack) == 1:
                    self.sound = False
                    return
                stack.pop()
                stack[-1].part(top.all())
            elif mark in {"-o", "-or"}:
                top.either.append(top.chain)
                top.chain = None
            elif mark == ",":
                top.either, top.chain = [], None
            elif mark in {"!", "-not"}:
                top.negated = True

    def test(self, name: str = "", value: Word | None = None) -> None:
        known = value is not None and value.static and not value.glob and not value.many and not value.home
        text = value.text if value is not None and known else ""
        plain = name == "-name" and _PLAIN_NAME.fullmatch(text) is not None and text.strip("*") not in {"", ".", ".."}
        self.names[-1].part(frozenset({text}) if plain else None)
        self.files[-1].part(frozenset({"f"}) if name == "-type" and text == "f" else None)


def find(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    found = walker.found
    rest = words[1:]
    follows = False
    while rest and rest[0].static and rest[0].text in {"-H", "-L", "-P", "-O0", "-O1", "-O2", "-O3"}:
        follows = follows or rest[0].text == "-L"
        rest = rest[1:]
    starts: list[Word] = []
    while rest and not (rest[0].text.startswith("-") or rest[0].text in {"(", ")", "!", ","}):
        if not rest[0].lead or rest[0].many:
            found.unknown(f"find: {rest[0].text} could become an expression")
        starts.append(rest[0])
        found.reads(rest[0])
        rest = rest[1:]
    if not starts:
        starts = [Word(text=".")]
        found.reads(starts[0])
    texts = {word.text for word in rest}
    if (follows or "-follow" in texts) and (texts & _RUNS or "-delete" in texts):
        found.unknown(
            "find: through links it comes to folders that are known only when it runs: leave out -L and -follow"
        )
    expression = _Expression()
    at = 0
    while at < len(rest):
        word = rest[at]
        at += 1
        name = word.text
        if not word.static or word.many or word.glob:
            found.unknown(f"find: an expression that is known only when it runs: {name}")
        elif name in _GRAMMAR:
            expression.grammar(name)
        elif name in _TESTS_0:
            expression.test()
        elif name in _TESTS_1 or name in _FILES or re.fullmatch(r"-newer[aBcmt]{2}", name):
            if at >= len(rest):
                found.unknown(f"find: {name} lacks its value")
            elif rest[at].many or (rest[at].glob and name not in _FILES and not rest[at].static):
                found.unknown(f"find: {rest[at].text} may become several words")
            elif rest[at].glob:
                found.unknown(f"find: {name} with a pattern that the shell expands")
            elif name not in _TESTS_1 and not name.endswith("t"):
                found.reads(rest[at])
            expression.test(name, rest[at] if at < len(rest) else None)
            at += 1
        elif name == "-delete":
            expression.test()
            for start in starts:
                found.deletes(start)
                found.writes(start, below=True)
        elif name in {"-fprint", "-fprint0", "-fls", "-fprintf"}:
            expression.test()
            if at < len(rest):
                found.writes(rest[at])
            at += 2 if name == "-fprintf" else 1
        elif name in _RUNS:
            at = _execute(walker, rest, at, name, starts, None if texts & _CHOOSES else expression)
            expression.test()
        else:
            found.unknown(f"find: {name} is not in the table")
    if not expression.sound:
        found.unknown("find: a parenthesis that was not opened")


def _execute(
    walker: Walker, rest: list[Word], at: int, name: str, starts: list[Word], expression: _Expression | None
) -> int:
    """What `-exec` and kin at `rest[at - 1]` run; the place behind it. Without `expression` names say nothing."""
    found = walker.found
    command: list[Word] = []
    ended = ""
    while at < len(rest):
        word = rest[at]
        at += 1
        if word.text == ";" or (word.text == "+" and command and command[-1].text == "{}"):
            ended = word.text if word.static else ""
            break
        command.append(word)
    if not command:
        found.unknown(f"find {name} without a program")
        return at
    if name != "-exec":
        found.unknown(f"find {name} runs in a folder, or asks, that is known only when it runs")
    if not ended:
        found.unknown(f"find {name} without an end: a word ; or {{}} +")
    for word in command:
        if not word.static or word.many or word.glob:
            found.unknown(f"find {name}: {word.text} is known only when it runs, and may be the end of the command")
        elif word.text != "{}" and "{}" in word.text:
            found.unknown(f"find {name}: a path inside a word: {word.text}")
        elif word.text == "+":
            found.unknown(f"find {name}: a + that is the end to some finds")
    places = [index for index, word in enumerate(command) if word.text == "{}"]
    if ended == "+" and places != [len(command) - 1]:
        found.unknown(f"find {name}: more than one {{}}")
    place = _place(walker, starts, _held(command, expression))
    before = found.cwds
    # `{} +` is any number of words: one, two, or more stand in the places that a program has for them.
    for count in (1, 2, 3) if ended == "+" else (1,):
        shown = len(found.argv)
        run: list[Word] = []
        for word in command:
            if word.text == "{}":
                run += [place] * count
            else:
                run.append(Word(text=word.text, static=False) if "{}" in word.text else word)
        walker.run(run)
        if count > 1:
            del found.argv[shown:]
        found.cwds = before  # a program of the name of a built-in command changes nothing here
    return at


def _held(command: list[Word], expression: _Expression | None) -> _Held:
    """The names that the files have which the command gets; None where they may be any, or lie below such a name."""
    if expression is None:
        return None
    base = command[0].text
    flat = base in _FLAT and not any(_RECURSES.fullmatch(word.text) for word in command[1:])
    if not flat and expression.files[-1].now() is None:
        return None
    return expression.names[-1].now()


def _place(walker: Walker, starts: list[Word], names: _Held) -> Word:
    """The word that stands for `{}`: below each start folder a part that is not known, and a name where it is."""
    found = walker.found
    texts: list[str] = []
    if len(starts) > _STARTS or len(names or ()) > _STARTS:
        found.unknown("find: too many folders or names")
        starts, names = starts[:_STARTS], None
    for start in starts:
        if start.place or start.braces or not (start.home or _PLAIN_START.fullmatch(start.text)):
            found.unknown(
                f"find: what begins with {start.text} may be more than a path to what it runs: write ./ before it"
            )
        elif start.glob and not start.home and not start.text.startswith(("/", "./", "../")):
            found.unknown(f"find: {start.text} may be more than a path to what it runs: write ./ before it")
        text = start.text if start.home or not start.text.startswith("~") else "./" + start.text
        text = text if text.strip("/") else "/"
        base = posixpath.normpath(text).rpartition("/")[2]
        below = text.rstrip("/") + "/**"
        if names is None:
            texts += [text, below]
            continue
        unclear = base in {"", ".", ".."} or start.home or start.glob
        if unclear or any(fnmatch.fnmatchcase(base, name) for name in names):
            texts.append(text)
        texts += [f"{below}/{name}" for name in sorted(names)]
    return Word(
        text=texts[-1],
        static=False,
        home=any(start.home for start in starts),
        braces=tuple(texts),
        place="{}",
    )


SPECIALS = {"find": find}
