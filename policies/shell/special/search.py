"""awk and sed: scripts that may write and run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onrecord.policies.shell.options import parse_options
from onrecord.policies.shell.words import Word

if TYPE_CHECKING:
    from onrecord.policies.shell.options import Program
    from onrecord.policies.shell.walker import Walker

_SED_ADDRESS = r"(?:\d+(?:~\d+)?|\$|/(?:[^/\\\n]|\\[^\n])*/I?)"
_SED_RANGE = re.compile(rf"\s*(?:{_SED_ADDRESS}(?:,[+~]?{_SED_ADDRESS})?)?\s*!?\s*")
_SED_PLAIN = re.compile(r"(?:[pdD=nNhHgGxPl]|[qQ]\d*)\s*(?=[;}\n]|$)")
_SED_END = re.compile(r"\s*(?:[;\n]\s*)*")


def sed_is_plain(script: str) -> bool:
    """Whether a sed script only edits what passes: no files (r, R, w, W), no commands (e, s///e), no labels, no text."""
    at, opened = 0, 0
    while at < len(script):
        at = _SED_END.match(script, at).end()  # type: ignore[union-attr]
        if at >= len(script):
            break
        if script[at] == "}":
            at, opened = at + 1, opened - 1
            if opened < 0:
                return False
            continue
        begin, at = at, _SED_RANGE.match(script, at).end()  # type: ignore[union-attr]
        if at >= len(script) or _opens_bracket(script[begin:at]):
            return False
        if script[at] == "{":
            at, opened = at + 1, opened + 1
            continue
        if script[at] in "sy":
            substitution = _substitution(script, at)
            if substitution is None:
                return False
            at = substitution
            continue
        plain = _SED_PLAIN.match(script, at)
        if plain is None:
            return False
        at = plain.end()
    return opened == 0


def _opens_bracket(pattern: str) -> bool:
    """Whether a bracket in it does not close: to some seds its delimiter would then be one of the bracket's characters,
    and what they read as the rest of the script is another (busybox and BSD; GNU sed does not look at brackets)."""
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 2
        elif pattern[at] == "[":
            at += 2 if pattern.startswith("^", at + 1) else 1
            at = pattern.find("]", at + 1) + 1
            if not at:
                return True
        else:
            at += 1
    return False


def _substitution(script: str, at: int) -> int | None:
    letter = script[at]
    mark = script[at + 1 : at + 2]
    if not mark or mark.isalnum() or mark in "\\\n ;":
        return None
    place, parts = at + 2, 1
    while place < len(script) and parts < 3:
        if script[place] == "\\":
            place += 1
        elif script[place] == "\n":
            return None
        elif script[place] == mark:
            parts += 1
            if parts == 2 and _opens_bracket(script[at + 2 : place]):
                return None
        place += 1
    if parts < 3:
        return None
    flags = re.compile(r"[gpiIm0-9]*\s*(?=[;}\n]|$)" if letter == "s" else r"\s*(?=[;}\n]|$)").match(script, place)
    return flags.end() if flags else None


def sed(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    found = walker.found
    parsed = parse_options(row.options, words[1:])
    for problem in parsed.problems:
        found.unknown(f"sed: {problem}")
    scripts = parsed.values("-e", "--expression")
    operands = parsed.operands
    for word in parsed.values("-f", "--file"):
        found.reads(word)
        found.unknown("sed with a script from a file")
    if not parsed.has("-e", "--expression", "-f", "--file"):
        scripts, operands = operands[:1], operands[1:]
    for script in scripts:
        if not script.static or script.glob or not sed_is_plain(script.text):
            found.unknown("a sed script that is not plain, or may read, write or run")
    in_place = parsed.has("-i", "--in-place")
    for suffix in parsed.values("-i", "--in-place"):
        if not suffix.static or "/" in suffix.text or "*" in suffix.text:
            found.unknown("sed -i with a suffix that names a file")
        for word in operands:
            found.writes(Word(text=word.text + suffix.text, static=word.static, home=word.home))
    for word in operands:
        found.reads(word)
        if in_place:
            found.writes(word)


_AWK_BAD = re.compile(r"system|getline|ARGV|ARGC|@|>|\||/inet|close|fflush|extension|srand\s*\(\s*\)\s*\(|\bload\b")


def awk(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    found = walker.found
    parsed = parse_options(row.options, words[1:], stop=True)
    for problem in parsed.problems:
        found.unknown(f"awk: {problem}")
    for word in parsed.values("-v", "--assign"):
        if not word.static or not re.match(r"[a-z_][A-Za-z0-9_]*=", word.text):
            found.unknown(f"awk sets {word.text}")
    if parsed.has("-f", "--file"):
        found.unknown("awk with a program from a file")
        for word in (*parsed.values("-f", "--file"), *parsed.operands):
            found.reads(word)
        return
    if not parsed.operands:
        return
    program, *files = parsed.operands
    if not program.static or program.glob or _AWK_BAD.search(program.text.replace("||", "")):
        found.unknown("an awk program that is not plain, or may read, write or run")
    for word in files:
        if re.match(r"[A-Za-z_][A-Za-z0-9_]*=", word.text):
            if not word.text.startswith(("OFS=", "FS=")) and not re.match(r"[a-z]", word.text):
                found.unknown(f"awk sets {word.text}")
            continue
        found.reads(word)


SPECIALS = {"sed": sed, "awk": awk}
