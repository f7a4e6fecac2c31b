"""From analysed statements to the commands that are decided and recorded; what the shim itself refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from onrecord.policies.model import Action, SqlCommand
from onrecord.policies.redaction import MARK
from onrecord.policies.sql import Statement
from onrecord.policies.sql.lineage import Lineage
from onrecord.policies.verdict import Ruling
from onrecord.shims.postgres.messages import Column

PROTOCOL, UNKNOWN = "onrecord:protocol", "onrecord:unknown"
INSUFFICIENT_PRIVILEGE, NOT_SUPPORTED = "42501", "0A000"

RANK: dict[Action, int] = {"read": 0, "write": 1, "admin": 2, "unknown": 3}
_DETAIL_TAIL = b'"parameters":null,"role":""}'

_encode = msgspec.json.Encoder().encode


class Refusal(NamedTuple):
    """Why the shim itself refuses a statement, whatever policies say."""

    reason: str
    hint: str = ""
    policy: str = PROTOCOL
    sqlstate: str = INSUFFICIENT_PRIVILEGE


@dataclass(eq=False, slots=True)
class Template:
    """One statement of one session: its command without parameters, its detail as JSON, and what is special.

    - `statements`: what analysis said of it, of the prepared statement or cursor behind an EXECUTE or FETCH too.
    - `prepares`, `executes`, `deallocates`: names of prepared statements; `declares`, `fetches`, `closes`: of cursors.
      `special`: any of them is there. `tracked`: it changes the state of the session.
    - `text`, `index`, `stamp`: where it came from and under which state of the session, to make it again;
      `inner` says that it is what a PREPARE of that text prepares.
    - `lineage`: of its result, where the session masks by column. `ruling`: of the masks, beside those of policies.
    """

    command: SqlCommand
    refusal: Refusal | None = None
    reasons: tuple[str, ...] = ()
    statements: tuple[Statement, ...] = ()
    prepares: str | None = None
    executes: str | None = None
    deallocates: str | None = None
    declares: str | None = None
    fetches: str | None = None
    closes: str | None = None
    copy: str = ""
    detail_head: bytes = b""
    detail_tail: bytes = b""
    detail: bytes = b""
    special: bool = False
    tracked: bool = False
    secret_parameters: tuple[int, ...] = ()
    lineage: Lineage | None = None
    ruling: Ruling | None = None
    text: str = ""
    index: int = 0
    inner: bool = False
    stamp: Any = None

    def bound(self, parameters: tuple[str | None, ...]) -> tuple[SqlCommand, bytes]:
        """The command with bind values, and its detail: there, values that are secrets are not in clear."""
        command = msgspec.structs.replace(self.command, parameters=parameters)
        if self.secret_parameters:
            secret = self.secret_parameters
            parameters = tuple([MARK if i in secret else value for i, value in enumerate(parameters, 1)])
        return command, b"".join((self.detail_head, b'"parameters":', _encode(parameters), self.detail_tail))

    def alike(self, statement: Statement, text: str) -> Template:
        """The template of `text`, whose `statement` differs in nothing but integers; for a template that is `plain`."""
        return Template(
            msgspec.structs.replace(self.command, text=statement.text),
            reasons=self.reasons,
            statements=(statement,),
            detail_head=self.detail_head,
            detail_tail=self.detail_tail,
            detail=self.detail,
            text=text,
            stamp=self.stamp,
        )

    @property
    def plain(self) -> bool:
        """Whether all that it has is what `alike` copies."""
        extra = self.refusal or self.copy or self.secret_parameters or self.lineage or self.ruling
        return not (extra or self.special or self.tracked or self.inner or self.index)


@dataclass(eq=False, slots=True)
class Prepared:
    """A prepared statement: its template (None: it does nothing), parameter types and result columns, if known."""

    template: Template
    types: tuple[int, ...] = ()
    columns: tuple[Column, ...] = ()


def with_detail(template: Template, detail: bytes, role: str = "") -> Template:
    """`template` with its detail: `detail` is that of its statement, as JSON."""
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


def own_detail(template: Template) -> Template:
    """`template` with the detail of its command."""
    return with_detail(template, _encode(template.command.detail()))
