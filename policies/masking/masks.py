"""What one identity sees masked on one resource: the rules of mitm.toml that apply, ready to be asked."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from itertools import combinations
from typing import Any, NamedTuple

from onrecord.policies.config.types import Config, MaskConfig, Strategy
from onrecord.policies.masking.columns import Pattern, pattern, split_type, type_pattern
from onrecord.policies.masking.detectors import Detectors
from onrecord.policies.masking.errors import MaskError
from onrecord.policies.masking.json_paths import JsonPath, json_path
from onrecord.policies.masking.names import DETECTORS, STRICTNESS, strictest
from onrecord.policies.masking.rules import Rule

_MAX_KNOWN = 4096


class PathRule(NamedTuple):
    """A JSON path, and what becomes of what it leads to."""

    path: JsonPath
    rule: Rule


class Masks:
    """Immutable. Where several rules fit, the strictest holds: null, redact, format, pseudonymise, partial."""

    def __init__(
        self,
        *,
        key: bytes,
        detect: dict[str, Strategy] | None = None,
        columns: Iterable[tuple[Pattern, Rule]] = (),
        types: Iterable[tuple[Pattern, Rule]] = (),
        json_paths: Iterable[PathRule] = (),
    ) -> None:
        self._key = key
        self._detect = dict(detect or {})
        self._columns, self._types = _by_strictness(columns), _by_strictness(types)
        self.json_paths: tuple[PathRule, ...] = tuple(
            sorted(json_paths, key=lambda one: STRICTNESS.index(one.rule.strategy))
        )
        self.detectors: Detectors | None = Detectors(self._detect, key) if self._detect else None
        self.by_type = bool(self._types)
        self.by_column = bool(self._columns or self._types)
        self._known: dict[tuple[str, str, str, str], Rule | None] = {}
        self._sources: dict[str, bool] = {}
        self._wider: dict[frozenset[str], Masks] = {}

    def __repr__(self) -> str:
        return (
            f"<Masks: detectors {', '.join(self._detect) or 'none'}; {len(self._columns)} of columns, "
            f"{len(self._types)} of types, {len(self.json_paths)} of JSON paths>"
        )

    def column(self, schema: str, table: str, column: str, type_name: str) -> Rule | None:
        """The rule of a column, None where it is shown. "" is a name that is not known; it fits every rule.

        `type_name` as in pg_type or SQL, with or without schema, length and `[]`.
        """
        names = (schema, table, column, type_name)
        if names not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[names] = self._find(*names)
        return self._known[names]

    def _find(self, schema: str, table: str, column: str, type_name: str) -> Rule | None:
        found = [rule for pattern, rule in self._columns if pattern.matches(schema, table, column)]
        if self._types:
            where, name = split_type(type_name)
            found += [rule for pattern, rule in self._types if pattern.matches(where, name)]
        return min(found, key=lambda rule: STRICTNESS.index(rule.strategy), default=None)

    def may_hit(self, sources: Iterable[str]) -> bool:
        """Whether any of `sources` (`schema.table.column`, or `schema.table.*`: whole rows) can be masked by column.

        Their types are not known here: with rules by type (`by_type`) any may.
        """
        return self.by_type or any(map(self.named, sources))

    def named(self, source: str) -> bool:
        """Whether a rule by column speaks of `source`, by its name."""
        if source not in self._sources:
            if len(self._sources) >= _MAX_KNOWN:
                self._sources.clear()
            self._sources[source] = any(
                pattern.matches(*names) for names in _readings(source) for pattern, _ in self._columns
            )
        return self._sources[source]

    def with_detectors(self, names: Iterable[str]) -> Masks:
        """These masks with `names` ("redact") on top: what `Allow(mask=…)` asks for. MaskError: no such detector."""
        wanted = frozenset(names)
        if wanted not in self._wider:
            for name in wanted:
                if name not in DETECTORS:
                    raise MaskError(f"no such detector: {name!r}")
            detect = dict(self._detect)
            for name in wanted:
                detect[name] = strictest("redact", detect.get(name, "redact"))
            made = Masks(
                key=self._key, detect=detect, columns=self._columns, types=self._types, json_paths=self.json_paths
            )
            self._wider[wanted] = self if detect == self._detect else made
        return self._wider[wanted]


def _by_strictness(rules: Iterable[tuple[Pattern, Rule]]) -> tuple[tuple[Pattern, Rule], ...]:
    return tuple(sorted(rules, key=lambda one: STRICTNESS.index(one[1].strategy)))


def _readings(source: str) -> Iterable[tuple[str, str, str]]:
    """What `source` may mean: names that hold dots can be cut in several ways, missing parts are not known."""
    parts = source.split(".")
    parts = [""] * (3 - len(parts)) + parts
    for one, other in combinations(range(1, len(parts)), 2):
        schema, table, column = ".".join(parts[:one]), ".".join(parts[one:other]), ".".join(parts[other:])
        yield schema, table, "" if column == "*" else column


def masks_for(config: Config, resource: str, groups: Iterable[str], *, key: bytes) -> Masks | None:
    """What an identity with `groups` sees masked on `resource`; None where that is nothing."""
    own = frozenset(groups)
    chosen = tuple(mask for mask in config.masks if _applies(mask, resource, own))
    return masks_of(chosen, key) if chosen else None


@functools.lru_cache(maxsize=256)
def masks_of(chosen: tuple[MaskConfig, ...], key: bytes) -> Masks:
    """Shared by all sessions that see the same masks."""
    detect: dict[str, Strategy] = {}
    parts: dict[str, list[Any]] = {"columns": [], "types": [], "json_paths": []}
    for mask in chosen:
        for name in mask.detect:
            detect[name] = strictest(mask.strategy, detect.get(name, "partial"))
        for what, text, read in _patterns(mask):
            parts[what].append((read, Rule(name=text, strategy=mask.strategy, key=key)))
    return Masks(
        key=key,
        detect=detect,
        columns=parts["columns"],
        types=parts["types"],
        json_paths=[PathRule(*one) for one in parts["json_paths"]],
    )


def _applies(mask: MaskConfig, resource: str, groups: frozenset[str]) -> bool:
    if mask.resources and resource not in mask.resources:
        return False
    return not groups.intersection(mask.except_groups) and (not mask.groups or not groups.isdisjoint(mask.groups))


def _patterns(mask: MaskConfig) -> Iterable[tuple[str, str, object]]:
    yield from (("columns", text, pattern(text, 3)) for text in mask.columns)
    for text in mask.tables:
        table = pattern(text, 2)
        yield "columns", text, Pattern(text, (*table.parts, pattern("*", 1).parts[0]))
    yield from (("types", text, type_pattern(text)) for text in mask.types)
    yield from (("json_paths", text, json_path(text)) for text in mask.json_paths)


def no_masks(key: bytes) -> Masks:
    """Masks that mask nothing: what `with_detectors` starts from where the configuration has none."""
    return Masks(key=key)
