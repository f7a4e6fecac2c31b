"""Text that is no JSON under masks: other spellings of a character, members that only JSON is masked by. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import quote_plus, unquote_to_bytes

from onrecord.policies.masking import MaskError, Masks, mask_json, mask_json_text

_REFERENCE = re.compile(r"&(?:#0*[0-9]{1,7};?|#[xX]0*[0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};)")
_ESCAPE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{2})|(/))")
_STRUCTURE = frozenset("<>&\"'\\")
_QUOTE = r"(?:[\"'`]|&(?:quot|apos|#0*3[49]|#[xX]0*2[27]);?|%2[27])"
_STEP_OF_A_NAME = re.compile(r"[\[\].]+")

Clean = Callable[[str, dict[str, int]], str]


def text_cleaner(masks: Masks, *, markup: bool = False, cells: bool = False) -> Clean:
    """What cleans a segment of text. `cells`: it is a table whose first line may name its columns.

    Detectors look at what is written and at what it spells. Raises MaskError, and the function that is returned does,
    where a member is named that a JSON path masks: in text its value has no end that all readers agree on.
    """
    named = _named(masks, cells=cells)
    detectors = masks.detectors

    def clean(text: str, found: dict[str, int]) -> str:
        if markup and "<!ENTITY" in text.upper():
            raise MaskError("markup that defines entities of its own cannot be searched for what is masked")
        if "\0" in text:
            raise MaskError("a text with NUL in it is no text, or in another charset than it says")
        member = None if named is None else named.search(text)
        if member is None and named is not None and ("\\" in text or "&" in text):
            member = named.search(_spelt(text, markup=True))
        if member is not None:
            raise MaskError(
                f"a text names {member[member.lastindex or 0][:60]}, which is masked by path: that is done in JSON only"
            )
        if detectors is None:
            return text
        cleaned = detectors.clean(text, found)
        spelt = _spelt(cleaned, markup=markup)
        if spelt == cleaned:
            return cleaned
        more: dict[str, int] = {}
        searched = detectors.clean(spelt, more)
        for name, count in more.items():
            found[name] = found.get(name, 0) + count
        return searched if more else cleaned

    return clean


def _named(masks: Masks, *, cells: bool) -> re.Pattern[str] | None:
    """What finds a member by its name; None where no path masks any. Raises MaskError for a path without a name."""
    names = set()
    for one in masks.json_paths:
        keys = [step.name for step in one.path.steps if step.kind == "key"]
        if not keys:
            raise MaskError(f"{one.path.text} masks members of any name: that can be done in JSON only")
        names.add(keys[-1])
    if not names:
        return None
    name = "(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + ")"
    forms = [
        rf"{_QUOTE}{name}\\*{_QUOTE}",
        rf"(?<![\w-]){name}(?:\\*{_QUOTE})?\s{{0,8}}(?:[:=]|%3[aAdD])",
        rf"<(?:[\w.-]{{1,64}}:)?{name}[\s/>]",
        rf"\[\s{{0,8}}{name}\s{{0,8}}\]",
    ]
    if cells:
        forms.append(rf"(?:^|[,;\t|])\s{{0,8}}{name}\s{{0,8}}(?:[,;\t|\r\n]|\Z)")
    return re.compile("|".join(forms), re.IGNORECASE | re.MULTILINE)


def _spelt(text: str, *, markup: bool) -> str:
    r"""`text` with the characters that `\u0040`, `\x40` and, in markup, `&#64;` stand for, but for structural ones."""
    if "\\" in text:
        text = _ESCAPE.sub(_escaped, text)
    if markup and "&" in text:
        text = _REFERENCE.sub(_referenced, text)
    return text


def _escaped(match: re.Match[str]) -> str:
    if match[4]:
        return "/"
    code = int(match[1] or match[2] or match[3], 16)
    plain = chr(code) if code <= 0x10FFFF else ""
    return plain if plain.isprintable() and plain and plain not in _STRUCTURE else match[0]


def _referenced(match: re.Match[str]) -> str:
    plain = html.unescape(match[0])
    return match[0] if plain == match[0] or set(plain) & _STRUCTURE or not plain.isprintable() else plain


def form_field(clean: Clean, field: bytes, masks: Masks, found: dict[str, int]) -> bytes:
    """One field of a form, decoded, masked as the member of its name, and encoded again where it changed."""
    name, sign, value = field.partition(b"=")
    try:
        label, text = (unquote_to_bytes(part.replace(b"+", b" ")).decode() for part in (name, value))
    except UnicodeDecodeError:
        raise MaskError("a form whose fields are not in UTF-8 cannot be searched for what is masked") from None
    steps = [step.strip() for step in _STEP_OF_A_NAME.split(label) if step.strip()]
    inner: object = _value(text, masks, found, clean)
    for step in reversed(steps):
        inner = {step: inner}
    inner = mask_json(inner, masks, found) if steps and masks.json_paths else inner
    while isinstance(inner, dict):
        inner = next(iter(inner.values()))
    shown = "" if inner is None else str(inner)
    title = masks.detectors.clean(label, found) if masks.detectors is not None else label
    return (
        (name if title == label else quote_plus(title).encode())
        + sign
        + (value if shown == text else quote_plus(shown).encode())
    )


def _value(text: str, masks: Masks, found: dict[str, int], clean: Clean) -> str:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return mask_json_text(text.encode(), masks, found).decode()
        except MaskError:
            pass  # no JSON: any other text
    return clean(text, found)
