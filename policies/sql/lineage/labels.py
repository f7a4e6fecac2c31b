"""The name that PostgreSQL gives to an output column without AS (FigureColname of parse_target.c)."""

from __future__ import annotations

from collections.abc import Callable

from onrecord.policies.sql.lineage.values import Node, strings
from onrecord.policies.sql.syntax import JSON, NODES

NONE = "?column?"

_FIXED = {
    "CoalesceExpr": "coalesce",
    "RowExpr": "row",
    "A_ArrayExpr": "array",
    "GroupingFunc": "grouping",
    "XmlSerialize": "xmlserialize",
    **{node: name for node, name in NODES.items() if name and node != "JsonTable"},
}
_XML = {
    "IS_XMLCONCAT": "xmlconcat",
    "IS_XMLELEMENT": "xmlelement",
    "IS_XMLFOREST": "xmlforest",
    "IS_XMLPARSE": "xmlparse",
    "IS_XMLPI": "xmlpi",
    "IS_XMLROOT": "xmlroot",
}
_SUBLINKS = {"EXISTS_SUBLINK": "exists", "ARRAY_SUBLINK": "array"}


def label(node: Node | None) -> str:
    """Of an expression; "?column?" where PostgreSQL finds none."""
    return _label(node) or _fallback(node) or NONE


def _label(node: Node | None) -> str:
    """A name that stands against that of a cast or CASE around it; "" for none."""
    while node:
        name, fields = next(iter(node.items()))
        fixed = _FIXED.get(name)
        if fixed is not None:
            return fixed
        if name == "A_Indirection":
            found = (strings(fields.get("indirection", [])) or [""])[-1]
            if found:
                return found
        elif name == "CaseExpr":
            node = fields.get("defresult")
            continue
        elif name not in {"CollateClause", "TypeCast"}:
            return _OF[name](fields) if name in _OF else ""
        node = fields.get("arg")
    return ""


def _fallback(node: Node | None) -> str:
    """The type of the outermost cast, or "case"."""
    while node:
        name, fields = next(iter(node.items()))
        if name == "TypeCast":
            return (strings(fields.get("typeName", {}).get("names", [])) or [""])[-1]
        if name == "CaseExpr":
            return "case"
        if name not in {"A_Indirection", "CollateClause"}:
            return ""
        node = fields.get("arg")
    return ""


def _sublink(fields: Node) -> str:
    kind = fields.get("subLinkType", "")
    if kind != "EXPR_SUBLINK":
        return _SUBLINKS.get(kind, "")
    select = fields.get("subselect", {}).get("SelectStmt", {})
    while "larg" in select:
        select = select["larg"]
    targets = select.get("targetList")
    if not targets:
        return "column1" if "valuesLists" in select else ""
    target = targets[0].get("ResTarget", {})
    return target.get("name") or label(target.get("val"))


_OF: dict[str, Callable[[Node], str]] = {
    "ColumnRef": lambda fields: (strings(fields.get("fields", [])) or [""])[-1],
    "FuncCall": lambda fields: (strings(fields.get("funcname", [])) or [""])[-1],
    "SubLink": _sublink,
    "A_Expr": lambda fields: "nullif" if fields.get("kind") == "AEXPR_NULLIF" else "",
    "MinMaxExpr": lambda fields: "least" if fields.get("op") == "IS_LEAST" else "greatest",
    "SQLValueFunction": lambda fields: str(fields.get("op", "")).removeprefix("SVFOP_").removesuffix("_N").lower(),
    "XmlExpr": lambda fields: _XML.get(fields.get("op", ""), ""),
    "JsonFuncExpr": lambda fields: JSON.get(fields.get("op", ""), ""),
}
