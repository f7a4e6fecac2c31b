"""Programs of which a few words only read: services, containers, packages, addresses, signals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onrecord.policies.shell.options import parse_options
from onrecord.policies.shell.words import Word
from onrecord.policies.sql.wordlists import words as word_list

if TYPE_CHECKING:
    from onrecord.policies.shell.options import Program
    from onrecord.policies.shell.walker import Walker

_PLAIN = re.compile(r"[\w@.:/=,+~-]+")
# program → first words that only read.
_READS: dict[str, frozenset[str]] = {
    "systemctl": word_list("status is-active is-enabled is-failed show list-units list-unit-files list-timers"),
    "docker": word_list("ps images version info"),
    "podman": word_list("ps images version info"),
    "kubectl": frozenset(["version"]),
    "apt-cache": word_list("policy show search"),
    "npm": frozenset(["--version", "-v"]),
    "ip": word_list("a addr address link route r neigh -br"),
}
_LISTS = word_list("show list ls get")
# program → options without a value that may stand before and behind those words. What takes a value would hide a word:
# `kubectl -l version delete pods` deletes, and `kubectl -s HOST version` sends the credentials to HOST.
_QUIET: dict[str, frozenset[str]] = {
    "systemctl": word_list("--no-pager --all -a -q --quiet -l --full --plain --no-legend --failed"),
    "docker": frozenset(),
    "podman": frozenset(),
    "ip": word_list("-br -4 -6 -s -o"),
}
# The same, but only behind those words.
_AFTER: dict[str, frozenset[str]] = {
    "docker": word_list("--all -a -q --quiet -s --no-trunc"),
    "podman": word_list("--all -a -q --quiet -s --no-trunc"),
    "kubectl": frozenset(["--client"]),
}


def _plain(words: list[Word]) -> bool:
    return all(word.static and not word.glob and not word.home and _PLAIN.fullmatch(word.text) for word in words)


def administer(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """Admin, but for the listed words with plain operands."""
    name = words[0].text.rpartition("/")[2]
    rest = words[1:]
    known = _READS.get(name, frozenset())
    quiet = _QUIET.get(name, frozenset())
    while rest and rest[0].static and rest[0].text in quiet and rest[0].text not in known:
        rest = rest[1:]
    if len(rest) == 1 and rest[0].static and rest[0].text == "--version":
        return
    if rest and rest[0].static and rest[0].text in known and _plain(rest):
        after = rest[1:]
        options = [word.text for word in after if word.text.startswith("-")]
        operands = [word.text for word in after if not word.text.startswith("-")]
        if walker.found.terminal and name == "systemctl" and not any(word.text == "--no-pager" for word in words):
            walker.found.unknown("systemctl opens a pager, which runs commands: add --no-pager")
        shown = name != "ip" or not operands or (operands[0] in _LISTS and len(operands) <= 3)
        shown = shown and (name != "kubectl" or not operands)
        if shown and all(option in quiet | _AFTER.get(name, frozenset()) for option in options):
            return
    walker.found.judge("admin", f"{name} {rest[0].text[:60] if rest else ''}".strip())
    if not _plain(rest):
        walker.found.unknown(f"{name} with words that are not plain")
    for index, word in enumerate(rest):
        if word.text in {"exec", "run", "--", "-c"} and index + 1 < len(rest) and name != "npm":
            for inner in rest[index + 1 :]:
                if inner.static and not inner.text.startswith("-"):
                    walker.found.programs.add(inner.text)
                if inner.static and " " in inner.text:
                    walker.code(inner.text, f"in {name}")


def opaque(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """What its row says of it is all that matters; words that are not plain may hide more."""
    if not all(word.static and not word.many for word in words):
        walker.found.unknown(f"{words[0].text} with words that are known only when it runs")
    walker.guess(words[1:])


def date(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """date: an operand is a format after `+`, else the time to set."""
    parsed = walker.plain(row, words)
    for word in parsed.operands:
        if not word.text.startswith("+") or word.many:
            walker.found.judge("admin", "date sets the clock")


def package(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """Listing what is installed reads; all else may run what it installs."""
    name = words[0].text.rpartition("/")[2]
    texts = [word.text for word in words[1:]]
    asked = texts[1:] if all(not text.startswith("-") for text in texts[1:]) else None
    if name == "apt" and texts == ["list", "--installed"]:
        asked = []
    reads = asked is not None and (
        (name == "dpkg" and len(texts) <= 2 and texts[:1] in (["-l"], ["-L"], ["-s"], ["-S"]))
        or (name == "rpm" and len(texts) <= 2 and texts[:1] in (["-q"], ["-qa"], ["-qi"], ["-ql"], ["-qf"]))
        or (name in {"pip", "pip3"} and texts in (["list"], ["freeze"], ["--version"]))
        or (name == "apt-cache" and len(texts) == 2 and texts[0] in {"policy", "show", "search"})
        or (name == "apt" and len(texts) <= 2 and texts[:1] == ["list"])
        or (name == "snap" and texts == ["list"])
    )
    if reads and _plain(words):
        if walker.found.terminal and name in {"dpkg", "apt", "apt-cache"}:
            walker.found.unknown(f"{name} opens a pager on a terminal, which runs commands: run it without one")
        return
    walker.found.judge("admin", f"{name} installs, removes or runs packages")
    if not _plain(words):
        walker.found.unknown(f"{name} with words that are not plain")


def signal(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """kill: ends processes; the gateway's record of a session may be among them, so 1 and -1 are admin."""
    texts = [word.text for word in words[1:]]
    if any(text in {"1", "-1", "0"} for text in texts[1:] or texts):
        walker.found.judge("admin", "kill of all processes or of the first")
    if not _plain([word for word in words if not re.fullmatch(r"-\w+", word.text)]):
        walker.found.unknown(f"{words[0].text}: processes that are known only when it runs")


