"""An EXECUTE or FETCH as what it runs: the prepared statement or cursor behind its name. Pure."""

from __future__ import annotations

import dataclasses

from onrecord.policies.model import Action, NameSet, SqlCommand
from onrecord.policies.sql import blank_literals
from onrecord.policies.sql.lineage import Lineage
from onrecord.policies.sql.lineage.types import UNSURE
from onrecord.shims.postgres.commands import RANK, Prepared, Refusal, Template, own_detail

_FETCHING = frozenset({"FETCH", "MOVE"})
_PLAIN = frozenset({"ExecuteStmt", "FetchStmt"})
UNKNOWN_ROWS = Lineage(outputs=None)


def executing(template: Template, prepared: Prepared | None) -> Template:
    """The stronger action, the kind and all objects of what stands behind the name; None: there is nothing known."""
    if prepared is None:
        if template.fetches is not None:  # a cursor that a function opened, which was decided as that
            return dataclasses.replace(template, lineage=UNKNOWN_ROWS if template.lineage is not None else None)
        missing = Refusal("there is no prepared statement of this name", "prepare it first", sqlstate="26000")
        return dataclasses.replace(template, refusal=template.refusal or missing)
    inner = prepared.template
    own = _own_actions(template)
    text = blank_literals(template.command.text) if inner.secret_parameters else template.command.text
    refusal = template.refusal or inner.refusal
    if inner.special and template.executes is not None:
        refusal = refusal or Refusal("EXECUTE of a statement that itself changes or runs prepared statements")
    # Its secret parameters are those of EXECUTE p($1); what the prepared text binds stands in its own text.
    resolved = dataclasses.replace(
        template,
        command=_command(template.command, inner.command, own, text),
        refusal=refusal,
        reasons=(*template.reasons, *inner.reasons),
        statements=(*template.statements, *inner.statements),
        tracked=template.tracked or inner.tracked,
        lineage=_lineage(template, inner),
    )
    return own_detail(resolved)


def _command(outer: SqlCommand, inner: SqlCommand, own: set[Action], text: str) -> SqlCommand:
    return SqlCommand(
        session=outer.session,
        action=max(inner.action, *own, key=RANK.__getitem__),
        also_admin=inner.also_admin or "admin" in own or inner.action == "admin",
        text=f"{text} /* {inner.text} */",
        kind=outer.kind if outer.kind in _FETCHING else inner.kind,
        tables_read=NameSet(outer.tables_read | inner.tables_read),
        tables_written=NameSet(outer.tables_written | inner.tables_written),
        columns_read=NameSet(outer.columns_read | inner.columns_read),
        functions=NameSet(outer.functions | inner.functions),
        foreign_tables=NameSet(outer.foreign_tables | inner.foreign_tables),
        has_where=inner.has_where,
        role=outer.role,
    )


def _own_actions(template: Template) -> set[Action]:
    """What a statement with EXECUTE does beside it: its arguments may call anything, and it may create a table."""
    found: set[Action] = {"read" if template.command.kind in {"EXECUTE", *_FETCHING} else "write"}
    for reason in template.reasons:
        action, _, what = reason.partition(": ")
        if action in RANK and not what.startswith("EXECUTE ("):
            found.add(action)
    return found


def _lineage(template: Template, inner: Template) -> Lineage | None:
    """Of the rows that come out: those of `inner`; of CREATE TABLE AS EXECUTE and EXPLAIN EXECUTE, where they go."""
    if template.lineage is None or template.lineage is UNSURE:
        return template.lineage
    made = inner.lineage
    if made is not None and made.use in {"prepares", "declares"}:
        made = made.inner
    if made is None or made.use:
        return UNSURE
    if all(statement.node in _PLAIN for statement in template.statements):
        return made
    outputs = made.outputs or ()
    return Lineage(
        outputs=None,
        predicates=made.predicates,
        flows=made.flows.union(*(output.sources for output in outputs)),
        unsure_predicates=made.unsure_predicates,
        unsure_flows=made.unsure_flows or made.outputs is None or any(output.unsure for output in outputs),
    )


def merged(one: Template, other: Template) -> Template:
    """What a cursor may be that was declared twice: either of them."""
    command = _command(one.command, other.command, {one.command.action}, one.command.text)
    # What chooses and where it goes was judged at each DECLARE; only the rows may be either's.
    lineage = UNKNOWN_ROWS if one.lineage is not None or other.lineage is not None else None
    return own_detail(
        dataclasses.replace(
            one,
            command=command,
            refusal=one.refusal or other.refusal,
            reasons=(*one.reasons, *other.reasons),
            statements=(*one.statements, *other.statements),
            lineage=lineage,
            text="",  # it cannot be made again
        )
    )
