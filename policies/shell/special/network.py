"""Programs that speak to other hosts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onrecord.policies.shell.options import parse_options
from onrecord.policies.shell.words import Word

if TYPE_CHECKING:
    from onrecord.policies.shell.options import Program
    from onrecord.policies.shell.walker import Walker

_REMOTE = re.compile(r"(?:[^/:@]+@)?(\[[^\]]+\]|[^/:]+):(.*)", re.DOTALL)


def fetch(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """curl, wget: requests to URLs. They send, so they are a write at least."""
    found = walker.found
    name = words[0].text
    found.judge("write", f"{name} speaks to another host")
    parsed = parse_options(row.options, words[1:])
    for problem in parsed.problems:
        found.unknown(f"{name}: {problem}")
    for option, known, value in parsed.options:
        if known.effect:
            found.judge(known.effect, f"{name} {option}")  # type: ignore[arg-type]
        if value is None:
            continue
        if known.role == "body":
            if value.text.startswith("@") and value.text != "@-":
                found.reads(Word(text=value.text[1:], static=value.static))
            elif not value.static:
                found.unknown(f"{name}: data that is known only when it runs")
        elif known.role == "url":
            _url(walker, value, name)
        else:
            walker.role(known.role, value, name)
    if name.endswith("wget") and not parsed.has("-O", "--output-document", "--spider"):
        found.writes(Word(text="."))
    for word in parsed.operands:
        _url(walker, word, name)


def _url(walker: Walker, word: Word, name: str) -> None:
    found = walker.found
    if not word.static or word.glob or any(mark in word.text for mark in "{}[]"):
        found.unknown(f"{name}: an address that is known only when it runs")
    scheme, separator, rest = word.text.partition("://")
    if separator and scheme.lower() == "file":
        found.reads(Word(text="/" + rest.partition("/")[2]))
        return
    if separator and scheme.lower() not in {"http", "https"}:
        found.unknown(f"{name}: the scheme {scheme}")
    walker.dial(word.text, 443 if scheme.lower() == "https" else 80)


def dial(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """nc, socat, telnet and the like: the host and port as far as the words tell; always unknown."""
    found = walker.found
    name = words[0].text
    found.unknown(f"{name} {row.why or 'carries anything to another host'}")
    plain = [word.text for word in words[1:] if not word.text.startswith("-")]
    for index, text in enumerate(plain):
        if index + 1 < len(plain) and plain[index + 1].isdigit():
            found.dials.add((text, min(int(plain[index + 1][:6]), 65535)))
        for kind, host, port in re.findall(
            r"(?i)(?:^|,)(tcp[46]?|openssl|udp[46]?|ssl)[\w-]*:([^:,]+):(\d{1,5})", text
        ):
            found.dials.add((host, int(port)))
            del kind
        for code in re.findall(r"(?i)(?:exec|system):['\"]?([^,'\"]+)", text):
            walker.code(code, f"in {name}")
    for at, word in enumerate(words[:-1]):
        if word.text in {"-e", "-c", "--exec", "--sh-exec"}:
            walker.code(words[at + 1].text, f"in {name} {word.text}")


def ssh(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """ssh host command: what runs there is no business of this host, and unknown."""
    found = walker.found
    name = words[0].text
    if len(words) == 2 and words[1].text == "-V" and words[1].static:
        return
    parsed = parse_options(row.options, words[1:], stop=True)
    for problem in parsed.problems:
        found.unknown(f"{name}: {problem}")
    found.unknown(f"{name} runs on another host")
    ports = [value.text for value in parsed.values("-p")]
    for word in parsed.operands[:1]:
        walker.dial(word.text, int(ports[0]) if ports and ports[0].isdigit() else 22)
    if len(parsed.operands) > 1:
        walker.code(" ".join(word.text for word in parsed.operands[1:]), f"in {name}")


def transfer(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """scp, rsync: sources, then a target; `host:path` is on another host. `scp -f` and `-t` are the far side's part."""
    found = walker.found
    name = words[0].text.rpartition("/")[2]
    parsed = parse_options(row.options, words[1:])
    for problem in parsed.problems:
        found.unknown(f"{name}: {problem}")
    far_side = name == "scp" and parsed.has("-f", "-t")
    if not (far_side and not parsed.has("-t")):
        found.judge("write")
    for option, known, value in parsed.options:
        if known.effect:
            found.judge(known.effect, f"{name} {option}")  # type: ignore[arg-type]
        if value is not None:
            walker.role(known.role, value, name)
    operands = parsed.operands
    if far_side:
        for word in operands:
            if parsed.has("-t"):
                found.writes(word, below=parsed.has("-r") or parsed.has("-d"))
            else:
                found.reads(word)
        return
    for index, word in enumerate(operands):
        last = index == len(operands) - 1 and len(operands) > 1
        remote = _REMOTE.fullmatch(word.text)
        if remote or "::" in word.text:
            found.unknown(f"{name} to or from another host")
            if remote:
                found.dials.add((remote.group(1).strip("[]"), 22))
        elif last:
            found.writes(word, below=True)
            if parsed.has("--delete"):
                found.deletes(word)
        else:
            found.reads(word)


SPECIALS = {"fetch": fetch, "dial": dial, "ssh": ssh, "transfer": transfer}
