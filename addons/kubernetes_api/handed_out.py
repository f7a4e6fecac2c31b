"""Masks that come back: what stood in for a value may not be written where the value is."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Any

from onrecord.addons.kubernetes_api.env_values import MASKED
from onrecord.addons.kubernetes_api.secret_values import REDACTED_DATA
from onrecord.policies.masking import REDACTED

REMEMBERED = 50_000


class HandedOut:
    """Hashes of the values that masking made up and agents have seen: none of them may be written into an object."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._limit = limit

    def add(self, text: str) -> None:
        self._seen[_hash(text)] = None
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)

    def __contains__(self, text: str) -> bool:
        return _hash(text) in self._seen

    def __bool__(self) -> bool:
        return bool(self._seen)


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def holds_mask(body: Any, handed_out: HandedOut) -> bool:
    """Whether a write would put a mask where a real value is."""
    pending = [body]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.values()
            if item.get(MASKED) is not None:
                return True
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str) and (
            REDACTED in item or item == REDACTED_DATA or MASKED in item or (handed_out and item in handed_out)
        ):
            return True
    return False
