"""Bodies masked while they flow: bytes in, bytes that may go out. Pure; what cannot be read is a MaskError.

JSON is taken whole (its paths and escapes need that), JSON lines and events of SSE one by one, all other text in
segments that no finding goes beyond.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from email.message import Message
from functools import partial
from typing import Any, Protocol

from onrecord.addons.text_masks import Clean, form_field, text_cleaner
from onrecord.policies.masking import MaskError, Masks, StreamCleaner, check_json, mask_json_text, may_mask

MAX_WHOLE = 16 * 1024 * 1024  # bytes of a JSON document
MAX_LINE = 1024 * 1024  # bytes of a JSON line or an event
MAX_VALUES = 200_000  # in a JSON document that may have to be masked: while it is, nobody else is served

_JSON = re.compile(r"(?:application|text)/(?:json|[a-z0-9.!#$&^_+-]+\+json)")
_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_MARKUP = re.compile(r"(?:text/html|text/xml|application/xml|[a-z]+/[a-z0-9.!#$&^_+-]+\+xml)")
_TEXT = re.compile(
    r"text/[a-z0-9.!#$&^_+-]+"
    r"|application/(?:javascript|x-javascript|ecmascript|graphql|sql|toml|yaml|x-yaml|x-sh|pgp-keys"
    r"|pem-certificate-chain|x-pem-file)"
)
_EVENT_END = re.compile(rb"(?>\r\n|\n|\r){2}")  # an empty line, whichever ends its lines have
_LINE_END = re.compile(rb"\r\n|\n|\r")
_FORM = "application/x-www-form-urlencoded"
_TABLES = frozenset({"text/csv", "text/tab-separated-values"})
# Readers that do not know such a charset would see another text than the one that was searched.
_NOT_READ = frozenset({"utf-7", "unicode-escape", "raw-unicode-escape", "idna", "punycode"})
_WIDE = ("utf-16", "utf-32")
_ASCII = bytes(range(0x20, 0x7F))


class BodyMask(Protocol):
    """`found` counts what was masked, by detector or rule. Nothing may be fed after an error."""

    found: dict[str, int]

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def body_mask(content_type: str, masks: Masks) -> BodyMask:
    """What masks a body of this Content-Type. Raises MaskError where such a body cannot be searched."""
    header = Message()
    header["content-type"] = content_type
    kind = content_type.partition(";")[0].strip().lower()
    if kind != header.get_content_type() or "," in content_type.partition('"')[0]:
        raise MaskError(f"a body of the type {content_type[:100]!r}, which is none or several, cannot be searched")
    charset = str(header.get_param("charset") or "utf-8").lower()
    if _JSON.fullmatch(kind):
        return _Whole(masks)
    if kind in _LINES:
        return _Pieces(masks, re.compile(rb"\n"), _json_line)
    if kind == "text/event-stream":
        return _Pieces(masks, _EVENT_END, partial(_event, text_cleaner(masks, markup=True)))
    if kind == _FORM:
        return _Pieces(masks, re.compile(rb"&"), partial(form_field, text_cleaner(masks)))
    if _MARKUP.fullmatch(kind):
        return _Text(text_cleaner(masks, markup=True), charset)
    if _TEXT.fullmatch(kind):
        return _Text(text_cleaner(masks, cells=kind in _TABLES), charset)
    raise MaskError(f"a body of the type {kind[:100] or 'unknown'} cannot be searched for what is masked")


class _Whole:
    def __init__(self, masks: Masks) -> None:
        self.found: dict[str, int] = {}
        self._masks = masks
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._held += data
        if len(self._held) > MAX_WHOLE:
            raise MaskError(f"a JSON document of more than {MAX_WHOLE} bytes cannot be masked")
        return b""

    def finish(self) -> bytes:
        data = bytes(self._held)
        self._held.clear()
        return whole_json(data, self._masks, self.found) if data.strip() else data


def whole_json(data: bytes, masks: Masks, found: dict[str, int]) -> bytes:
    """A JSON document masked. Raises MaskError for what is none, and for one that would take too long."""
    if not may_mask(data, masks):
        check_json(data)
        return data
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise MaskError(f"a JSON document of more than {MAX_VALUES} values cannot be masked: ask for it in parts")
    return mask_json_text(data, masks, found)


class _Pieces:
    """Pieces that end with `end`, each masked alone; what is left at the end is one too."""

    def __init__(
        self, masks: Masks, end: re.Pattern[bytes], mask: Callable[[bytes, Masks, dict[str, int]], bytes]
    ) -> None:
        self.found: dict[str, int] = {}
        self._masks, self._end, self._mask = masks, end, mask
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        made: list[bytes] = []
        start = 0
        for match in self._end.finditer(data, max(0, len(self._held) - 3)):
            made += (self._mask(data[start : match.start()], self._masks, self.found), match[0])
            start = match.end()
        self._held = data[start:]
        if len(self._held) > MAX_LINE:
            raise MaskError(f"a line or event of more than {MAX_LINE} bytes cannot be masked")
        return b"".join(made)

    def finish(self) -> bytes:
        return self._mask(self._held, self._masks, self.found)


def _json_line(line: bytes, masks: Masks, found: dict[str, int]) -> bytes:
    body = line.strip(b"\x1e \t\r")
    return line.replace(body, mask_json_text(body, masks, found)) if body else line


def _event(clean: Clean, event: bytes, masks: Masks, found: dict[str, int]) -> bytes:
    """One event: its data as JSON where it is, every other line as text."""
    lines = _LINE_END.split(event)
    data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    rest = [_clean(clean, line, found) for line in lines if not line.startswith(b"data:")]
    whole = b"\n".join(data)
    try:
        whole = mask_json_text(whole, masks, found)
    except MaskError:
        whole = _clean(clean, whole, found)  # such as [DONE]
    return b"\n".join([*rest, *(b"data: " + line for line in whole.split(b"\n"))] if data else rest)


def _clean(clean: Clean, data: bytes, found: dict[str, int]) -> bytes:
    return clean(data.decode("utf-8", "surrogateescape"), found).encode("utf-8", "surrogateescape")


class _Text:
    def __init__(self, clean: Clean, charset: str) -> None:
        self._cleaner = StreamCleaner(clean)
        self.found = self._cleaner.found
        codec = _codec(charset)
        self._decode, self._encode = codec.incrementaldecoder("strict"), codec.incrementalencoder("strict")
        self._charset = charset

    def feed(self, data: bytes) -> bytes:
        return self._out(self._cleaner.feed(self._in(data, final=False)))

    def finish(self) -> bytes:
        return self._out(self._cleaner.feed(self._in(b"", final=True)) + self._cleaner.finish())

    def _in(self, data: bytes, *, final: bool) -> bytes:
        try:
            return str(self._decode.decode(data, final)).encode()
        except UnicodeError:
            raise MaskError(f"a text is not in its charset {self._charset[:40]!r}") from None

    def _out(self, data: bytes) -> bytes:
        try:
            made: bytes = self._encode.encode(data.decode()) if data else b""
            return made
        except UnicodeError:
            raise MaskError(f"a text cannot be written in its charset {self._charset[:40]!r}") from None


def _codec(charset: str) -> Any:
    """The codec of a charset that every reader reads alike. Raises MaskError."""
    try:
        codec = codecs.lookup(charset)
        if getattr(codec, "_is_text_encoding", True) and codec.name.replace("_", "-") not in _NOT_READ:
            same = codec.name.startswith(_WIDE) or codec.decode(_ASCII)[0] == _ASCII.decode()
            if same and codec.incrementaldecoder is not None and codec.incrementalencoder is not None:
                return codec
    except (LookupError, UnicodeError):
        pass
    raise MaskError(f"a text in the charset {charset[:40]!r} cannot be searched for what is masked")
