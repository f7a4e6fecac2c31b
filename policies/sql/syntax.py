"""Functions that newer grammars read as syntax: to an older server they are calls by name. Pure.

The grammar here is newer than some servers: where it sees JSON_VALUE(x, y) as a node of its own, PostgreSQL 15 calls
whatever function of that name the database has, as those that were made for compatibility.
"""

from __future__ import annotations

from typing import Any

NODES = {
    "MergeSupportFunc": "merge_action",
    "JsonParseExpr": "json",
    "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize",
    "JsonObjectConstructor": "json_object",
    "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array",
    "JsonObjectAgg": "json_objectagg",
    "JsonArrayAgg": "json_arrayagg",
    "JsonFuncExpr": "",
    "JsonTable": "json_table",
}
JSON = {"JSON_EXISTS_OP": "json_exists", "JSON_QUERY_OP": "json_query", "JSON_VALUE_OP": "json_value"}
# The grammar puts pg_catalog before them by itself.
_QUALIFIED = frozenset({"json_object"})


def function_of(node: str, fields: dict[str, Any]) -> str:
    """The name under which an older server would look for a function; "" where `node` is none of these."""
    return NODES.get(node) or JSON.get(fields.get("op", ""), "")


def unqualified(parts: list[str]) -> bool:
    """Whether a call of pg_catalog's function may have been written without a schema."""
    return len(parts) == 2 and parts[0] == "pg_catalog" and parts[1] in _QUALIFIED
