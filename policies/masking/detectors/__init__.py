"""Detectors: values that are found wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator

from onrecord.policies.config.types import Strategy
from onrecord.policies.masking.detectors.finding import find
from onrecord.policies.masking.detectors.scanner import scanner
from onrecord.policies.masking.names import DETECTORS, REDACTED, STRICTNESS
from onrecord.policies.masking.strategies import stand_in
from onrecord.policies.masking.stream import StreamCleaner

__all__ = ["Detectors"]

_SHORTEST = 5  # characters of the shortest finding


class Detectors:
    """The detectors that are on, each with its strategy. Texts are str, raw bytes are UTF-8."""

    def __init__(self, strategies: dict[str, Strategy], key: bytes = b"") -> None:
        self._names = tuple(name for name in DETECTORS if name in strategies)
        self._strategies, self._key = dict(strategies), key
        self._scanner = scanner(self._names)
        self._which = self._scanner.which
        self._only_redact = all(strategy in ("redact", "null") for strategy in strategies.values())
        # Whether anything in these bytes may have to be masked: where it says no, `clean` changes no value in them,
        # whatever stands around the values, and whether or not JSON escapes them.
        self.hit = self._scanner.hit

    @property
    def names(self) -> tuple[str, ...]:
        """The detectors that are on."""
        return self._names

    def spots(self, data: bytes | memoryview) -> Iterator[tuple[int, int]]:
        """Where `data` may have to be masked, as (start, end) in order: a value that none of them overlaps is clean."""
        return self._scanner.spots(data)

    def clean(self, text: str, found: dict[str, int]) -> str:
        """`text` with every finding replaced by its detector's strategy; `found` counts them by detector."""
        if len(text) < _SHORTEST:
            return text
        units = self._which(text)
        if not units:
            return text
        findings = find(text, units)
        if not findings:
            return text
        made: list[str] = []
        at = 0
        for start, end, name, names, whole in findings:
            found[name] = found.get(name, 0) + 1
            if self._only_redact or not whole:
                made += (text[at:start], REDACTED)
            else:
                strategy = (
                    self._strategies[name]
                    if len(names) == 1
                    else min((self._strategies[one] for one in names), key=STRICTNESS.index)
                )
                made += (text[at:start], stand_in(strategy, self._key, name, text[start:end]))
            at = end
        made.append(text[at:])
        return "".join(made)

    def stream(self) -> StreamCleaner:
        """A cleaner for UTF-8 that arrives in pieces."""
        return StreamCleaner(self.clean)
