"""Which environment variables of a client go on to the host. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

# No slash in any of them: a path would load files. Of character sets only UTF-8: in Big5 or GBK a backslash may be the
# second byte of a character, and the host's shell would read another line than the one that was decided.
_PLAIN = {
    re.compile(rb"LANGUAGE"): re.compile(rb"[A-Za-z0-9_.@:-]{0,64}", re.ASCII),
    re.compile(rb"LANG|LC_[A-Z]{1,20}"): re.compile(
        rb"|C|POSIX|[A-Za-z0-9_]{1,32}\.(?i:utf-?8)(?:@[A-Za-z0-9]{1,16})?", re.ASCII
    ),
    re.compile(rb"GIT_PROTOCOL"): re.compile(rb"version=[0-9]", re.ASCII),
}
MAX_VALUE = 1024


def passed_on(given: Mapping[bytes, bytes], wanted: tuple[str, ...]) -> dict[bytes | str, bytes | str]:
    """The locale and GIT_PROTOCOL where their values are plain, and what `wanted` names; the rest is left out."""
    names = {name.encode() for name in wanted}
    found: dict[bytes | str, bytes | str] = {}
    for name, value in given.items():
        if len(value) > MAX_VALUE or b"\0" in value:
            continue
        plain = any(one.fullmatch(name) and values.fullmatch(value) for one, values in _PLAIN.items())
        if plain or name in names:
            found[name] = value
    return found
