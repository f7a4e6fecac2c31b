"""What an approval of a statement binds to, and how a client that waits is told. No I/O."""

from __future__ import annotations

import datetime
import hashlib
import time
from dataclasses import dataclass

from onrecord.policies.model import SqlCommand
from onrecord.policies.redaction import MARK
from onrecord.policies.sql.catalog import Catalog
from onrecord.policies.sql.errors import SqlError
from onrecord.policies.sql.parser import parse
from onrecord.recordings.approvals.bound import DATA, Bound, Recheck, Together
from onrecord.recordings.decision import Waiting
from onrecord.shims.postgres.commands import Template
from onrecord.shims.postgres.messages import encode_notice

_CHANGES = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
_SESSION = "what earlier statements of the session left behind (settings, temporary tables, the open transaction)"
_BODIES = "the bodies of functions, triggers and rules that it sets in motion"
_SECRETS = "the secret values in it, which are not shown"
_COPIED = "the data that the client sends for COPY"


@dataclass(slots=True)
class Binding:
    """Makes the Bound of one statement where it turns out to be held."""

    template: Template
    command: SqlCommand
    recheck: Recheck
    together: Together | None = None
    large: bool = False
    catalog: Catalog | None = None
    deferred: bool = False

    def __call__(self) -> Bound:
        template = self.template
        secret = bool(template.secret_parameters) or MARK in self.command.text
        copied = template.copy == "in"
        unbound = [DATA, _SESSION, _BODIES]
        unbound += [_SECRETS] if secret else []
        unbound += [_COPIED] if copied else []
        return Bound(
            exact=not (secret or copied or self.large or template.fetches is not None),
            rests_on=definitions(template, self.catalog),
            unbound=tuple(unbound),
            recheck=self.recheck,
            limits_rows=self.together is None and _counts_rows(template, self.command.text),
            together=self.together,
            deferred=self.deferred,
        )


def definitions(template: Template, catalog: Catalog | None) -> tuple[tuple[str, str], ...]:
    """Digests of the views and functions in SQL that a statement rests on, as far as the catalog tells.

    And which tables its names stand for: another one may be renamed to a name that was approved.
    """
    if catalog is None:
        return ()
    names = {name for statement in template.statements for name in (*statement.tables_read, *statement.tables_written)}
    mentions = {name for statement in template.statements for name in statement.mentions}
    found = [
        (f"view {relation.full_name}", _digest(relation.definition))
        for relation in catalog.relations
        if relation.definition and (relation.full_name in names or relation.name in mentions)
    ]
    found += [
        (f"table {relation.full_name}", f"oid:{relation.oid}")
        for relation in catalog.relations
        if not relation.definition and relation.full_name in names
    ]
    for function in catalog.functions:
        if function.name in mentions:
            what = f"function {function.schema}.{function.name}({', '.join(function.arguments)})"
            facts = (function.body, function.language, function.volatility, str(function.security_definer))
            found.append((what, _digest("\0".join(facts))))
    return tuple(sorted(found))


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _counts_rows(template: Template, text: str) -> bool:
    """Whether the command tag alone tells the rows: one plain change, of which no row comes to the client."""
    if template.special or template.tracked or template.copy or len(template.statements) != 1:
        return False
    try:
        (statement,) = parse(text)
        ((node, fields),) = statement["stmt"].items()
    except (SqlError, KeyError, ValueError, AttributeError):
        return False
    returns = fields.get("returningList") or fields.get("returningClause") or fields.get("withClause")
    return node in _CHANGES and not returns


def waiting_notice(waiting: Waiting) -> bytes:
    """The NoticeResponse to a client whose statement waits."""
    who = f" by {waiting.approvers}" if waiting.approvers else ""
    left = datetime.timedelta(seconds=max(0, round(waiting.expires_at - time.time())))
    since = f", since {datetime.timedelta(seconds=round(waiting.waited))}" if waiting.waited else ""
    return encode_notice(
        "01000",
        f"onrecord: waiting for approval {waiting.approval}{who}{since}: {waiting.reason}",
        detail=f"It expires in {left}. The statement has not run; cancel it to take it back.",
        hint=f"onrecord approve {waiting.approval}",
    )
