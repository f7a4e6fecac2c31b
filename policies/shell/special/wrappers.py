"""Programs that run the rest of their words, or text, as a command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onrecord.policies.shell.options import parse_options
from onrecord.policies.shell.variables import judge_variable
from onrecord.policies.shell.words import Word

if TYPE_CHECKING:
    from onrecord.policies.shell.options import Program
    from onrecord.policies.shell.walker import Walker

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def wrap(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """Options, the operands that the row names, then a command."""
    parsed = parse_options(row.options, words[1:], stop=True)
    name = words[0].text
    for problem in parsed.problems:
        walker.found.unknown(f"{name}: {problem}")
    for option, known, value in parsed.options:
        if known.effect:
            walker.found.judge(known.effect, f"{name} {option}")  # type: ignore[arg-type]
        if value is not None:
            walker.role(known.role, value, name)
    if row.names == "nohup" and walker.found.terminal:
        walker.found.writes(Word(text="nohup.out"))
    roles = row.operands.split()
    operands = parsed.operands
    for role in roles:
        if operands:
            walker.role(role, operands[0], name)
            operands = operands[1:]
    if row.names.startswith(("env", "sudo")):
        while operands and _ASSIGNMENT.match(operands[0].text):
            variable, _, given = operands[0].text.partition("=")
            judge_variable(walker.found, variable, given)
            operands = operands[1:]
    if len(operands) > 1 and operands[0].text in {"-c", "--command"}:  # flock FILE -c CODE
        walker.role("code", operands[1], name)
    elif operands:
        walker.run(operands, stdin=stdin)
    elif parsed.problems:
        walker.found.unknown(f"{name}: what it runs is not clear")
    # What follows an option that is not known may be the program.
    if parsed.problems:
        for word in words[1:]:
            if word.static and re.fullmatch(r"[\w./+-]+", word.text) and not word.text.startswith("-"):
                walker.found.programs.add(word.text)
                walker.found.programs.add(word.text.rpartition("/")[2])


def split_string(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """env: `-S` splits its value into a command."""
    parsed = parse_options(row.options, words[1:], stop=True)
    for value in parsed.values("-S", "--split-string"):
        walker.found.unknown("env -S splits words by rules of its own")
        walker.role("code", value, "env -S")
    wrap(walker, row, words, stdin)


def shell(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """sh and its kin: `-c code`, a script, or code on standard input."""
    name = words[0].text
    parsed = parse_options(row.options, words[1:], stop=True)
    found = walker.found
    for problem in parsed.problems:
        found.unknown(f"{name}: {problem}")
    if parsed.has("--version", "--help"):
        return
    if name.rpartition("/")[2] not in {"sh", "bash", "dash", "ash"}:
        found.unknown(f"{name} reads code by rules of its own")
    if parsed.has("-O"):
        found.unknown(f"{name} -O changes how code is read")
    if parsed.has("-i", "-l", "--login", "-s"):
        found.unknown(f"{name} as an interactive or login shell")
    operands = parsed.operands
    if parsed.has("-c"):
        if not operands:
            found.unknown(f"{name} -c without code")
        for word in operands[:1]:
            walker.role("code", word, f"{name} -c")
    elif operands:
        found.unknown(f"{name} runs a script: {operands[0].text}")
        found.reads(operands[0])
    elif stdin is not None:
        walker.code(stdin, f"{name} from a here-document")
        if "$unknown" in stdin:
            found.unknown(f"{name} from a here-document with expansions")
    else:
        found.unknown(f"{name} runs what it reads")


def su(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """su, runuser: another user's shell, or `-c code`."""
    parsed = parse_options(row.options, words[1:])
    for problem in parsed.problems:
        walker.found.unknown(f"{words[0].text}: {problem}")
    codes = parsed.values("-c", "--command")
    for word in codes:
        walker.role("code", word, f"{words[0].text} -c")
    if not codes:
        walker.found.unknown(f"{words[0].text} opens a shell or runs a program")
        rest = [word for word in parsed.operands if word.text != "-"]
        for word in rest:
            walker.found.programs.add(word.text)


def evaluate(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """eval and trap: words that are code."""
    name = words[0].text
    operands = words[1:]
    if operands and operands[0].text == "--" and operands[0].static:
        operands = operands[1:]
    if name == "trap":
        if operands and operands[0].text.startswith("-"):
            walker.found.unknown("trap with an option")
            return
        operands = operands[:1]
    if all(word.static for word in operands):
        walker.code(" ".join(word.text for word in operands), f"in {name}", same_shell=True)
        walker.found.trapped = walker.found.trapped or name == "trap"
    else:
        walker.found.unknown(f"{name} of code that is known only when it runs")
        for word in operands:
            walker.found.programs.add(word.text)


def xargs(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """xargs, parallel: a command with words from standard input."""
    name = words[0].text
    walker.found.unknown(f"{name}: words from standard input")
    parsed = parse_options(row.options, words[1:], stop=True)
    for problem in parsed.problems:
        walker.found.unknown(f"{name}: {problem}")
    for _, known, value in parsed.options:
        if value is not None:
            walker.role(known.role, value, name)
    if parsed.operands:
        walker.run([*parsed.operands, Word(text="{}", static=False, many=True, lead=False)])
        if name.rpartition("/")[2] == "parallel":
            walker.role("code", parsed.operands[0], name)


SPECIALS = {
    "wrap": wrap,
    "env": split_string,
    "shell": shell,
    "su": su,
    "evaluate": evaluate,
    "xargs": xargs,
}
