"""The units of some detectors as two RE2 automata: does anything hit, and which units do. One a set of detectors."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import re2

from onrecord.policies.errors import OnrecordError
from onrecord.policies.masking.detectors import addresses, iban, national, numbers, tokens
from onrecord.policies.masking.detectors.unit import Unit, always

UNITS: tuple[Unit, ...] = (*tokens.UNITS, *addresses.UNITS, *iban.UNITS, *numbers.UNITS, *national.UNITS)
_MEMORY = 64 << 20
_ANYWHERE = re2._Anchor.UNANCHORED  # noqa: SLF001


class Scanner:
    """`units` in the order of `which`; immutable and shared."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.units = tuple(unit for unit in UNITS if unit.detector in names)
        options = re2.Options()
        options.max_mem = _MEMORY
        options.log_errors = False
        patterns = [always(), *dict.fromkeys(unit.wide for unit in self.units)]
        try:
            one = re2.compile("|".join(patterns).encode(), options)  # type: ignore[no-untyped-call]
            self._set: Any = re2.Set.SearchSet(options)  # type: ignore[no-untyped-call]
            for pattern in (always(), *(unit.wide for unit in self.units)):
                self._set.Add(f"(?:{pattern})".encode())
            self._set.Compile()
        except re2.error as error:
            raise OnrecordError(f"the detectors do not compile: {error}") from None
        self._match = one._regexp.Match  # noqa: SLF001  # below re2's Python layer: half of the cost
        self._which = self._set.Match

    def hit(self, data: bytes | memoryview) -> bool:
        return bool(self._match(_ANYWHERE, data, 0, len(data))[0][0] >= 0)

    def spots(self, data: bytes | memoryview) -> Iterator[tuple[int, int]]:
        """Where `data` hits, in order and without overlap."""
        match, at, end = self._match, 0, len(data)
        while at < end:
            start, stop = match(_ANYWHERE, data, at, end)[0]
            if start < 0:
                return
            yield start, stop
            at = max(stop, start + 1)

    def which(self, text: str) -> list[Unit] | tuple[Unit, ...]:
        """The units that may find something in `text`; all of them where it holds other spellings."""
        hits = self._which(text.encode("utf-8", "surrogatepass"))
        if not hits:
            return ()
        return self.units if 0 in hits else [self.units[i - 1] for i in hits]


@functools.lru_cache(maxsize=64)
def scanner(names: tuple[str, ...]) -> Scanner:
    """The scanner of the detectors `names`; made once a process."""
    return Scanner(names)
