"""The words of a command line after quote removal, with what in them is not known before it runs.

A strict reader of POSIX quoting (Shell Command Language 2.2, 2.6). The tree of tree-sitter-bash says where a word
begins and ends; this module reads the same characters again by itself, and an operator or a blank that it finds inside
is an error: the two readings must agree. Where bash and dash read a word apart, a reason says so.
"""

from __future__ import annotations

import re

import msgspec

from onrecord.policies.shell.errors import ShellError

_OPERATORS = frozenset(";&|<>()\n")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL = frozenset("?#@*$!-0123456789")
_BRACES = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[?#@*$!-]")
_ARITHMETIC = re.compile(r"[0-9+\-*/%()<>=!&|^~?: \t]*")
_ASSIGNED_TILDE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=(?:.*:)?~")
_ANSI = {
    "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "?": "?",
}  # fmt: skip


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One word. `text`: what the program gets where `static`, else unknown parts as they are written.

    `many`: it may become no word or several. `glob`: it holds an unquoted pattern. `home`: it begins with the home
    directory, which `text` shows as `~`. `lead`: its first character is known. `pipe`: a process substitution.
    `bare`: nothing in it is quoted or expanded. `place`: how a word is written that another program puts paths in
    place of (`{}` of find): `text` and `braces` are then patterns of these, and only who reads them as paths knows
    them: to all others the word is not static.
    """

    text: str
    static: bool = True
    many: bool = False
    glob: bool = False
    home: bool = False
    lead: bool = True
    pipe: bool = False
    bare: bool = False
    braces: tuple[str, ...] = ()
    place: str = ""


class Read(msgspec.Struct):
    """What was read: the words, the code of substitutions inside, and why it is not fully known."""

    words: list[Word] = msgspec.field(default_factory=list)
    codes: list[str] = msgspec.field(default_factory=list)
    reasons: list[str] = msgspec.field(default_factory=list)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.read = Read()
        self._start_word()

    def _start_word(self) -> None:
        self.out: list[str] = []
        self.masks: list[str] = []  # one letter a character of `out`: q quoted, p plain, d not known
        self.static = True
        self.many = self.glob = self.home = self.pipe = False

    def _put(self, text: str, mask: str) -> None:
        self.out.append(text)
        self.masks.append(mask * len(text))

    def _unknown(self, start: int, *, many: bool) -> None:
        self.static = False
        self.many = self.many or many
        self._put(self.text[start : self.at], "d")

    def _why(self, reason: str) -> None:
        if reason not in self.read.reasons:
            self.read.reasons.append(reason)

    # Words

    def words(self) -> Read:
        text, size = self.text, len(self.text)
        while True:
            while self.at < size and (text[self.at] in " \t" or text.startswith("\\\n", self.at)):
                self.at += 1 if text[self.at] in " \t" else 2
            if self.at >= size:
                return self.read
            if text[self.at] == "#":
                raise ShellError("a comment where a word is due")
            self._start_word()
            begin = self.at
            self._word()
            self._finish(begin)

    def _finish(self, begin: int) -> None:
        text, masks = "".join(self.out), "".join(self.masks)
        raw = self.text[begin : self.at]
        if raw == "[":
            self.glob = False
        if _ASSIGNED_TILDE.match(text) and masks[text.index("~")] == "p":
            self._why("a ~ after = is read differently by shells")
        braces: tuple[str, ...] = ()
        if "{" in text and _has_braces(text, masks):
            self._why("brace expansion is read differently by shells")
            braces = expand_braces(text)
        self.read.words.append(
            Word(
                text=text,
                static=self.static,
                many=self.many or bool(braces),
                glob=self.glob,
                home=self.home,
                lead=bool(masks) and masks[0] != "d" and not (self.glob and masks[0] == "p" and text[0] in "*?["),
                pipe=self.pipe,
                bare=raw == text and self.static and not self.glob and not self.home,
                braces=braces,
            )
        )

    def _word(self) -> None:
        text, size = self.text, len(self.text)
        if text[self.at] == "~":
            self._tilde()
        elif text.startswith(("<(", ">("), self.at):
            start = self.at
            self.at += 1
            self._parentheses()
            self.pipe = True
            self._unknown(start, many=False)
        while self.at < size:
            char = text[self.at]
            if char in " \t":
                return
            if char in _OPERATORS:
                raise ShellError(f"an unquoted {char!r} inside a word")
            if char == "\\":
                self._backslash()
            elif char == "'":
                end = text.find("'", self.at + 1)
                if end < 0:
                    raise ShellError("a quote that does not end")
                self._put(text[self.at + 1 : end], "q")
                self.at = end + 1
            elif char == '"':
                self.at += 1
                self._double('"')
            elif char == "$":
                self._dollar(quoted=False)
            elif char == "`":
                self._backquote(quoted=False)
            else:
                if char in "*?" or (char == "[" and "]" in text[self.at :]):
                    self.glob = True
                self._put(char, "p")
                self.at += 1

    def _backslash(self) -> None:
        if self.at + 1 >= len(self.text):
            raise ShellError("a backslash at the end")
        if self.text[self.at + 1] != "\n":
            self._put(self.text[self.at + 1], "q")
        self.at += 2

    def _tilde(self) -> None:
        found = re.compile(r"~([A-Za-z_][A-Za-z0-9_.-]*)?(?=[/ \t]|$)").match(self.text, self.at)
        if found is None:
            after = self.text[self.at + 1 : self.at + 2]
            if after and after not in "/ \t":
                self._why("a ~ with something that is no name")
                self.static = False
            return
        self.home = True
        self._put(found.group(), "p")
        self.at = found.end()

    def _double(self, until: str) -> None:
        """Inside double quotes, a here-document or the word of `${x:-word}`, to `until` (or the end if empty)."""
        text, size = self.text, len(self.text)
        while self.at < size:
            char = text[self.at]
            if until and char == until:
                self.at += 1
                return
            if char == "\\" and self.at + 1 < size and text[self.at + 1] in '$`"\\\n':
                following = text[self.at + 1]
                if following != "\n":
                    self._put(following, "q")
                self.at += 2
            elif char == "$":
                self._dollar(quoted=True)
            elif char == "`":
                self._backquote(quoted=True)
            elif char == '"' and until == "}":
                self._why("quotes inside ${…}")
                self.at += 1
            else:
                self._put(char, "q")
                self.at += 1
        if until:
            raise ShellError("a quote that does not end")

    def body(self) -> Read:
        """All of the text as the body of a here-document."""
        self._double("")
        return self.read

    # Expansions

    def _dollar(self, *, quoted: bool) -> None:
        text, start = self.text, self.at
        following = text[start + 1 : start + 2]
        if following == "'" and not quoted:
            self._ansi()
        elif following == '"' and not quoted:
            self._why('$"…" is read differently by shells')
            self.at += 2
            self._double('"')
        elif text.startswith("$((", start):
            self._arithmetic(quoted=quoted)
        elif following == "(":
            self.at += 1
            self._parentheses()
            self._unknown(start, many=not quoted)
        elif following == "{":
            self._braced(quoted=quoted)
        elif following == "[":
            raise ShellError("$[…] is read differently by shells")
        elif found := _NAME.match(text, start + 1):
            self.at = found.end()
            self._variable(found.group(), start, quoted=quoted)
        elif following and following in _SPECIAL:
            self.at += 2
            self._unknown(start, many=not quoted or following == "@")
        else:
            self._put("$", "q")
            self.at += 1

    def _variable(self, name: str, start: int, *, quoted: bool) -> None:
        if name == "HOME" and not self.out and self.text[self.at : self.at + 1] in ("", "/", '"', " ", "\t"):
            self.home = True
            self._put("~", "p")
            return
        self._unknown(start, many=not quoted)

    def _braced(self, *, quoted: bool) -> None:
        start = self.at
        found = _BRACES.match(self.text, start + 2)
        if found and self.text[found.end() : found.end() + 1] == "}":
            self.at = found.end() + 1
            self._variable(found.group(), start, quoted=quoted and found.group() != "@")
            return
        self._why("an expansion ${…} that is more than a name")
        self.at = start + 2
        keep, masks = list(self.out), list(self.masks)
        self._double("}")
        self.out, self.masks = keep, masks
        self._unknown(start, many=not quoted)

    def _arithmetic(self, *, quoted: bool) -> None:
        start = self.at
        found = _ARITHMETIC.match(self.text, start + 3)
        end = self.text.find("))", start + 3)
        if found is None or end < 0:
            raise ShellError("arithmetic that does not end")
        inner = self.text[start + 3 : end]
        if not _ARITHMETIC.fullmatch(inner) or inner.count("(") != inner.count(")"):
            raise ShellError("arithmetic with names or substitutions may run code")
        self.at = end + 2
        self._unknown(start, many=not quoted)

    def _backquote(self, *, quoted: bool) -> None:
        start = self.at
        end = self.text.find("`", start + 1)
        if end < 0:
            raise ShellError("a backquote that does not end")
        code = self.text[start + 1 : end]
        if "\\" in code or (quoted and '"' in code):
            raise ShellError("quoting inside backquotes: write $(…)")
        self.read.codes.append(code)
        self.at = end + 1
        self._unknown(start, many=not quoted)

    def _parentheses(self) -> None:
        """The code of `(…)` at the place; `case`, here-documents and comments inside make its end unsure."""
        text, size = self.text, len(self.text)
        begin = self.at + 1
        depth, at = 0, self.at
        while at < size:
            char = text[at]
            if char == "\\":
                at += 1
            elif char == "'":
                at = text.find("'", at + 1)
                if at < 0:
                    break
            elif char == '"':
                at = self._skip_double(at + 1)
            elif char == "`":
                at = text.find("`", at + 1)
                if at < 0:
                    break
            elif char == "#" and text[at - 1] in " \t\n;&|(":
                raise ShellError("a comment inside a substitution")
            elif char == "(":
                depth += 1
            elif char == ")":
                depth -= 1
                if not depth:
                    code = text[begin:at]
                    if "<<" in code or re.search(r"\b(case|esac)\b", code):
                        raise ShellError("a here-document or case inside a substitution")
                    self.read.codes.append(code)
                    self.at = at + 1
                    return
            at += 1
        raise ShellError("a substitution that does not end")

    def _skip_double(self, at: int) -> int:
        """The place of the quote that ends the double quotes whose inside begins at `at`."""
        text, size = self.text, len(self.text)
        while at < size:
            char = text[at]
            if char == '"':
                return at
            if char == "\\":
                at += 1
            elif text.startswith("$(", at):
                inner = _Reader(text)
                inner.at = at + 1
                inner._parentheses()
                at = inner.at - 1
            elif text.startswith("${", at) and not re.compile(r"\$\{\w+\}").match(text, at):
                raise ShellError("an expansion ${…} in quotes inside a substitution")
            elif char == "`":
                at = text.find("`", at + 1)
                if at < 0:
                    break
            at += 1
        raise ShellError("a quote that does not end")

    def _ansi(self) -> None:
        self._why("quoting with $'…' is read differently by shells")
        text, size = self.text, len(self.text)
        at = self.at + 2
        while at < size and text[at] != "'":
            if text[at] != "\\":
                self._put(text[at], "q")
                at += 1
                continue
            found = re.compile(
                r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)|(.))", re.DOTALL
            ).match(text, at)
            if found is None:
                break
            hexadecimal = found.group(1) or found.group(2) or found.group(3)
            if hexadecimal or found.group(4):
                number = int(hexadecimal, 16) if hexadecimal else int(found.group(4), 8) & 0xFF
                if not 0 < number < 0x110000 or 0xD800 <= number < 0xE000:
                    raise ShellError("a character in $'…' that does not exist")
                self._put(chr(number), "q")
            elif found.group(5):
                self._put(chr(ord(found.group(5)) & 0x1F), "q")
            else:
                self._put(_ANSI.get(found.group(6), "\\" + found.group(6)), "q")
            at = found.end()
        if at >= size:
            raise ShellError("a quote that does not end")
        self.at = at + 1


def _has_braces(text: str, masks: str) -> bool:
    plain = "".join(char if mask == "p" else "q" for char, mask in zip(text, masks, strict=True))
    opened = plain.find("{")
    closed = plain.rfind("}")
    return 0 <= opened < closed and ("," in plain[opened:closed] or ".." in plain[opened:closed])


def expand_braces(text: str, limit: int = 64) -> tuple[str, ...]:
    """What bash makes of `{a,b}` and `{1..3}`, at most `limit` words; ranges of letters and steps stay as they are.

    >>> expand_braces("a{b,c}d")
    ('abd', 'acd')
    """
    found = re.search(r"\{([^{}]*)\}", text)
    if found is None:
        return (text,)
    inner = found.group(1)
    numbers = re.fullmatch(r"(\d{1,4})\.\.(\d{1,4})", inner)
    if "," in inner:
        parts = inner.split(",")
    elif numbers and abs(int(numbers[2]) - int(numbers[1])) < limit:
        low, high = sorted((int(numbers[1]), int(numbers[2])))
        parts = [str(number) for number in range(low, high + 1)]
    else:
        return (text,)
    results: list[str] = []
    for part in parts[:limit]:
        results += expand_braces(text[: found.start()] + part + text[found.end() :], limit)
        if len(results) >= limit:
            return (*results[:limit],)
    return tuple(results)


def read_words(text: str) -> Read:
    """The blank-separated words of `text`. Raises ShellError where it holds an operator or does not end."""
    return _Reader(text).words()


def read_body(text: str) -> Read:
    """Substitutions in the body of a here-document whose delimiter is not quoted. Raises ShellError."""
    return _Reader(text).body()
