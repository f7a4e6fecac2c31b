"""What analysis says of SQL text: frozen, shared between sessions through the cache."""

from __future__ import annotations

import functools
from typing import Literal

import msgspec

from onrecord.policies.model import Action, NameSet

CopyMode = Literal["", "in", "out", "file", "program"]

_EMPTY = NameSet()


class Statement(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One statement of a text.

    - `text`: its slice of the text, password literals replaced by `'[redacted]'`.
    - `kind`: the first word of the command tag. Where data-modifying statements hide inside (EXPLAIN ANALYZE, PREPARE,
      WITH, COPY (…)), the strongest of them: DELETE, UPDATE, MERGE, INSERT. A MERGE that can delete is a DELETE.
    - `action`: read < write < admin < unknown; the strongest of all parts. `reasons` say why it is not plain.
    - `actions`: those of all parts. A statement with an admin and an unknown part has the action unknown; where unknown
      is allowed and admin is not, only this tells.
    - `tables_read`, `tables_written`: `schema.table`. A bare name stands for each schema of the search path.
    - `columns_read`: `schema.table.column`; `schema.table.*` for whole rows; `*.column` where the relation is unknown.
    - `functions`: `name` for built-ins, `schema.name` where the text says a schema.
    - `foreign_tables`: those of the tables above that are foreign, as far as a catalog tells.
    - `has_where`: every UPDATE, DELETE and deleting or updating MERGE has a condition that depends on the row; without
      any of those, whether the statement's own SELECT has one.
    - `node`: the parser's node name.
    - `transaction`: "begin", "commit", "rollback", "savepoint", "release", "rollback to", "prepare",
      "commit prepared", "rollback prepared", or "".
    - `settings`: names (lower case) with the new value, None for DEFAULT; ("*", None) for RESET ALL and DISCARD ALL;
      ("?", None) where the text does not say which setting changes.
    - `absent`: why, where the only cause of `unknown` is that the catalog lacks a relation; `otherwise` is then what
      the statement is if there really is none of that name, so that the server answers with an error.
    - `prepares`, `executes`, `deallocates`: SQL-level prepared statement names; `deallocates` "*" for ALL.
    - `parameters`: the highest `$n`; `secret_parameters`: those whose values must not be recorded.
    - `loses`: what ALTER would destroy, such as "column public.orders.note" or "values of column public.orders.note".
    - `ddl`: it may change what a Catalog holds; DO, CALL and whatever is unknown may. EXECUTE is left out: it is what
      its prepared statement is.
    - `creates`: bare names of the relations, functions, types, operators and schemas that it creates, alters, renames
      from or to, or drops; "*" where the text does not say.
    - `temporary`: it makes, names or drops objects of pg_temp; DISCARD ALL and TEMP drop all, with no `creates`.
    - `mentions`: bare names of all relations, functions, operators and types that it refers to, through views and
      functions as far as a catalog tells.
    """

    text: str
    kind: str
    action: Action
    node: str
    actions: frozenset[Action] = frozenset()
    tables_read: NameSet = _EMPTY
    tables_written: NameSet = _EMPTY
    columns_read: NameSet = _EMPTY
    functions: NameSet = _EMPTY
    foreign_tables: NameSet = _EMPTY
    has_where: bool = False
    reasons: tuple[str, ...] = ()
    transaction: str = ""
    settings: tuple[tuple[str, str | None], ...] = ()
    copy: CopyMode = ""
    prepares: str | None = None
    executes: str | None = None
    deallocates: str | None = None
    parameters: int = 0
    secret_parameters: tuple[int, ...] = ()
    loses: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    otherwise: Action | None = None
    ddl: bool = False
    creates: tuple[str, ...] = ()
    temporary: bool = False
    mentions: frozenset[str] = frozenset()

    @functools.cached_property
    def shape(self) -> Statement | None:
        """The statement that this one differs from in nothing but the integers of its text; None where none is known.

        Of all such statements it is one and the same object.
        """
        return None

    @functools.cached_property
    def detail_json(self) -> bytes:
        """`SqlCommand.detail()` as JSON, with no parameters and no role."""
        return msgspec.json.encode(
            {
                "kind": self.kind,
                "tables_read": sorted(self.tables_read),
                "tables_written": sorted(self.tables_written),
                "columns_read": sorted(self.columns_read),
                "functions": sorted(self.functions),
                "foreign_tables": sorted(self.foreign_tables),
                "has_where": self.has_where,
                "parameters": None,
                "role": "",
            }
        )


class Analysis(msgspec.Struct, frozen=True):
    """All statements of one text, in order; empty for blank text and lone comments."""

    statements: tuple[Statement, ...]
