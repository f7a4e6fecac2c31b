"""Failures of the API server without the objects that they quote. Pure.

A patch whose result does not decode is answered with that result, whole: live values of a Secret among them. A change
of what is immutable is answered with the new object as a Go literal; older servers quote the bytes around an error.
(apiserver, endpoints/handlers/patch.go; apimachinery, validation/field; json-iterator.)
"""

from __future__ import annotations

import re
from typing import Any

from onrecord.policies.masking import REDACTED

# What may follow "Invalid value: " and be whole: a number, a truth value, a short word in quotes.
_INVALID = re.compile(r"(?:Invalid|Duplicate|Unsupported) value: ")
_PLAIN = re.compile(r"(?:-?[0-9.]{1,20}|true|false|null|\"[A-Za-z0-9 ._/:@*-]{0,80}\")(?=[:,\]]|$)", re.ASCII)
_QUOTED = re.compile(
    r"error found in #|bigger context|[{\[|]\\*\"|\bmap\[(?!string\])"
    r"|\b[A-Za-z0-9_]{1,80}\.[A-Z][A-Za-z0-9_]{0,80}\{|\(\*?[a-z0-9]{1,80}\.[A-Z]"
)
_END = re.compile(r"[}\"\]]: ([a-z ]{3,60})$", re.ASCII)
# With these reasons the words are the API server's own, or an admission's; the others quote what was read.
_OWN_WORDS = frozenset(
    {
        "Unauthorized", "Forbidden", "NotFound", "AlreadyExists", "Conflict", "Gone", "Expired", "MethodNotAllowed",
        "NotAcceptable", "UnsupportedMediaType", "TooManyRequests", "ServerTimeout", "Timeout", "ServiceUnavailable",
    }
)  # fmt: skip


def mask_failure(value: Any, found: dict[str, int], *, strict: bool) -> Any:
    """`value` where it is a Status (or a watch event with one), its texts without quoted objects; a new object.

    `strict`: about Secrets; a text that may quote a value keeps what stands before it only.
    """
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("object"), dict):
        return {**value, "object": mask_failure(value["object"], found, strict=strict)}
    if value.get("kind") != "Status" or value.get("status") == "Success":
        return value
    if value.get("reason") in _OWN_WORDS:
        return value
    made = {**value, "message": without_objects(value.get("message"), found, strict=strict)}
    details = value.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    if isinstance(details, dict) and isinstance(causes, list):
        cleaned = [
            {**cause, "message": without_objects(cause.get("message"), found, strict=strict)}
            if isinstance(cause, dict)
            else cause
            for cause in causes
        ]
        made["details"] = {**details, "causes": cleaned}
    return made


def without_objects(text: Any, found: dict[str, int], *, strict: bool = False) -> Any:
    """The text as far as it quotes no object, and how it ends."""
    if not isinstance(text, str):
        return text
    cuts = [match.start() for match in [_QUOTED.search(text)] if match is not None]
    cuts += [match.end() for match in _INVALID.finditer(text) if strict or _PLAIN.match(text, match.end()) is None][:1]
    if strict and not cuts and '"' in text.partition(": ")[2]:
        cuts = [text.index(": ") + 2]
    if not cuts:
        return text
    found["secret"] = found.get("secret", 0) + 1
    end = _END.search(text)
    return text[: min(cuts)] + REDACTED + (f": {end[1]}" if end is not None and not strict else "")
