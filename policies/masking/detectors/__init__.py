"""Detectors: values that are found wherever they stand."""

from __future__ import annotations

import re2

from onrecord.policies.config.types import Strategy
from onrecord.policies.errors import OnrecordError
from onrecord.policies.masking.detectors.finding import find, group
from onrecord.policies.masking.detectors.superset import SUPERSETS, always
from onrecord.policies.masking.names import DETECTORS, REDACTED, STRICTNESS
from onrecord.policies.masking.strategies import stand_in
from onrecord.policies.masking.stream import StreamCleaner

_SHORTEST = 6  # characters of the shortest finding


class Detectors:
    """The detectors that are on, each with its strategy. Texts are str, raw bytes are UTF-8."""

    def __init__(self, strategies: dict[str, Strategy], key: bytes = b"") -> None:
        self._names = tuple(name for name in DETECTORS if name in strategies)
        self._strategies, self._key = dict(strategies), key
        options = re2.Options()
        options.max_mem = 64 << 20
        options.log_errors = False
        options.never_capture = True
        pattern = "|".join([always(), *(SUPERSETS[name] for name in self._names)])
        try:
            compiled = re2.compile(pattern.encode(), options)  # type: ignore[no-untyped-call]
            self._match = compiled._regexp.Match  # noqa: SLF001  # below re2's Python layer, half of the cost
            self._set = re2.Set.SearchSet(options)  # type: ignore[no-untyped-call]
            self._set.Add(always().encode())
            for name in self._names:
                self._set.Add(f"(?:{SUPERSETS[name]})".encode())
            self._set.Compile()
        except re2.error as error:
            raise OnrecordError(f"the detectors do not compile: {error}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """The detectors that are on, in the order in which they speak."""
        return self._names

    def hit(self, data: bytes | memoryview) -> bool:
        """Whether anything in `data` may have to be masked: where it says no, `clean` changes no value in it."""
        return bool(self._match(_ANYWHERE, data, 0, len(data))[0][0] >= 0)

    def clean(self, text: str, found: dict[str, int]) -> str:
        """`text` with every finding replaced by its detector's strategy; `found` counts them by detector."""
        if len(text) < _SHORTEST:
            return text
        hits = self._set.Match(text.encode("utf-8", "surrogatepass"))
        if not hits:
            return text
        names = self._names if 0 in hits else tuple(self._names[i - 1] for i in sorted(hits))
        spans = find(text, names)
        if not spans:
            return text
        made: list[str] = []
        at = 0
        for one in group(spans):
            found[one.name] = found.get(one.name, 0) + 1
            strategy = min((self._strategies[name] for name in one.names), key=STRICTNESS.index)
            value = text[one.start : one.end]
            made += (text[at : one.start], stand_in(strategy, self._key, one.name, value) if one.whole else REDACTED)
            at = one.end
        return "".join([*made, text[at:]])

    def stream(self) -> StreamCleaner:
        """A cleaner for UTF-8 that arrives in pieces."""
        return StreamCleaner(self.clean)


_ANYWHERE = re2._Anchor.UNANCHORED  # noqa: SLF001
