"""Text → Analysis: parse, walk each statement, and remember the answer for the exact text.

The cache key is the whole text and the search_path: a fingerprint would let `SET ROLE a` answer for `SET ROLE b`.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from typing import Any, NamedTuple

from onrecord.policies.model import NameSet
from onrecord.policies.sql import queries, utility  # noqa: F401 - they register their handlers
from onrecord.policies.sql.catalog import Catalog
from onrecord.policies.sql.errors import SqlError, SqlTooLarge
from onrecord.policies.sql.known import known
from onrecord.policies.sql.literals import Literals
from onrecord.policies.sql.parser import SMALL, parse
from onrecord.policies.sql.redact import redact, secret_parameters, worth_a_look
from onrecord.policies.sql.statement import Analysis, Statement
from onrecord.policies.sql.walker import Walker

Node = dict[str, Any]
_Key = tuple[str, tuple[str, ...], int]

MAX_STATEMENTS = 2000  # of one text: each is a command of its own, decided and recorded before any of them runs
_ENTRIES = 4096
_BYTES = 16 * 1024 * 1024
_SPACE = " \t\n\r\f\v"  # PostgreSQL's: others, such as U+00A0, are letters to it


class _Cache:
    """Least recently used first out; bounded by entries and by an estimate of bytes."""

    def __init__(self, entries: int, size: int) -> None:
        self._entries = entries
        self._limit = size
        self._size = 0
        self._lock = threading.Lock()
        self._map: OrderedDict[_Key, tuple[Analysis, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._map)

    def get(self, key: _Key) -> Analysis | None:
        found = self._map.get(key)
        if found is not None:
            with contextlib.suppress(KeyError):  # another thread may have dropped it meanwhile
                self._map.move_to_end(key)
            return found[0]
        return None

    def put(self, key: _Key, analysis: Analysis) -> None:
        with self._lock:
            if key in self._map:
                return
            cost = _cost(key, analysis)
            self._map[key] = analysis, cost
            self._size += cost
            while len(self._map) > self._entries or self._size > self._limit:
                _, (_, cost) = self._map.popitem(last=False)
                self._size -= cost


def _cost(key: _Key, analysis: Analysis) -> int:
    """About what an entry takes, in bytes."""
    size = 512 + 4 * len(key[0])
    for statement in analysis.statements:
        names = (
            len(statement.tables_read)
            + len(statement.columns_read)
            + len(statement.functions)
            + len(statement.mentions)
        )
        size += 2048 + 4 * len(statement.text) + 256 * names
    return size


_cache = _Cache(_ENTRIES, _BYTES)
_literals = Literals()


def analyse(sql: str, *, search_path: tuple[str, ...] = ("public",), catalog: Catalog | None = None) -> Analysis:
    """What `sql` does, statement by statement. `search_path` is the session's, with "$user" already replaced, or all
    schemas of all paths that may be in force. `catalog` is what the database says of its own objects; without one, only
    what PostgreSQL brings along is known.

    Raises SqlError where the text does not parse, SqlTooLarge over the bounds. Never any other error.
    """
    serial = 0 if catalog is None else catalog.serial
    key = (sql, search_path, serial)
    found = _cache.get(key)
    if found is not None:
        return found
    alike = _literals.key(sql, search_path, serial)
    if alike is not None:
        found = _literals.get(alike, sql)
        if found is not None:
            return found
    try:
        raw = parse(sql)
        if len(raw) > MAX_STATEMENTS:
            raise SqlTooLarge(f"the text holds {len(raw)} statements; analysis takes at most {MAX_STATEMENTS}")
        analysis = Analysis(tuple(_statement(statement, search_path, catalog) for statement in _slices(sql, raw)))
    except RecursionError:
        raise SqlError("the text nests too deeply to be analysed") from None
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, StopIteration) as error:
        raise SqlError(f"the parser's tree has a shape that onrecord does not know: {type(error).__name__}") from error
    if alike is not None:
        _literals.put(alike, sql, analysis)
    if len(sql) <= SMALL:
        _cache.put(key, analysis)
    return analysis


class _Slice(NamedTuple):
    text: str
    name: str
    fields: Node
    offset: int  # of `text` in the whole, in bytes


def _slices(sql: str, raw: list[Node]) -> list[_Slice]:
    """Each statement of a text; libpg_query counts bytes."""
    data = None if sql.isascii() else sql.encode()
    found = []
    for entry in raw:
        start, length = entry.get("stmt_location", 0), entry.get("stmt_len", 0)
        end = start + length if length else None
        piece = sql[start:end] if data is None else data[start:end].decode()
        begins = piece.lstrip(_SPACE)
        name, fields = next(iter(entry["stmt"].items()))
        found.append(_Slice(begins.rstrip(_SPACE), name, fields, start + len(piece) - len(begins)))
    return found


def _statement(piece: _Slice, search_path: tuple[str, ...], catalog: Catalog | None) -> Statement:
    text, name, fields, offset = piece
    walker = Walker(search_path, None if catalog is None else known(catalog, search_path))
    walker.run(name, fields)
    columns = walker.finish()
    secrets = worth_a_look(text)
    action, absent = walker.action, tuple(walker.absent) if walker.action != "unknown" else ()
    if walker.absent:
        walker.raise_to("unknown", runs=False)
        walker.reasons[:0] = walker.absent[:16]
    kind = walker.kind if walker.keeps_kind or not walker.dml or walker.dml == walker.kind else ""
    return Statement(
        text=redact(text, {name: fields}, offset) if secrets else text,
        kind=kind or walker.dml,
        action=walker.action,
        actions=frozenset(walker.actions),
        node=name,
        tables_read=_names(walker.read),
        tables_written=_names(walker.written),
        columns_read=_names(columns),
        functions=_names(walker.functions),
        foreign_tables=_names(walker.foreign),
        has_where=all(walker.wheres) if walker.wheres else walker.select_where,
        reasons=tuple(walker.reasons),
        transaction=walker.transaction,
        settings=tuple(walker.settings),
        copy=walker.copy,  # type: ignore[arg-type]
        prepares=walker.prepares,
        executes=walker.executes,
        deallocates=walker.deallocates,
        parameters=walker.parameters,
        secret_parameters=secret_parameters(text, {name: fields}) if secrets else (),
        loses=tuple(walker.loses),
        absent=absent,
        otherwise=action if absent else None,
        ddl=walker.ddl,
        creates=tuple(walker.creates),
        temporary=walker.temporary,
        mentions=frozenset(walker.mentions),
    )


_NO_NAMES = NameSet()


def _names(found: set[str]) -> NameSet:
    return NameSet(found) if found else _NO_NAMES


def loses_data(sql: str) -> bool:
    """Whether an ALTER in `sql` drops a column or replaces its values; True where the text cannot be analysed."""
    try:
        return any(statement.loses for statement in analyse(sql).statements)
    except SqlError:
        return True
