"""Rows about programs, and their words read as getopt_long reads them.

`options` of a row is a list of tokens: `-abc` three flags, `-n:` an option with a value, `--color?` one with a value
only after `=` (or attached), `-o:write` a value with a role, `-f=write` a flag with an effect. An option that is not
listed makes the command unknown, and so does an abbreviated one: what it stands for depends on options that are not
listed.

`operands` is a list of roles: `data read*` is one word of data and then files that are read; `read* write` writes the
last. Roles: `data`, `read`, `write`, `delete`, `below` (all below it is written), `code` (shell code, read in turn),
`dial` (a host), `unknown`.
"""

from __future__ import annotations

import functools

import msgspec

from onrecord.policies.model import Action
from onrecord.policies.shell.words import Word


class Program(msgspec.Struct, frozen=True):
    """What is known of a program. `names`: apart by blanks. `action`: the least that running it is.

    `calm`: no option, whatever it is, makes it do more than read, so that a pattern or a variable may stand where an
    option could. `inert`: neither options nor operands matter at all. `special`: the name of the function that reads
    its words.
    """

    names: str
    options: str = ""
    operands: str = ""
    action: Action = "read"
    why: str = ""
    calm: bool = False
    inert: bool = False
    special: str = ""


class Option(msgspec.Struct, frozen=True):
    role: str = ""  # "" takes no value
    optional: bool = False
    effect: str = ""


class Parsed(msgspec.Struct):
    """`options` in order, with their names as listed and their values; `problems` make the command unknown."""

    options: list[tuple[str, Option, Word | None]] = msgspec.field(default_factory=list)
    operands: list[Word] = msgspec.field(default_factory=list)
    problems: list[str] = msgspec.field(default_factory=list)

    def has(self, *names: str) -> bool:
        return any(name in names for name, _, _ in self.options)

    def values(self, *names: str) -> list[Word]:
        return [value for name, _, value in self.options if name in names and value is not None]


@functools.cache
def option_table(spec: str) -> dict[str, Option]:
    found: dict[str, Option] = {}
    for token in spec.split():
        name, role, optional = token, "", False
        name, _, effect = name.partition("=")
        for mark in (":", "?"):
            if mark in name:
                name, _, role = name.partition(mark)
                role, optional = role or "data", mark == "?"
                break
        option = Option(role, optional, effect)
        if name.startswith("--") or len(name) == 2 or role:
            found[name] = option
        else:
            for letter in name[1:]:
                found["-" + letter] = option
    return found


def part(word: Word, start: int) -> Word:
    """`word` from `start` on, as the value of an option that it is attached to."""
    return Word(text=word.text[start:], static=word.static, many=word.many, glob=word.glob, pipe=word.pipe)


def parse_options(  # noqa: C901 - getopt_long is one loop
    spec: str, words: list[Word], *, calm: bool = False, stop: bool = False, single: bool = False
) -> Parsed:
    """`words` after the program's name. `stop`: options end at the first operand; `single`: `-name` is one option."""
    table = option_table(spec)
    parsed = Parsed()
    at, size = 0, len(words)
    while at < size:
        word = words[at]
        at += 1
        text = word.text
        if (word.many or not word.lead) and not calm:
            parsed.problems.append(f"{text} could become an option")
        if text == "--" and word.static:
            parsed.operands += words[at:]
            break
        if not text.startswith("-") or text == "-" or not word.lead or word.home:
            parsed.operands.append(word)
            if stop:
                parsed.operands += words[at:]
                break
            continue
        if not word.static and not calm and "=" not in text:
            parsed.problems.append(f"an option that is known only when it runs: {text}")
        if text.startswith("--") or (single and len(text) > 1):
            name, equals, _ = text.partition("=")
            option = table.get(name)
            if option is None:
                parsed.problems.append(f"option {name} is not in the table")
                continue
            value = part(word, len(name) + 1) if equals else None
            if equals and not option.role:
                parsed.problems.append(f"option {name} takes no value")
            if option.role and not option.optional and value is None:
                if at >= size:
                    parsed.problems.append(f"option {name} lacks its value")
                    continue
                value, at = words[at], at + 1
            if value is not None and (value.many or value.glob) and not calm:
                parsed.problems.append(f"{value.text} could become several words")
            parsed.options.append((name, option, value))
            continue
        place = 1
        while place < len(text):
            name = "-" + text[place]
            place += 1
            option = table.get(name)
            if option is None:
                parsed.problems.append(f"option {name} is not in the table")
                break
            value = None
            if option.role:
                if place < len(text):
                    value, place = part(word, place), len(text)
                elif not option.optional:
                    if at >= size:
                        parsed.problems.append(f"option {name} lacks its value")
                        continue
                    value, at = words[at], at + 1
                if value is not None and (value.many or value.glob) and not calm:
                    parsed.problems.append(f"{value.text} could become several words")
            parsed.options.append((name, option, value))
    return parsed


def operand_roles(spec: str, count: int) -> list[str] | None:
    """The role of each of `count` operands; None where there are more than the row knows."""
    roles = spec.split()
    star = next((index for index, role in enumerate(roles) if role.endswith("*")), None)
    if star is None:
        return roles[:count] if count <= len(roles) else None
    before, after = roles[:star], roles[star + 1 :]
    if count < len(before) + len(after):
        return (before + after)[len(before) + len(after) - count :] if after else before[:count]
    middle = count - len(before) - len(after)
    return before + [roles[star][:-1]] * middle + after
