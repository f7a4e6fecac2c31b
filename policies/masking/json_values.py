"""Masks over decoded JSON: by path, by detectors in strings, keys and numbers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec

from onrecord.policies.masking.detectors import Detectors
from onrecord.policies.masking.errors import MaskError
from onrecord.policies.masking.json_paths import into_element, into_key
from onrecord.policies.masking.masks import Masks
from onrecord.policies.masking.names import REDACTED
from onrecord.policies.masking.rules import Rule

_States = tuple[frozenset[int], ...]
_encode = msgspec.json.Encoder(decimal_format="number").encode


def mask_json(value: object, masks: Masks, found: dict[str, int]) -> object:
    """`value` (what a JSON decoder gives) masked; `found` counts what was, by rule or detector.

    A number or truth value that is masked becomes None, or "[redacted]" as a key would; what a path leads to is masked
    as a whole by `redact` and `null`, and leaf by leaf by the other strategies. Raises MaskError where it is nested too
    deep to be looked through.
    """
    start: _States = tuple(frozenset((0,)) for _ in masks.json_paths)
    try:
        return _Walk(masks, found).value(value, start)
    except RecursionError:
        raise MaskError("JSON that is nested too deep to be masked") from None


class _Walk:
    def __init__(self, masks: Masks, found: dict[str, int]) -> None:
        self._paths = [(one.path.steps, one.rule) for one in masks.json_paths]
        self._detectors: Detectors | None = masks.detectors
        self._found = found

    def value(self, value: Any, states: _States) -> object:
        for (steps, rule), reached in zip(self._paths, states, strict=True):
            if len(steps) in reached:
                self._found[rule.name] = self._found.get(rule.name, 0) + 1
                return self._masked(value, rule)
        if isinstance(value, dict):
            return self._object(value, states)
        if isinstance(value, list | tuple):
            return [
                self.value(
                    item,
                    tuple(into_element(s, r, i) if r else r for (s, _), r in zip(self._paths, states, strict=True)),
                )
                for i, item in enumerate(value)
            ]
        if isinstance(value, str):
            return self._text(value, states)
        return self._leaf(value)

    def _text(self, value: str, states: _States) -> str:
        """A string; where it holds JSON itself, what paths and detectors find in that."""
        if value.lstrip()[:1] in ("{", "["):
            try:
                inner = json.loads(value, object_pairs_hook=_unique, parse_float=Decimal, parse_int=Decimal)
            except (ValueError, ArithmeticError):
                inner = None
            if inner:
                before = sum(self._found.values())
                masked = self.value(inner, tuple(reached | {0} for reached in states))
                if sum(self._found.values()) != before:
                    return _encode(masked).decode()
        return value if self._detectors is None else self._detectors.clean(value, self._found)

    def _object(self, value: dict[Any, Any], states: _States) -> dict[str, object]:
        made: dict[str, object] = {}
        for key, item in value.items():
            name = str(key)
            below = tuple(into_key(s, r, name) if r else r for (s, _), r in zip(self._paths, states, strict=True))
            shown = name if self._detectors is None else self._detectors.clean(name, self._found)
            made[_free(shown, made)] = self.value(item, below)
        return made

    def _leaf(self, value: Any) -> object:
        if self._detectors is None or value is None or isinstance(value, bool):
            return value
        text = format(value, "f") if isinstance(value, Decimal) and value.is_finite() else str(value)
        return value if self._detectors.clean(text, self._found) == text else None

    def _masked(self, value: Any, rule: Rule) -> object:
        if rule.strategy == "null" or value is None:
            return None
        if rule.strategy == "redact":
            return REDACTED if isinstance(value, str | dict | list | tuple) else None
        if isinstance(value, dict):
            made: dict[str, object] = {}
            for key, item in value.items():
                shown = str(key) if self._detectors is None else self._detectors.clean(str(key), self._found)
                made[_free(shown, made)] = self._masked(item, rule)
            return made
        if isinstance(value, list | tuple):
            return [self._masked(item, rule) for item in value]
        return rule.apply(value) if isinstance(value, str) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise MaskError("a name stands twice in JSON within a string")
    return made


def _free(name: str, taken: dict[str, object]) -> str:
    """`name`, or with a number where two keys became the same by masking."""
    if name not in taken:
        return name
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"
