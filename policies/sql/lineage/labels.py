"""The name that PostgreSQL gives to an output column without AS (FigureColname of parse_target.c)."""

from __future__ import annotations

from onrecord.policies.sql.lineage.values import Node, strings

NONE = "?column?"

_FIXED = {
    "CoalesceExpr": "coalesce",
    "RowExpr": "row",
    "A_ArrayExpr": "array",
    "GroupingFunc": "grouping",
    "MergeSupportFunc": "merge_action",
    "XmlSerialize": "xmlserialize",
    "JsonParseExpr": "json",
    "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize",
    "JsonObjectConstructor": "json_object",
    "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array",
    "JsonObjectAgg": "json_objectagg",
    "JsonArrayAgg": "json_arrayagg",
}
_XML = {
    "IS_XMLCONCAT": "xmlconcat",
    "IS_XMLELEMENT": "xmlelement",
    "IS_XMLFOREST": "xmlforest",
    "IS_XMLPARSE": "xmlparse",
    "IS_XMLPI": "xmlpi",
    "IS_XMLROOT": "xmlroot",
}
_JSON = {"JSON_EXISTS_OP": "json_exists", "JSON_QUERY_OP": "json_query", "JSON_VALUE_OP": "json_value"}
_SUBLINKS = {"EXISTS_SUBLINK": "exists", "ARRAY_SUBLINK": "array"}


def label(node: Node | None) -> str:
    """Of an expression; "?column?" where PostgreSQL finds no better one."""
    return _label(node) or NONE


def _label(node: Node | None) -> str:  # noqa: PLR0911
    while node:
        name, fields = next(iter(node.items()))
        if name in _FIXED:
            return _FIXED[name]
        if name == "ColumnRef":
            return (strings(fields.get("fields", [])) or [""])[-1]
        if name == "FuncCall":
            return strings(fields.get("funcname", []))[-1]
        if name == "TypeCast":
            found = _label(fields.get("arg"))
            return found or (strings(fields.get("typeName", {}).get("names", [])) or [""])[-1]
        if name == "A_Indirection":
            found = (strings(fields.get("indirection", [])) or [""])[-1]
            if found:
                return found
            node = fields.get("arg")
        elif name == "CollateClause":
            node = fields.get("arg")
        elif name == "CaseExpr":
            return _label(fields.get("defresult")) or "case"
        elif name == "SubLink":
            return _sublink(fields)
        elif name == "A_Expr":
            return "nullif" if fields.get("kind") == "AEXPR_NULLIF" else ""
        elif name == "MinMaxExpr":
            return "least" if fields.get("op") == "IS_LEAST" else "greatest"
        elif name == "SQLValueFunction":
            return str(fields.get("op", "")).removeprefix("SVFOP_").removesuffix("_N").lower()
        elif name == "XmlExpr":
            return _XML.get(fields.get("op", ""), "")
        elif name == "JsonFuncExpr":
            return _JSON.get(fields.get("op", ""), "")
        else:
            return ""
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
