"""Programs on files whose words have a form of their own: dd, tar, chmod, ln, cp and kin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onrecord.policies.shell.options import Parsed, parse_options, part
from onrecord.policies.shell.words import Word

if TYPE_CHECKING:
    from onrecord.policies.shell.options import Program
    from onrecord.policies.shell.walker import Walker


def _parse(walker: Walker, row: Program, words: list[Word]) -> Parsed:
    parsed = parse_options(row.options, words[1:])
    name = words[0].text
    for problem in parsed.problems:
        walker.found.unknown(f"{name}: {problem}")
    for option, known, value in parsed.options:
        if known.effect:
            walker.found.judge(known.effect, f"{name} {option}")  # type: ignore[arg-type]
        if value is not None and known.role != "target":
            walker.role(known.role, value, name)
    return parsed


def dd(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    for word in words[1:]:
        key, equals, _ = word.text.partition("=")
        if not equals or key not in {"if", "of", "bs", "ibs", "obs", "cbs", "count", "skip", "seek", "conv", "status",
                                     "iflag", "oflag"} or word.many or not word.lead:  # fmt: skip
            if word.text not in {"--version", "--help"}:
                walker.found.unknown(f"dd: {word.text} is not in the table")
        elif key == "if":
            walker.found.reads(part(word, 3))
        elif key == "of":
            walker.found.writes(part(word, 3))
        elif not word.static:
            walker.found.unknown(f"dd: {word.text} is known only when it runs")


def _base(word: Word) -> str:
    return word.text.rstrip("/").rpartition("/")[2]


def _inside(target: Word, source: Word) -> Word:
    """What a copy of `source` into the folder `target` writes."""
    text = f"{target.text}/{_base(source)}"
    if not (source.place and target.static):
        return Word(text=text, static=target.static and source.static, home=target.home)
    texts = tuple(f"{target.text}/{path.rstrip('/').rpartition('/')[2]}" for path in source.braces)
    return Word(text=text, static=False, home=target.home, braces=texts, place=source.place)


def copy(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """cp, mv, ln, install: sources, then a target that may be a folder."""
    found = walker.found
    name = words[0].text.rpartition("/")[2]
    parsed = _parse(walker, row, words)
    targets = parsed.values("-t", "--target-directory")
    operands = parsed.operands
    found.judge("write")
    if not targets and len(operands) > 1:
        targets, operands = operands[-1:], operands[:-1]
    elif not targets and name != "ln":
        return
    symbolic = name == "ln"
    for source in operands:
        if name == "mv":
            found.reads(source)
            found.deletes(source)
        elif symbolic:
            # What is written through the link is written to its target.
            found.reads(source)
            found.writes(source)
        else:
            found.reads(source)
    if parsed.has("--parents"):
        found.unknown(f"{name} --parents makes folders that are not judged")
    recursive = parsed.has("-r", "-R", "-a", "--recursive", "--archive") or name == "mv"
    for target in targets or [Word(text=".")]:
        found.writes(target)
        for source in operands:
            found.writes(_inside(target, source), below=recursive)


def mode(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """chmod: setuid, setgid and rights for all are rights granted."""
    found = walker.found
    # A mode may begin with `-`, as an option does.
    rest = [Word(text="./" + word.text) if re.fullmatch(r"-[rwxXstugo,+=-]+", word.text) and word.static and
            not re.fullmatch(r"-[Rcfv]+", word.text) else word for word in words]  # fmt: skip
    parsed = parse_options(row.options, rest[1:])
    for problem in parsed.problems:
        found.unknown(f"chmod: {problem}")
    given, *files = parsed.operands or [Word(text="")]
    if parsed.has("--reference"):
        files = parsed.operands
        found.judge("admin", "chmod gives the rights of another file")
    found.judge("write")
    text = given.text.removeprefix("./")
    if not given.static or not re.fullmatch(
        r"0*[0-7]{1,4}|(?:[ugoa]*[-+=][rwxXstugo]*)(?:,[ugoa]*[-+=][rwxXstugo]*)*", text
    ):
        found.unknown(f"chmod: the mode {text}")
    elif re.fullmatch(r"[0-7]+", text):
        number = int(text, 8)
        if number & 0o6000 or number & 0o002:
            found.judge("admin", f"chmod {text} gives rights to all or the rights of the owner to who runs it")
    elif "s" in text or re.search(r"(?:^|,)(?:[ug]*[oa][ugoa]*|)[+=][rwxXt]*w", text):
        found.judge("admin", f"chmod {text} gives rights to all or the rights of the owner to who runs it")
    for word in files:
        found.writes(word, below=parsed.has("-R", "--recursive"))


_OLD_TAR = re.compile(r"[A-Za-z]+")


def tar(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    found = walker.found
    rest = words[1:]
    if rest and rest[0].static and _OLD_TAR.fullmatch(rest[0].text):
        letters, rest = rest[0].text, rest[1:]
        rebuilt: list[Word] = []
        for letter in letters:
            rebuilt.append(Word(text="-" + letter))
            if letter in "fCXbgHIKLNTV":
                if not rest:
                    found.unknown(f"tar: {letter} lacks its value")
                    return
                rebuilt.append(rest[0])
                rest = rest[1:]
        rest = [*rebuilt, *rest]
    parsed = parse_options(row.options, rest)
    for problem in parsed.problems:
        found.unknown(f"tar: {problem}")
    archives = parsed.values("-f", "--file")
    folders = parsed.values("-C", "--directory")
    if any(":" in word.text for word in archives):
        found.unknown("tar with an archive on another host")
    for word in parsed.values("-T", "--files-from", "-X", "--exclude-from"):
        found.reads(word)
    if parsed.has("-T", "--files-from"):
        found.unknown("tar with names or options from a file")
    before = found.cwds
    listed = parsed.has("-t", "--list")
    extracts = parsed.has("-x", "--extract", "--get")
    creates = parsed.has("-c", "--create")
    if listed + extracts + creates != 1:
        found.unknown("tar: neither -t nor -x nor -c alone")
    for word in archives:
        if creates and word.text == "-":
            continue
        if creates:
            found.writes(word)
        else:
            found.reads(word)
    if creates and not archives:
        found.unknown("tar -c to the default device")
    if folders:
        places = [place for word in folders for place in found.paths(word)]
        if not all(word.static and not word.glob for word in folders):
            found.unknown("tar: a folder that is known only when it runs")
        found.cwds = tuple(dict.fromkeys(places))[:8] or before
    if extracts and not parsed.has("-O", "--to-stdout"):
        found.judge("write")
        found.writes(Word(text="."), below=True)
    if creates:
        for word in parsed.operands:
            found.reads(word)
    found.cwds = before


def unpack(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """unzip, cpio -i and the like: files below a folder."""
    found = walker.found
    parsed = _parse(walker, row, words)
    for word in parsed.operands[:1]:
        found.reads(word)
    if not parsed.has("-l", "-v", "-t", "-p", "-Z", "-z"):
        found.judge("write")
        for word in parsed.values("-d") or [Word(text=".")]:
            found.writes(word, below=True)


def compress(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """gzip and kin: the file is replaced, unless to standard output."""
    found = walker.found
    parsed = _parse(walker, row, words)
    quiet = parsed.has("-c", "--stdout", "--to-stdout", "-t", "--test", "-l", "--list", "--version", "--help")
    base = words[0].text.rpartition("/")[2]
    for word in parsed.operands:
        found.reads(word)
        if quiet:
            continue
        found.deletes(word)
        ends = [".gz", ".bz2", ".xz", ".zst", ".lzma"]
        if base in {"gunzip", "bunzip2", "unxz", "unzstd", "unlzma"} or parsed.has(
            "-d", "--decompress", "--uncompress"
        ):
            text = re.sub(r"\.(?:gz|bz2|xz|zst|lzma|tgz|txz|Z|z)$", "", word.text)
            found.writes(Word(text=text, static=word.static, home=word.home))
        else:
            for end in ends:
                found.writes(Word(text=word.text + end, static=word.static, home=word.home))


def split(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """Programs that write files with made-up names: split, csplit."""
    parsed = _parse(walker, row, words)
    for word in parsed.operands[:1]:
        walker.found.reads(word)
    prefix = parsed.operands[1] if len(parsed.operands) > 1 else Word(text="x")
    walker.found.writes(Word(text=prefix.text + "aa", static=prefix.static, home=prefix.home))


SPECIALS = {
    "dd": dd, "copy": copy, "chmod": mode, "tar": tar, "unpack": unpack, "compress": compress, "split": split,
}  # fmt: skip
