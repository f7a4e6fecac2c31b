"""From analysed statements to the commands that are decided and recorded; what the shim itself refuses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from onrecord.policies.model import Action, NameSet, Session, SqlCommand
from onrecord.policies.redaction import MARK
from onrecord.policies.sql import SqlError, Statement, analyse, blank_literals, command_of, redact_unparsed
from onrecord.shims.postgres.startup import PINNED, pinned_value

PROTOCOL, UNKNOWN = "onrecord:protocol", "onrecord:unknown"
INSUFFICIENT_PRIVILEGE, NOT_SUPPORTED = "42501", "0A000"

_RANK: dict[Action, int] = {"read": 0, "write": 1, "admin": 2, "unknown": 3}
_DETAIL_TAIL = b'"parameters":null,"role":""}'
_CACHED_TEXTS = 128
_CACHED_LENGTH = 8192
# Beside the pinned settings: they change who runs a statement or how its text reads.
_FORBIDDEN = frozenset({*PINNED, "names", "role", "session_authorization", "backslash_quote", "transform_null_equals"})

_encode = msgspec.json.Encoder().encode


class Refusal(NamedTuple):
    """Why the shim itself refuses a statement, whatever policies say."""

    reason: str
    hint: str = ""
    policy: str = PROTOCOL
    sqlstate: str = INSUFFICIENT_PRIVILEGE


@dataclass(eq=False, slots=True)
class Template:
    """One statement of one session: its command without parameters, its detail as JSON, and what is special."""

    command: SqlCommand
    refusal: Refusal | None = None
    reasons: tuple[str, ...] = ()
    prepares: str | None = None
    executes: str | None = None
    deallocates: str | None = None
    copy: str = ""
    detail_head: bytes = b""
    detail_tail: bytes = b""
    detail: bytes = b""
    special: bool = False
    secret_parameters: tuple[int, ...] = ()

    def bound(self, parameters: tuple[str | None, ...]) -> tuple[SqlCommand, bytes]:
        """The command with bind values, and its detail: there, values that are secrets are not in clear."""
        command = msgspec.structs.replace(self.command, parameters=parameters)
        if self.secret_parameters:
            secret = self.secret_parameters
            parameters = tuple([MARK if i in secret else value for i, value in enumerate(parameters, 1)])
        return command, b"".join((self.detail_head, b'"parameters":', _encode(parameters), self.detail_tail))


@dataclass(eq=False, slots=True)
class Prepared:
    """A prepared statement: its template (None: it does nothing), parameter types and result columns, if known."""

    template: Template
    types: tuple[int, ...] = ()
    columns: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class Templates:
    """Makes and keeps the templates of one session. Analysis is cached beyond it; verdicts never are."""

    session: Session
    role: str
    _cache: dict[str, tuple[Template, ...]] = field(default_factory=dict)

    def of(self, text: str) -> tuple[Template, ...]:
        """One template a statement of `text`; for blank text one of kind EMPTY. Never raises for bad SQL."""
        found = self._cache.get(text)
        if found is None:
            found = self._make(text)
            if len(text) <= _CACHED_LENGTH:
                if len(self._cache) >= _CACHED_TEXTS:
                    self._cache.clear()
                self._cache[text] = found
        return found

    def _make(self, text: str) -> tuple[Template, ...]:
        try:
            analysis = analyse(text)
        except SqlError as error:
            reason = f"the statement cannot be analysed: {error}"
            return (self.opaque(redact_unparsed(text), "UNKNOWN", Refusal(reason, policy=UNKNOWN)),)
        if not analysis.statements:
            return (self.plain(text, "EMPTY", "read"),)
        return tuple(self._template(statement) for statement in analysis.statements)

    def plain(self, text: str, kind: str, action: Action) -> Template:
        """A template of something that is no statement of the grammar."""
        command = SqlCommand(session=self.session, action=action, text=text, kind=kind, role=self.role)
        return _with_detail(Template(command), _encode(command.detail()))

    def opaque(self, text: str, kind: str, refusal: Refusal) -> Template:
        """A template of something that the shim refuses."""
        template = self.plain(text, kind, "unknown")
        template.refusal = refusal
        return template

    def _template(self, statement: Statement) -> Template:
        command = command_of(statement, self.session, role=self.role)
        template = Template(
            command,
            refusal=refusal_of(statement),
            reasons=statement.reasons,
            prepares=statement.prepares,
            executes=statement.executes,
            deallocates=statement.deallocates,
            copy=statement.copy,
            secret_parameters=statement.secret_parameters,
        )
        template.special = (template.prepares or template.executes or template.deallocates) is not None
        return _with_detail(template, statement.detail_json, self.role)

    def executing(self, template: Template, prepared: Prepared | None) -> Template:
        """An EXECUTE as what it runs: the stronger action, the kind and all objects of the prepared statement."""
        if prepared is None:
            missing = Refusal("there is no prepared statement of this name", "prepare it first", sqlstate="26000")
            return dataclasses.replace(template, refusal=template.refusal or missing)
        outer, inner = template.command, prepared.template.command
        own = _own_actions(template)
        text = blank_literals(outer.text) if prepared.template.secret_parameters else outer.text
        command = SqlCommand(
            session=self.session,
            action=max(inner.action, *own, key=_RANK.__getitem__),
            also_admin=inner.also_admin or "admin" in own or inner.action == "admin",
            text=f"{text} /* {inner.text} */",
            kind=inner.kind,
            tables_read=NameSet(outer.tables_read | inner.tables_read),
            tables_written=NameSet(outer.tables_written | inner.tables_written),
            columns_read=NameSet(outer.columns_read | inner.columns_read),
            functions=NameSet(outer.functions | inner.functions),
            foreign_tables=NameSet(outer.foreign_tables | inner.foreign_tables),
            has_where=inner.has_where,
            role=self.role,
        )
        refusal = template.refusal or prepared.template.refusal
        if prepared.template.special:
            refusal = refusal or Refusal("EXECUTE of a statement that itself changes or runs prepared statements")
        secret = template.secret_parameters  # of EXECUTE p($1); what the prepared text binds stands in its own text
        resolved = Template(command, refusal=refusal, executes=template.executes, secret_parameters=secret)
        return _with_detail(resolved, _encode(command.detail()))


def _own_actions(template: Template) -> set[Action]:
    """What a statement with EXECUTE does beside it: its arguments may call anything, and it may create a table."""
    found: set[Action] = {"read" if template.command.kind == "EXECUTE" else "write"}
    for reason in template.reasons:
        action, _, what = reason.partition(": ")
        if action in _RANK and not what.startswith("EXECUTE ("):
            found.add(action)
    return found


def _with_detail(template: Template, detail: bytes, role: str = "") -> Template:
    if role and detail.endswith(_DETAIL_TAIL):
        template.detail_head = detail[: -len(_DETAIL_TAIL)]
        template.detail_tail = b',"role":' + _encode(role) + b"}"
    else:
        fields = template.command.detail()
        del fields["parameters"]
        head = _encode(fields)
        template.detail_head, template.detail_tail = head[:-1] + b",", b"}"
    template.detail = template.detail_head + b'"parameters":null' + template.detail_tail
    return template


def refusal_of(statement: Statement) -> Refusal | None:
    """What the shim refuses in every mode: what it cannot decode, and settings that would change how SQL reads."""
    for name, value in statement.settings:
        if name in {"?", ""}:
            return Refusal("the text does not say which setting it changes", "use SET with the name of the setting")
        if name not in _FORBIDDEN or value is None:  # back to what the gateway chose when it connected
            continue
        if not pinned_value(name, value):
            return Refusal(f"the setting {name} may not change in a session through the gateway")
    return None