def processes(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """ps: in the BSD form, `e` shows the environment of processes, which holds secrets."""
    for word in words[1:]:
        if not word.static:
            walker.found.unknown(f"ps: {word.text} is known only when it runs")
        elif re.fullmatch(r"[A-Za-z]+", word.text) and "e" in word.text and word.text not in _COLUMNS:
            walker.found.read.add("/proc/*/environ")
            walker.found.unknown("ps e shows the environment of processes")


_COLUMNS = word_list("command comm time etime user pid ppid tree size vsize rss args state tname cmd ruser euser")


def monitor(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """top -b prints; without it keys act on processes."""
    parsed = parse_options("-bcHiSs1 -n: -d: -p: -u: -o: -w?", words[1:])
    for problem in parsed.problems:
        walker.found.unknown(f"{words[0].text}: {problem}")
    if words[0].text.rpartition("/")[2] != "top" or not parsed.has("-b"):
        walker.found.unknown(f"{words[0].text} takes commands from keys")


def journal(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """journalctl: on a terminal it opens a pager, which runs commands from keys."""
    parsed = parse_options(row.options, words[1:])
    for problem in parsed.problems:
        walker.found.unknown(f"journalctl: {problem}")
    if not parsed.has("--no-pager"):
        walker.found.unknown("journalctl opens a pager, which runs commands: add --no-pager")
    for word in parsed.operands:
        if not word.static:
            walker.found.unknown(f"journalctl: {word.text} is known only when it runs")


def getent(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """getent: a database of names, most of them files in /etc."""
    parsed = walker.plain(row, words)
    for word in parsed.operands[:1]:
        walker.found.reads(Word(text=f"/etc/{word.text}", static=word.static))
        if len(parsed.operands) > 1 and word.text.startswith(("hosts", "ahosts")):
            walker.found.judge("write", "getent asks other hosts for a name")


def jq(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """jq: a filter that brings in modules runs code from files."""
    left: list[Word] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not (word.static and word.text in {"--arg", "--argjson"}):
            left.append(word)
            continue
        pair, rest = rest[:2], rest[2:]  # a name and a value
        if len(pair) < 2 or any(value.many or value.glob for value in pair):
            walker.found.unknown(f"jq: what belongs to {word.text} is not clear")
    parsed = walker.plain(row, left)
    for word in parsed.operands[:1]:
        if not word.static or re.search(r"\b(?:import|include|modulemeta)\b", word.text):
            walker.found.unknown("a jq filter that is known only when it runs, or brings in modules")


def grep(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """The first operand is the pattern, unless an option gives one; `-r` without files reads the folder."""
    found = walker.found
    parsed = parse_options(row.options, words[1:], calm=row.calm)
    for problem in parsed.problems:
        found.unknown(f"grep: {problem}")
    for _, known, value in parsed.options:
        if value is not None:
            walker.role(known.role, value, "grep")
    given = parsed.has("-e", "-f", "--regexp", "--file")
    files = parsed.operands if given else parsed.operands[1:]
    if not given and parsed.operands and parsed.operands[0].many:
        found.unknown("grep: a pattern that may become several words")
    if parsed.problems and parsed.operands:
        files = parsed.operands
    recursive = parsed.has("-r", "-R", "--recursive", "--dereference-recursive")
    for word in files:
        found.reads(word)
        if recursive:
            found.reads(Word(text=word.text.rstrip("/") + "/*", static=word.static, home=word.home, glob=True))
    if recursive and not files:
        found.reads(Word(text="."))


def sort(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """Options of sort may stand after operands: `sort a -o b` writes b."""
    parsed = parse_options(row.options, words[1:])
    for problem in parsed.problems:
        walker.found.unknown(f"sort: {problem}")
    for _, known, value in parsed.options:
        if value is not None:
            walker.role(known.role, value, "sort")
    for word in parsed.operands:
        walker.found.reads(word)


SPECIALS = {
    "service": administer, "container": administer, "netadmin": administer, "package": package, "signal": signal,
    "ps": processes, "journal": journal, "opaque": opaque, "getent": getent, "jq": jq, "date": date, "monitor": monitor, "grep": grep, "sort": sort,
}  # fmt: skip
