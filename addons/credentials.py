"""The gateway's own credentials: put into requests, and kept out of responses."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote, quote_plus

from onrecord.policies.config import HttpResource, SecretRef
from onrecord.policies.secrets import Secrets

# What an agent may not bring to a configured resource: the gateway's credential stands in its place.
_REPLACED = frozenset({b"authorization"})
MIN_SECRET = 6


class Credential:
    """One resource's header fields, resolved once. `apply` replaces the agent's; `scrub` hides ours in an answer."""

    def __init__(self, resource: HttpResource, secrets: Secrets) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        values: list[str] = []
        for name, value in resource.headers.items():
            text = secrets.resolve(value) if isinstance(value, SecretRef) else value
            self.fields.append((name.encode(), text.encode()))
            if isinstance(value, SecretRef):
                values += [text, *text.split(" ")[1:]]
        if resource.bearer is not None:
            token = secrets.resolve(resource.bearer)
            self.fields.append((b"Authorization", b"Bearer " + token.encode()))
            values.append(token)
        if resource.basic is not None:
            pair = secrets.resolve(resource.basic)
            encoded = base64.b64encode(pair.encode())
            self.fields.append((b"Authorization", b"Basic " + encoded))
            values += [pair, encoded.decode(), pair.partition(":")[2]]
        self._names = _REPLACED | {name.lower().replace(b"_", b"-") for name, _ in self.fields}
        self.needles: tuple[bytes, ...] = ()
        self.longest = 0
        self._learn(values)

    def _learn(self, values: list[str]) -> None:
        """Keep these out of answers from now on."""
        self.needles = tuple(sorted(_spellings(values), key=len, reverse=True))
        self.longest = len(self.needles[0]) if self.needles else 0

    def apply(self, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The request's fields with the agent's credentials replaced by the gateway's."""
        names = self._names
        return [f for f in fields if f[0].lower().replace(b"_", b"-") not in names] + self.fields

    def scrub(self, data: bytes) -> bytes:
        """`data` with every spelling of the credential replaced by as many asterisks."""
        for needle in self.needles:
            if needle in data:
                data = data.replace(needle, b"*" * len(needle))
        return data

    def held(self, data: bytes) -> int:
        """How many bytes at the end of `data` could begin one of the credential's spellings."""
        best = 0
        for needle in self.needles:
            first = needle[:1]
            start = max(len(data) - len(needle) + 1, 0)
            while (start := data.find(first, start)) >= 0:
                tail = data[start:]
                if needle.startswith(tail):
                    best = max(best, len(tail))
                    break
                start += 1
        return best


def _unicode(characters: str, form: str = "04x") -> dict[str, str]:
    return {character: f"\\u{ord(character):{form}}" for character in characters}


_PERCENT = re.compile("%[0-9A-F]{2}")
_SIGNS = "".join(chr(code) for code in range(0x20, 0x7F) if not chr(code).isalnum())
_JSON = {"\\": "\\\\", '"': '\\"'}
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# How encoders write single characters; each row is the habit of some, as they come.
_ESCAPES: tuple[dict[str, str], ...] = (
    _JSON,
    {**_JSON, "/": "\\/"},  # PHP
    {**_JSON, **_unicode("&<>")},  # Go
    {**_JSON, **_unicode("&<>'=")},  # Gson
    {"\\": "\\\\", **_unicode("\"&<>'+`", "04X")},  # .NET
    {"\\": "\\\\", **_unicode("\"&<>'+`=/")},
    _unicode(_SIGNS),
    _unicode(_SIGNS, "04X"),
    _HTML,
    {**_HTML, '"': "&quot;"},
    {**_HTML, '"': "&#34;", "'": "&#39;"},  # Jinja, Go
    {**_HTML, '"': "&#34;", "'": "&#39;", "+": "&#43;"},  # Go's templates
    {**_HTML, '"': "&quot;", "'": "&#39;"},
    {**_HTML, '"': "&quot;", "'": "&#039;"},  # PHP
    {**_HTML, '"': "&quot;", "'": "&apos;"},
    {**_HTML, '"': "&quot;", "'": "&#x27;"},  # Django, React
    {**_HTML, '"': "&quot;", "'": "&#x27;", "+": "&#x2B;"},  # .NET
    {**_HTML, '"': "&quot;", "'": "&#x27;", "`": "&#x60;", "=": "&#x3D;"},  # Handlebars
)


def _spellings(values: list[str]) -> set[bytes]:
    found: set[bytes] = set()
    for value in values:
        if len(value) < MIN_SECRET:
            continue
        raw = value.encode()
        found |= {
            raw,
            raw.hex().encode(),
            raw.hex().upper().encode(),
            value.encode("utf-16-le"),
            value.encode("utf-16-be"),
        }
        for quoted in (quote(value, safe=""), quote(value), quote_plus(value)):
            found |= {quoted.encode(), _PERCENT.sub(lambda match: match[0].lower(), quoted).encode()}
        for escapes in _ESCAPES:
            found.add("".join(escapes.get(character, character) for character in value).encode())
        for shift in range(3):  # inside longer base64 the secret starts at one of three positions
            encoded = base64.b64encode(bytes(shift) + raw)
            start, end = (0, 2, 3)[shift], len(encoded) - (0, 2, 3)[-(shift + len(raw)) % 3]
            if (core := encoded[start:end]) and len(core) >= MIN_SECRET:
                found |= {core, core.translate(bytes.maketrans(b"+/", b"-_"))}
    return found
