"""Whether two texts are the same statements to PostgreSQL's grammar, constants and names included."""

from __future__ import annotations

from typing import Any

from onrecord.policies.sql.errors import SqlError
from onrecord.policies.sql.parser import parse

_PLACES = frozenset({"location", "stmt_location", "stmt_len", "name_location", "rexpr_list_start", "rexpr_list_end"})


def same_sql(one: str, other: str) -> bool:
    """Whether the trees of both texts agree in all but the places in the text. False where one does not parse."""
    try:
        return bool(_bare(parse(one)) == _bare(parse(other)))
    except (SqlError, RecursionError):
        return False


def _bare(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _bare(value) for name, value in node.items() if name not in _PLACES}
    if isinstance(node, list):
        return [_bare(item) for item in node]
    return node
