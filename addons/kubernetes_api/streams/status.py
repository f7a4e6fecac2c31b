"""How a command in a container ended: what comes on the error stream. Pure.

From v4 on it is a Status in JSON, before that text, and nothing where all went well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from onrecord.addons.kubernetes_api.streams.errors import StreamError

MAX_STATUS = 64 * 1024
_MAX_TEXT = 2000


class Exit(NamedTuple):
    """`code` is the exit status in decimal, empty where there is none; `error` what went wrong, None where nothing."""

    code: str
    error: str | None


def is_json(protocol: str) -> bool:
    """Whether the error stream of this protocol carries a Status."""
    return protocol.startswith(("v4", "v5"))


def read_exit(payload: bytes, *, as_json: bool) -> Exit | None:
    """The end that `payload` tells of, None where it has not come whole. Raises StreamError for what is no Status."""
    if len(payload) > MAX_STATUS:
        raise StreamError(f"more than {MAX_STATUS} bytes on the error stream")
    if not as_json:
        return Exit("", payload.decode("utf-8", "replace")[:_MAX_TEXT]) if payload else None
    try:
        status = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(status, dict):
        raise StreamError("the error stream carries no Status")
    if status.get("status") == "Success":
        return Exit("0", None)
    code = ""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode":
            text = str(cause.get("message", ""))
            code = text if text.isascii() and text.isdigit() and len(text) <= 10 else ""
    message = status.get("message")
    return Exit(code, message[:_MAX_TEXT] if isinstance(message, str) else "the command failed")


def clean_status(payload: bytes, clean: Callable[[str], str], *, as_json: bool) -> bytes:
    """`payload` with every text in it cleaned; unchanged where nothing was found."""
    if not as_json:
        text = payload.decode("utf-8", "surrogateescape")
        return clean(text).encode("utf-8", "surrogateescape")
    status = json.loads(payload)
    made = _cleaned(status, clean)
    return payload if made == status else json.dumps(made, ensure_ascii=False).encode()


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(item, clean) for item in value]
    if isinstance(value, dict):
        return {name: _cleaned(item, clean) for name, item in value.items()}
    return value
