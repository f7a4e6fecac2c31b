"""Which environment variables of a client go on to the host. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LOCALE = re.compile(rb"LANG|LANGUAGE|LC_[A-Z]{1,20}", re.ASCII)
_LOCALE_VALUE = re.compile(rb"[A-Za-z0-9_.@:-]{0,64}", re.ASCII)  # no slash: a path would load files
_GIT_VALUE = re.compile(rb"version=[0-9]", re.ASCII)
MAX_VALUE = 1024


def passed_on(given: Mapping[bytes, bytes], wanted: tuple[str, ...]) -> dict[bytes | str, bytes | str]:
    """The locale and GIT_PROTOCOL where their values are plain, and what `wanted` names; the rest is left out."""
    names = {name.encode() for name in wanted}
    found: dict[bytes | str, bytes | str] = {}
    for name, value in given.items():
        if len(value) > MAX_VALUE or b"\0" in value:
            continue
        if (
            (_LOCALE.fullmatch(name) and _LOCALE_VALUE.fullmatch(value))
            or (name == b"GIT_PROTOCOL" and _GIT_VALUE.fullmatch(value))
            or name in names
        ):
            found[name] = value
    return found
