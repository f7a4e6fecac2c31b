"""Words of a shell line that is made to be pasted. Pure."""

from __future__ import annotations

import re
import shlex

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.views import View

_AMBIGUOUS = re.compile(r"\\(?:'|$)")  # some shells (fish) read a backslash before the quote that ends a word


class CopyError(OnrecordError):
    """This record cannot be copied as that."""


def shell_quote(text: str) -> str:
    """`text` as one word of a POSIX shell. What acts on a terminal, or hides, is printed by the shell from escapes.

    Not $'…': dash, the sh of Debian, reads it as an ordinary quote, which ends at the first \\' within.
    """
    if "\0" in text:
        raise CopyError("it holds a NUL, which no shell can pass on")
    if clean(text, lines=True) == text and "\t" not in text and not _AMBIGUOUS.search(text):
        return shlex.quote(text)
    inner = text.rstrip("\n")  # a substitution drops line ends at its end
    return f"\"$(printf '{''.join(map(_octal, inner))}')\"" + (f"'{text[len(inner) :]}'" if inner != text else "")


def _octal(char: str) -> str:
    """A character of printf's format; what any shell might read in quotes, or in its history's "!", is escaped."""
    if char == "%":
        return "%%"
    if char not in "-!\"'\\`$" and (" " <= char <= "~" or (char >= "\x80" and clean(char) == char)):
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogatepass"))


def word(text: object, what: str) -> str:
    """A word that no program takes for an option."""
    string = str(text)
    if not string or string.startswith("-"):
        raise CopyError(f"its {what} {clean(string)!r} would be taken for an option")
    return shell_quote(string)


def resource_name(view: View) -> str:
    """The resource, which names service, context and host in what `onrecord env` writes."""
    name = str(view.get("resource") or "")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise CopyError(f"its resource {clean(name)!r} is no name of one")
    return name
