"""What the server says of itself: version, encodings, and settings under which SQL would read differently. Pure."""

from __future__ import annotations

import re

from onrecord.shims.postgres.exchange import SessionFatal
from onrecord.shims.postgres.startup import pinned_value

_FIRST_WITHOUT_JUNK = 15  # it refuses numbers with a name behind them
# Single-byte encodings, in which downcase_identifier (scansup.c) folds more than A to Z.
_FOLDING = ("LATIN", "ISO_8859", "WIN", "KOI8")


def before_15(version: str) -> bool:
    """Whether a server_version is older than PostgreSQL 15, or says nothing."""
    major = re.match(r"[0-9]{1,4}", version)
    return major is None or int(major[0]) < _FIRST_WITHOUT_JUNK


def check_setting(name: str, value: str) -> None:
    """Raises SessionFatal where the server reports a setting under which SQL would read differently."""
    if name in ("client_encoding", "standard_conforming_strings") and not pinned_value(name, value):
        raise SessionFatal("57P01", f"the server changed {name} to {value[:40]!r}: the gateway could no longer decode")
    if name == "server_encoding" and value.upper().startswith(_FOLDING):
        raise SessionFatal(
            "0A000",
            f"the database's encoding is {value[:40]!r}: there PostgreSQL folds unquoted names beyond ASCII, and the "
            "gateway would read other names than the server",
            hint="use a database with the encoding UTF8",
        )
