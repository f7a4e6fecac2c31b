"""`[[masks]]`: tables → MaskConfig, and what only the whole file shows about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onrecord.policies.config.reading import Reader
from onrecord.policies.config.tables import MaskTable
from onrecord.policies.config.types import Config, MaskConfig, PostgresResource
from onrecord.policies.config.values import shown
from onrecord.policies.masking.columns import pattern, type_pattern
from onrecord.policies.masking.json_paths import json_path
from onrecord.policies.masking.names import DETECTORS

_WHAT = ("detect", "columns", "tables", "types", "json_paths")
_WHERE = ("resources", "groups", "except_groups")
_EMPTY_WHERE = {
    "resources": "leave it out to mean all",
    "groups": "leave it out to mean all",
    "except_groups": "leave it out to mean none",
}


def read_mask(data: dict[str, Any], key: str, reader: Reader) -> MaskConfig:
    """One `[[masks]]`."""
    table = reader.table(data, MaskTable, key)
    if not any(name in data for name in _WHAT):
        reader.problem(
            key, f'strategy "{table.strategy}" applies to nothing', "name at least one of " + ", ".join(_WHAT)
        )
    for name in _WHAT:
        if getattr(table, name) == []:
            reader.problem(f"{key}.{name}", "empty: it masks nothing", f"leave {name} out or name one")
    for name, fix in _EMPTY_WHERE.items():
        if getattr(table, name) == []:
            reader.problem(f"{key}.{name}", "empty: it could mean all or none", fix)
        if not all(getattr(table, name) or ("x",)):
            reader.problem(f"{key}.{name}", "an empty name")
    for i, name in enumerate(table.detect or ()):
        if name not in DETECTORS:
            reader.problem(
                f"{key}.detect[{i}]", f"no such detector: {shown(name)}", "there are: " + ", ".join(DETECTORS)
            )
    for name, (parse, what, fix) in _PATTERNS.items():
        for i, text in enumerate(getattr(table, name) or ()):
            try:
                parse(text)
            except ValueError as error:
                reader.problem(f"{key}.{name}[{i}]", f"not {what}: {shown(text)}: {error}", fix)
    return MaskConfig(
        strategy=table.strategy, **{name: tuple(dict.fromkeys(getattr(table, name) or ())) for name in _WHAT + _WHERE}
    )


def _three(text: str) -> object:
    return pattern(text, 3)


def _two(text: str) -> object:
    return pattern(text, 2)


_PATTERNS: dict[str, tuple[Callable[[str], object], str, str]] = {
    "columns": (_three, "a column", 'write "schema.table.column", "table.column" or "column"'),
    "tables": (_two, "a table", 'write "schema.table" or "table"'),
    "types": (type_pattern, "a type", 'write "schema.type" or "type"'),
    "json_paths": (json_path, "a JSON path", 'write "$.user.email", "$.items[*].card", "$..password" or "password"'),
}


def check_masks(config: Config, reader: Reader) -> None:
    """Note the masks that name what is not there, or could not work where they apply."""
    for i, mask in enumerate(config.masks):
        key = f"masks[{i}]"
        _check_resources(mask, key, config, reader)
        _check_groups(mask, key, config, reader)


def _check_resources(mask: MaskConfig, key: str, config: Config, reader: Reader) -> None:
    for name in mask.resources:
        if name not in config.resources and not reader.is_bad(f"resources.{name}.type"):
            known = ", ".join(config.resources) or "none"
            reader.problem(f"{key}.resources", f"no such resource: {shown(name)}", f"there are: {known}")
    if not mask.by_column:
        return
    rule = next(name for name in ("columns", "tables", "types") if getattr(mask, name))
    names = mask.resources or tuple(config.resources)
    databases = {name for name in names if isinstance(config.resources.get(name), PostgresResource)}
    for name in mask.resources:
        if name in config.resources and name not in databases:
            reader.problem(
                f"{key}.{rule}",
                f"resources.{name} is no PostgreSQL database: it has no {rule}",
                "use json_paths or detect for it, in a [[masks]] of its own",
            )
    if not databases and not mask.resources and not any(reader.is_bad(f"resources.{n}.type") for n in config.resources):
        reader.problem(f"{key}.{rule}", "there is no PostgreSQL resource that has them", "use json_paths or detect")
    for name in sorted(databases):
        resource = config.resources[name]
        if isinstance(resource, PostgresResource) and resource.catalog == "off":
            reader.problem(
                f"{key}.{rule}",
                f'resources.{name} has catalog = "off": where a column is shown could not be known',
                'set catalog = "auto" there, or use detect',
            )


def _check_groups(mask: MaskConfig, key: str, config: Config, reader: Reader) -> None:
    """A misspelt group would leave everyone unmasked. In `except_groups` it only masks more."""
    known = {group for resource in config.resources.values() for group in resource.groups}
    known |= {group for policy in config.policies for group in policy.groups}
    for group in mask.groups:
        if group and group not in known:
            there = ", ".join(sorted(known)) or "none"
            reader.problem(
                f"{key}.groups",
                f"no resource and no policy knows the group {shown(group)}: nobody would see it masked",
                f"there are: {there}; leave groups out to mask for all",
            )
    for group in mask.groups:
        if group in mask.except_groups:
            reader.problem(f"{key}.except_groups", f"{shown(group)} is in groups too", "take it out of one of them")
