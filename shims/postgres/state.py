"""What a session has done to itself that changes how its next statements are understood. Pure.

Everything counts from the moment it is sent: whether it succeeded is known only later. So the schemas of search_path
add up, and what a session has created, altered or dropped means nothing certain until its transaction has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from onrecord.policies.sql import Statement
from onrecord.policies.sql.lexer import newer_numbers
from onrecord.shims.postgres.settings import (
    MAX_SCHEMAS,
    ROLES,
    PathError,
    fields_of,
    is_local,
    paths_of,
    reads_differently,
)

EVERYTHING = "*"
_ENDS = frozenset({"commit", "rollback", "prepare", "commit prepared", "rollback prepared"})
_RUNS_CODE = frozenset({"DoStmt", "CallStmt"})
_TEMPORARY = frozenset({"pg_temp"})
_MAX_NAMES = 10_000


class Names(Protocol):
    """Who else must know of names that are changing: see CatalogSource."""

    def announce(self, names: Iterable[str]) -> None: ...

    def withdraw(self, names: Iterable[str]) -> None: ...

    def changed(self) -> None: ...

    def may_have_changed(self) -> None: ...

    @property
    def unsettled(self) -> Iterable[str]: ...


class Before:
    """What the statements of a text change for those behind them: `altering` a setting, `touched` names."""

    __slots__ = ("altering", "touched")

    def __init__(self, statements: Iterable[Statement] = ()) -> None:
        self.altering = ""
        self.touched: set[str] = set()
        for statement in statements:
            self.add(statement)

    def add(self, statement: Statement) -> None:
        """One more."""
        self.altering = self.altering or altering_setting(statement)
        if statement.ddl:
            self.touched.update(statement.creates)


NOTHING_BEFORE = Before()


class SessionState:
    """`path` is the union of all search paths that may be in force. `version` differs when any answer may."""

    def __init__(self, user: str, source: Names | None = None) -> None:
        self._user, self._source = user, source
        self.path: tuple[str, ...] = ("public",)
        self.role = user
        self.version = 0
        self.old_numbers = False  # the server is one that reads 1_000 as 1 and the name _000
        self.altered = ""  # the setting that was changed so that SQL may read in another way
        self._follows_role = False  # "$user" is in a path
        self._temporary_first = False
        self._touched: set[str] = set()
        self._temporary: set[str] = set()
        self._announced: list[str] = []
        self._dirty = self._for_certain = False  # there was DDL; it was no mere call of an unknown function
        self._segment = self._role_segment = 0  # of the last DDL, of the last change of the role
        self._discard_segment = self._temporary_segment = -1
        self._roles: set[str] = set()  # that were set in this session
        self._settled_role = user
        self._session_user_kept = True
        self._next_role: str | None = None
        self._failed = self._role_in_doubt = self._drops_temporary = False
        self._status = "I"

    # ------------------------------------------------------------------ what holds for a statement

    def begin(self, path: tuple[str, ...]) -> None:
        """The path that the client asked for at the start."""
        self._follows_role = "$user" in path
        self.path = self.extended([path])
        self.version += 1

    def extended(self, paths: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
        """`path` with those of `paths`. Raises PathError where that is too much."""
        found = dict.fromkeys(self.path)
        for path in paths:
            for i, name in enumerate(path):
                if name == "$user":
                    found.update(dict.fromkeys((self._user, *sorted(self._roles))))
                elif name not in _TEMPORARY and not (name == "pg_catalog" and i == 0):
                    found[name] = None  # pg_catalog behind another schema: that one may stand in for built-ins
        if len(found) > MAX_SCHEMAS:
            raise PathError(f"the session's search paths name more than {MAX_SCHEMAS} schemas")
        return tuple(found)

    def uncertain(self, statement: Statement, before: Before = NOTHING_BEFORE) -> str:
        """Why the statement is unknown here, behind those of its text that made `before`; "" where it is not."""
        if "?" in self._roles and self._follows_role:
            return "search_path follows a role that the text did not tell"
        if self.altered:
            return f"{self.altered} was changed in this session, so that SQL may read in another way"
        if self.old_numbers and newer_numbers(statement.text):
            return "a server before PostgreSQL 15 reads its numbers as numbers and names"
        if before.altering:
            return f"{before.altering} is changed before it"
        mentions = statement.mentions
        if not mentions or self._source is None:  # without a catalog all names are taken as the text gives them
            return ""
        if EVERYTHING in before.touched or EVERYTHING in self._touched:
            return "the session has changed names that its text did not tell, and not committed yet"
        found = (before.touched & mentions) | (self._touched & mentions)
        if found:
            return f"{min(found)} was created or changed in this session and is not committed yet"
        found = self._temporary & mentions
        if found or EVERYTHING in self._temporary:
            return f"{min(found, default='any name')} may be a temporary object of this session"
        return ""

    @property
    def may_hide(self) -> bool:
        """Whether the session may have relations that no catalog shows, under any name."""
        return bool(self.altered or EVERYTHING in self._touched or self._temporary or self._temporary_first)

    def contested(self, statement: Statement) -> str:
        """A name that another session is changing at this moment; "" for none."""
        source = self._source
        if source is None or not source.unsettled or not statement.mentions:
            return ""
        return min(statement.mentions.intersection(source.unsettled), default="")

    # ------------------------------------------------------------------ what was sent

    def sending(self, statements: Iterable[Statement], segment: int) -> None:
        """The statements go to the server now, in the segment (see Namespace). Raises nothing: they were admitted."""
        for statement in statements:
            if statement.settings:
                self._set(statement, segment)
            if statement.node == "DiscardStmt":
                self._discard_segment = segment
            if statement.ddl:
                self._touch(statement, segment)
            if statement.transaction in _ENDS and self._dirty:
                self._announce(self._touched)

    def _set(self, statement: Statement, segment: int) -> None:
        altering = altering_setting(statement)
        if altering and not self.altered:
            self.altered = altering
            self.version += 1
        roles = [value for name, value in statement.settings if name in ROLES]
        if roles:
            self.role, self._next_role, self._role_segment = "?", None, segment
            self._roles.update(value for value in roles if value and value != "none")
            self.version += 1
        try:
            paths = paths_of(statement)
            self._follows_role |= any("$user" in path for path in paths)
            self._temporary_first |= any(_TEMPORARY & set(path) for path in paths)
            path = self.extended([*paths, ("$user",)] if self._follows_role else paths)
        except PathError:
            self.altered = self.altered or "search_path"
            self.version += 1
            return
        if path != self.path:
            self.path = path
            self.version += 1

    def _touch(self, statement: Statement, segment: int) -> None:
        self._segment, self._dirty = segment, True
        if self.altered:
            return  # all is unknown anyway
        names = set(statement.creates) if statement.node != "IndexStmt" else set()  # it changes no table's meaning
        self._for_certain |= EVERYTHING not in names or statement.node in _RUNS_CODE
        if statement.node != "DiscardStmt" and (statement.temporary or self._temporary_first):
            self._temporary_segment = segment
            if not names <= self._temporary:
                self._temporary = _bounded(self._temporary | names)
                self.version += 1
        if not names <= self._touched:
            self._touched = _bounded(self._touched | names)
            self.version += 1
        if self._status != "T" and statement.node != "AlterTableStmt":  # it may commit by itself; others wait for locks
            self._announce(names)

    def _announce(self, names: Iterable[str]) -> None:
        if self._source is not None:
            fresh = [name for name in names if name != EVERYTHING]
            self._announced += fresh
            self._source.announce(fresh)

    # ------------------------------------------------------------------ what the server answered

    def completed(self, statements: Iterable[Statement], tag: str) -> None:
        """CommandComplete of a command."""
        for statement in statements:
            if statement.transaction in _ENDS:
                if tag.startswith("ROLLBACK"):
                    self._failed = True
                self._tell()  # COMMIT AND CHAIN is followed by no ReadyForQuery with "I"
            elif statement.transaction == "rollback to":
                self._role_in_doubt = True
            elif statement.node == "DiscardStmt":
                self._drops_temporary = fields_of(statement).get("target") in {"DISCARD_ALL", "DISCARD_TEMP"}
                if ("*", None) in statement.settings and self._roles:
                    self._next_role, self._session_user_kept = self._user, True
            for name, value in statement.settings:
                if name in ROLES:
                    self._role_done(statement, name, value)

    def _role_done(self, statement: Statement, name: str, value: str | None) -> None:
        own = value in (None, "none")
        self._session_user_kept &= name == "role"
        if is_local(statement) or name != "role" or value == "?" or (own and not self._session_user_kept):
            self._role_in_doubt = True
        else:
            self._next_role = self._user if own else value

    def reported(self, setting: str) -> None:
        """The server says that a setting has a value under which SQL reads in another way."""
        if not self.altered:
            self.altered = setting
            self.version += 1

    def failed(self) -> None:
        """A command of the session failed."""
        self._failed = True

    def ready(self, status: str, segment: int) -> None:
        """ReadyForQuery with its transaction status, which answers the segment."""
        self._status = status
        if self._announced and self._source is not None:
            self._source.withdraw(self._announced)
            self._announced = []
        if status != "I":
            return
        if self._dirty:
            self._tell()
            if segment >= self._segment:
                self._dirty = self._for_certain = False
                if self._touched:
                    self._touched = set()
                    self.version += 1
        certain = not self._failed and not self._role_in_doubt
        if self._drops_temporary and certain and self._temporary_segment < self._discard_segment and self._temporary:
            self._temporary = set()
            self.version += 1
        if segment >= self._role_segment:
            self._settle_role()
        self._failed = self._role_in_doubt = self._drops_temporary = False

    def _settle_role(self) -> None:
        """The transaction has ended: which role holds now."""
        if self._role_in_doubt:
            role = "?"
        elif self._failed or self._next_role is None:
            role = self._settled_role
        else:
            role = self._next_role
        self._next_role = None
        self._settled_role = role
        if role != self.role:
            self.role = role
            self.version += 1

    def _tell(self) -> None:
        if self._dirty and self._source is not None:
            if self._for_certain:
                self._source.changed()
            else:
                self._source.may_have_changed()

    def close(self) -> None:
        """The session has ended: what it had under way is rolled back, or has happened."""
        if self._source is not None:
            self._source.withdraw(self._announced)
            self._tell()
        self._announced, self._dirty = [], False


def altering_setting(statement: Statement) -> str:
    """The setting that the statement changes so that SQL may read in another way; "" for none."""
    for name, value in statement.settings:
        if name in {"?", ""}:
            return "a setting that the text does not name"
        if reads_differently(name, value):
            return name
    return ""


def _bounded(names: set[str]) -> set[str]:
    return names if len(names) <= _MAX_NAMES else {EVERYTHING}
