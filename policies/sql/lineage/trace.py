"""SQL text → the lineage of each of its statements, remembered for the exact text, search_path and catalog."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict

from onrecord.policies.sql.catalog import Catalog
from onrecord.policies.sql.errors import SqlError
from onrecord.policies.sql.lineage.queries import query
from onrecord.policies.sql.lineage.relations import Knowledge, Views
from onrecord.policies.sql.lineage.scopes import Env
from onrecord.policies.sql.lineage.statements import lineage_of
from onrecord.policies.sql.lineage.tracer import Tracer
from onrecord.policies.sql.lineage.types import UNSURE, Lineage
from onrecord.policies.sql.lineage.values import OPEN, Node, Result
from onrecord.policies.sql.parser import SMALL, parse

_Key = tuple[str, tuple[str, ...], int]

_ENTRIES = 4096
_BYTES = 16 * 1024 * 1024
_CATALOGS = 32
_VIEW_WORK = 100_000
_UNKNOWN_SHAPE = (KeyError, IndexError, TypeError, AttributeError, ValueError, StopIteration)


class Cache:
    """Least recently used first out; bounded by entries and by an estimate of bytes."""

    def __init__(self, entries: int = _ENTRIES, size: int = _BYTES) -> None:
        self._entries = entries
        self._limit = size
        self._size = 0
        self._lock = threading.Lock()
        self._map: OrderedDict[_Key, tuple[tuple[Lineage, ...], int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._map)

    def get(self, key: _Key) -> tuple[Lineage, ...] | None:
        found = self._map.get(key)
        if found is None:
            return None
        with contextlib.suppress(KeyError):  # another thread may have dropped it meanwhile
            self._map.move_to_end(key)
        return found[0]

    def put(self, key: _Key, found: tuple[Lineage, ...]) -> None:
        cost = 512 + 4 * len(key[0]) + sum(_cost(lineage) for lineage in found)
        with self._lock:
            if key in self._map or cost > self._limit:
                return
            self._map[key] = (found, cost)
            self._size += cost
            while len(self._map) > self._entries or self._size > self._limit:
                self._size -= self._map.popitem(last=False)[1][1]


def _cost(lineage: Lineage) -> int:
    """About what it takes, in bytes."""
    outputs = lineage.outputs or ()
    names = len(lineage.predicates) + len(lineage.flows) + sum(len(output.sources) for output in outputs)
    inner = _cost(lineage.inner) if lineage.inner is not None else 0
    return 1024 + 128 * names + 128 * len(outputs) + inner


class _Catalogs:
    """What is known under each (catalog, search_path), for the newest few."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: OrderedDict[int, Views] = OrderedDict()
        self._known: OrderedDict[tuple[int, tuple[str, ...]], Knowledge] = OrderedDict()

    def knowledge(self, catalog: Catalog | None, path: tuple[str, ...]) -> Knowledge:
        serial = catalog.serial if catalog is not None else 0
        found = self._known.get((serial, path))
        if found is not None:
            return found
        with self._lock:
            views = None
            if catalog is not None:
                views = self._views.get(serial)
                if views is None:
                    views = self._views[serial] = Views(catalog, _define)
            found = self._known[serial, path] = Knowledge(catalog, path, views)
            while len(self._known) > _CATALOGS:
                self._known.popitem(last=False)
            while len(self._views) > _CATALOGS:
                self._views.popitem(last=False)
        return found


def _define(definition: str, knowledge: Knowledge) -> Result:
    """The columns that the definition of a view selects; open where it cannot be evaluated.

    Raises RecursionError, for that depends on how deep the caller is: the answer is remembered.
    """
    try:
        (statement,) = parse(definition)
        name, fields = next(iter(statement["stmt"].items()))
        tracer = Tracer(knowledge, query, _VIEW_WORK)
        return query(tracer, name, fields, Env(None, {}))
    except (SqlError, *_UNKNOWN_SHAPE):
        return OPEN


_cache = Cache()
_catalogs = _Catalogs()


def trace(sql: str, *, search_path: tuple[str, ...], catalog: Catalog | None) -> tuple[Lineage, ...]:
    """The lineage of each statement of `sql`, in order. Never raises: what cannot be traced is unsure.

    `search_path` holds every schema that may be in force, as for `analyse`. A text that does not parse gives one entry
    that is unsure.
    """
    key = (sql, search_path, catalog.serial if catalog is not None else 0)
    found = _cache.get(key)
    if found is not None:
        return found
    try:
        raw = parse(sql)
    except (SqlError, RecursionError):
        return (UNSURE,)
    knowledge = _catalogs.knowledge(catalog, search_path)
    found = tuple([_traced(knowledge, entry) for entry in raw])
    if len(sql) <= SMALL:
        _cache.put(key, found)
    return found


def _traced(knowledge: Knowledge, entry: Node) -> Lineage:
    try:
        name, fields = next(iter(entry["stmt"].items()))
        return lineage_of(Tracer(knowledge, query), name, fields)
    except (SqlError, RecursionError, *_UNKNOWN_SHAPE):
        return UNSURE
