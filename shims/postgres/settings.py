"""What a statement sets that matters for reading SQL: search_path, the role, and how texts are read. Pure."""

from __future__ import annotations

from typing import Any

from onrecord.policies.sql import Statement
from onrecord.policies.sql.parser import parse
from onrecord.policies.sql.settings import constant_text
from onrecord.shims.postgres.search_path import cut, split_identifiers
from onrecord.shims.postgres.startup import pinned_value

MAX_SCHEMAS = 16
ROLES = frozenset({"role", "session_authorization"})
_ON = frozenset({"on", "true", "yes", "1"})
_OFF = frozenset({"off", "false", "no", "0"})


class PathError(Exception):
    """A change of search_path that cannot be followed; the text says why."""


def fields_of(statement: Statement) -> dict[str, Any]:
    """The parser's fields of a statement without literals that were blanked; {} where it cannot be parsed alone."""
    try:
        (raw,) = parse(statement.text)
    except Exception:  # noqa: BLE001  # it was parsed as part of its text: whatever goes wrong, nothing is known
        return {}
    fields: dict[str, Any] = raw["stmt"].get(statement.node, {})
    return fields


def reads_differently(name: str, value: str | None) -> bool:
    """Whether SQL would read in another way with this value (None: the default, which the gateway chose)."""
    if value is None:
        return False
    plain = value.strip().strip("'\"").lower()
    if name in {"client_encoding", "names"}:
        return not pinned_value("client_encoding", value)
    if name == "standard_conforming_strings":
        return plain not in _ON
    if name == "backslash_quote":
        return plain != "safe_encoding"
    if name == "transform_null_equals":
        return plain not in _OFF
    return False


def paths_of(statement: Statement) -> list[tuple[str, ...]]:
    """All values that the statement gives search_path. Raises PathError where the text does not say them."""
    found: list[tuple[str, ...]] = []
    for name, value in statement.settings:
        if name != "search_path" or value is None:
            continue
        path = _set_path(statement) if statement.node == "VariableSetStmt" else split_identifiers(value)
        if path is None or "?" in path:
            raise PathError("the text does not say what search_path becomes")
        found.append(path)
    return found


def _set_path(statement: Statement) -> tuple[str, ...] | None:
    """SET search_path = a, 'b c': each argument is one name; a lone empty string is none."""
    names: list[str] = []
    args = fields_of(statement).get("args", [])
    for argument in args:
        name = constant_text(argument)
        if name is None:
            return None
        if name:
            names.append(cut(name))
    return tuple(names) if args else None


def is_local(statement: Statement) -> bool:
    """Whether a SET ends with its transaction; True for whatever is no plain SET."""
    return statement.node != "VariableSetStmt" or bool(fields_of(statement).get("is_local"))
