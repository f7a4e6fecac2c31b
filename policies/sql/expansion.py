"""The text of a view or of a function's body → what it does, by the same walk as a statement of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onrecord.policies.sql.errors import SqlError
from onrecord.policies.sql.facts import Facts, judged, merged
from onrecord.policies.sql.parser import parse
from onrecord.policies.sql.walker import Walker

if TYPE_CHECKING:
    from onrecord.policies.sql.known import Known
    from onrecord.policies.sql.trace import Trace

Node = dict[str, Any]

_SHAPES = (KeyError, IndexError, TypeError, AttributeError, ValueError, StopIteration, RecursionError)


def facts_of_text(text: str, names: Known, trace: Trace, *, standard: bool = False) -> Facts:
    """What the statements of `text` do. Raises SqlError where it cannot be read.

    `standard`: it is the body of a function as the SQL standard has it, RETURN … or BEGIN ATOMIC … END.
    """
    try:
        if standard:
            ((_, function),) = parse(f"CREATE FUNCTION f() RETURNS void LANGUAGE sql {text}")[0]["stmt"].items()
            statements = list(_statements(function["sql_body"]))
        else:
            statements = [entry["stmt"] for entry in parse(text)]
        return merged([_facts(statement, names, trace) for statement in statements])
    except _SHAPES as error:
        raise SqlError(f"the parser's tree has a shape that onrecord does not know: {type(error).__name__}") from error


def _statements(body: Any) -> list[Node]:
    """The statements in the lists that sql_body nests."""
    if isinstance(body, list):
        return [statement for item in body for statement in _statements(item)]
    if "List" in body:
        return _statements(body["List"].get("items", []))
    return [body] if body else []


def _facts(statement: Node, names: Known, trace: Trace) -> Facts:
    ((name, fields),) = statement.items()
    walker = Walker(names.path, names, trace)
    walker.run(name, fields)
    columns = walker.finish()
    facts = Facts(
        action=walker.action,
        actions=frozenset(walker.actions),
        reasons=tuple(walker.reasons),
        kind=walker.inner_kind(),
        read=frozenset(walker.read),
        written=frozenset(walker.written),
        columns=frozenset(columns),
        functions=frozenset(walker.functions),
        foreign=frozenset(walker.foreign),
        mentions=frozenset(walker.mentions),
        wheres=tuple(walker.wheres),
        settings=tuple(walker.settings),
        ddl=walker.ddl,
        creates=tuple(walker.creates),
        temporary=walker.temporary,
    )
    special = walker.transaction or walker.copy or walker.prepares or walker.executes or walker.deallocates
    if special is None or special == "":
        return facts
    return merged([facts, judged("unknown", "a statement that no function may hold")])
