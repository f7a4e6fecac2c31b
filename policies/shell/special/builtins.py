"""Built-in commands of the shell that change what comes after them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onrecord.policies.shell.options import Program, parse_options
from onrecord.policies.shell.variables import judge_variable
from onrecord.policies.shell.words import Word
from onrecord.policies.sql.wordlists import words as word_list

if TYPE_CHECKING:
    from onrecord.policies.shell.walker import Walker

_UNARY = word_list("-b -c -d -e -f -g -h -k -L -n -O -G -N -p -r -s -S -t -u -w -x -z")
_BINARY = word_list("= == != -eq -ne -lt -le -gt -ge -nt -ot -ef")
_NUMERIC = word_list("-eq -ne -lt -le -gt -ge")
_NUMBER = re.compile(r"[+-]?\d*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?", re.DOTALL)


def cd(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    rest = [word for word in words[1:] if not (word.static and word.text in {"--", "-L", "-P"})]
    if len(rest) > 1 or any(word.text.startswith("-") for word in rest):
        walker.found.unknown("cd with words that are not known")
        return
    walker.found.goes(rest[0] if rest else None)


def test(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """test and [: bash evaluates subscripts in `-v` and in numbers, which may run code."""
    found = walker.found
    rest = words[1:]
    if words[0].text == "[":
        if not rest or rest[-1].text != "]" or not rest[-1].static:
            found.unknown("[ without ]")
            return
        rest = rest[:-1]
    if any(word.many or word.glob for word in rest):
        found.unknown("test of words that may become several")
        return
    if rest and rest[0].static and rest[0].text == "!":
        rest = rest[1:]
    if len(rest) <= 1:
        return
    if len(rest) == 2 and rest[0].static and rest[0].text in _UNARY:
        if rest[0].text not in {"-n", "-z", "-t"}:
            found.reads(rest[1])
        if rest[0].text == "-t" and not (rest[1].static and rest[1].text.isdecimal()):
            found.unknown("test -t of what some shells evaluate")
        return
    if len(rest) == 3 and rest[1].static and rest[1].text in _BINARY:
        if rest[1].text in _NUMERIC and not all(
            word.static and re.fullmatch(r"[ \t]*[+-]?\d+[ \t]*", word.text) for word in (rest[0], rest[2])
        ):
            # Only [[ evaluates these in bash; ksh and old shells do so in [ too.
            found.unknown("a comparison of numbers that are known only when it runs")
        return
    found.unknown("a test that is not plain")


def export(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """export, read and others whose words name variables."""
    parsed = parse_options(row.options, words[1:])
    name = words[0].text
    for problem in parsed.problems:
        walker.found.unknown(f"{name}: {problem}")
    for word in parsed.operands:
        given = _ASSIGNMENT.fullmatch(word.text)
        if given is None or (not word.static and "=" not in word.text):
            walker.found.unknown(f"{name}: {word.text} is no name")
        else:
            judge_variable(walker.found, given.group(1), given.group(2) or "")


def echo(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """printf: `-v` sets a variable, and in bash its subscript may run code."""
    if len(words) > 1 and (words[1].many or not words[1].lead or words[1].text.startswith("-")):
        if words[1].text != "--" or not words[1].static:
            walker.found.unknown("printf with an option, or with what could become one")
    elif not _prints_text(words[1:2]) and not all(word.static and _NUMBER.fullmatch(word.text) for word in words[2:]):
        walker.found.unknown("printf of numbers that some shells evaluate")
    elif any("%q" in word.text or "%(" in word.text or "%n" in word.text for word in words[1:2]):
        walker.found.unknown("printf with a directive that not all shells have")


def _prints_text(format: list[Word]) -> bool:
    """Whether a format of printf has no directive that takes a number."""
    return all(word.static and not re.sub(r"%(?:%|-?\d*(?:\.\d+)?[sbc])", "", word.text).count("%") for word in format)


def number(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """exit, shift and the like: what is no number, some shells evaluate, and that may run code."""
    parsed = walker.plain(Program(names=row.names, options=row.options, operands="data*"), words)
    for word in parsed.operands:
        plain = word.static and re.fullmatch(r"%?[A-Za-z0-9]*|[ugoa]*[-+=][rwx]*(?:,[ugoa]*[-+=][rwx]*)*", word.text)
        if not plain:
            walker.found.unknown(f"{words[0].text} of what some shells evaluate")


def settings(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """set: plain options of POSIX that stop a script early or print it."""
    for word in words[1:]:
        if not word.static or not re.fullmatch(r"[-+](?:[eufvCbn]+|o)|errexit|nounset|noglob|pipefail", word.text):
            walker.found.unknown("set with words that are not known")


SPECIALS = {"number": number, "cd": cd, "test": test, "names": export, "printf": echo, "set": settings}
