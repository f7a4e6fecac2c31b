"""The relation whose rows a condition chooses, and whether an expression says anything of its row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from onrecord.policies.sql.constants import operator_name

Node = dict[str, Any]


class Target(NamedTuple):
    """The relation whose rows a condition chooses: the name it has there, and its own.

    `twins` are the names under which FROM joins the same relation once more; `ctes` the queries of WITH.
    """

    alias: str
    relation: str
    twins: frozenset[str] = frozenset()
    ctes: Mapping[str, Node] = {}


def target_of(fields: Node) -> Target:
    """The relation that an UPDATE, DELETE or MERGE writes, under the name that it has in conditions."""
    relation = fields.get("relation", {})
    name = relation.get("relname", "")
    sources = [*fields.get("fromClause", []), *fields.get("usingClause", [])]
    if "sourceRelation" in fields:
        sources.append(fields["sourceRelation"])
    ctes = [cte["CommonTableExpr"] for cte in fields.get("withClause", {}).get("ctes", [])]
    return Target(
        relation.get("alias", {}).get("aliasname") or name,
        name,
        twins_of(sources, name),
        {cte["ctename"]: cte.get("ctequery", {}).get("SelectStmt", {}) for cte in ctes},
    )


def twins_of(sources: list[Node], name: str) -> frozenset[str]:
    found: set[str] = set()
    stack = list(sources)
    while stack:
        for kind, fields in stack.pop().items():
            if kind == "JoinExpr":
                stack += [fields[side] for side in ("larg", "rarg") if side in fields]
            elif kind == "RangeVar" and fields.get("relname") == name:
                found.add(fields.get("alias", {}).get("aliasname") or name)
    return frozenset(found)


def linked(node: Node, target: Target | None) -> str:
    """The twin whose row is this very row by `orders.id = twin.id`; "" where the condition is another."""
    if target is None or not target.twins:
        return ""
    fields = node.get("A_Expr", {})
    if operator_name(fields) != "=" or fields.get("kind") != "AEXPR_OP":
        return ""
    left, right = column_of(fields.get("lexpr")), column_of(fields.get("rexpr"))
    if len(left) == 2 and len(right) == 2 and left[1] == right[1]:
        for one, other in ((left[0], right[0]), (right[0], left[0])):
            if one == target.alias and other in target.twins:
                return other
    return ""


def column_of(node: Node | None) -> list[str]:
    """The parts of a column's name, at most the last two."""
    parts = (node or {}).get("ColumnRef", {}).get("fields", [])
    return [str(part.get("String", {}).get("sval", "")) for part in parts[-2:]]


def mentions_row(node: Any, target: Target | None = None) -> bool:
    """Whether a column of the target or the cursor's row may be named below; `*` alone (EXISTS (SELECT * …)) is not.

    In a subquery with a FROM, a column without a relation's name is taken for the subquery's own: whoever refers to the
    target from there must say so (`orders.id`).
    """
    stack: list[tuple[Any, bool, bool]] = [(node, False, False)]
    while stack:
        item, inner, hidden = stack.pop()
        if isinstance(item, list):
            stack.extend((value, inner, hidden) for value in item)
        elif isinstance(item, dict):
            if "CurrentOfExpr" in item:
                return True
            column = item.get("ColumnRef")
            if column is not None and _of_target(column.get("fields", []), target, inner=inner, hidden=hidden):
                return True
            sources = item.get("fromClause") if target is not None else None
            if sources:
                inner, hidden = True, hidden or (target is not None and _names_alias(sources, target.alias))
            stack.extend((value, inner, hidden) for value in item.values() if isinstance(value, dict | list))
    return False


def _names_alias(sources: list[Node], name: str) -> bool:
    """Whether FROM brings in a relation under `name`, which then hides the target's."""
    stack: list[Node] = list(sources)
    while stack:
        for kind, fields in stack.pop().items():
            if kind == "JoinExpr":
                stack += [fields[side] for side in ("larg", "rarg") if side in fields]
            elif isinstance(fields, dict):
                alias = fields.get("alias", {}).get("aliasname") or fields.get("relname")
                if alias == name:
                    return True
    return False


def _of_target(fields: list[Node], target: Target | None, *, inner: bool, hidden: bool) -> bool:
    if not fields or "A_Star" in fields[-1]:
        return False
    if target is None:
        return True
    if len(fields) < 2:
        return not inner
    return not hidden and fields[-2].get("String", {}).get("sval") == target.alias
