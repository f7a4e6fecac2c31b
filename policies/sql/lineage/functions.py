"""What a call, an operator or a cast adds to the values that go into it."""

from __future__ import annotations

from typing import NamedTuple

from onrecord.policies.sql.catalog import Catalog, Function
from onrecord.policies.sql.facts import Facts
from onrecord.policies.sql.functions import FIELDS, LISTED, OPERATORS, SCHEMA_HELPERS, STABLE, TYPES, classify
from onrecord.policies.sql.known import Known, known
from onrecord.policies.sql.lineage.system import columns_of
from onrecord.policies.sql.trace import Trace
from onrecord.policies.sql.wordlists import words


class Call(NamedTuple):
    """- `unsure`: the result may hold values that are not among the arguments.
    - `keeps`: the arguments may be kept, sent, or shown by the time that the call takes, and so may that it was called
      at all; `acts`: so may values that are not arguments.
    - `multiplies`: it may return several rows, so that its arguments decide how many.
    """

    unsure: bool = False
    keeps: bool = False
    acts: bool = False
    multiplies: bool = False


_MOST = 4000  # names remembered: a text can hold any

PURE = Call()
UNSEEN = Call(unsure=True, keeps=True, acts=True, multiplies=True)

# Built-ins that only read, but what others have stored.
_REVEALS = words(
    "lo_get loread currval lastval pg_sequence_last_value pg_get_sequence_data pg_stat_get_activity pg_cursor "
    "pg_stat_get_backend_activity pg_prepared_statement pg_stat_get_wal_receiver pg_prepared_xact pg_mcv_list_items"
)
# set_config keeps its value; the others tell their argument, or whether they were called, by time, by what random()
# or a transaction id is afterwards, or by which locks are left.
_KEEPS = words(
    "set_config setseed pg_sleep pg_sleep_for pg_sleep_until random random_normal array_sample array_shuffle "
    "txid_current pg_current_xact_id pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared"
)
_KEEPS_AND_REVEALS = words("loread")
_HARMLESS = words("lo_tell lo_tell64")
SETS = words(
    "aclexplode generate_series generate_subscripts json_array_elements json_array_elements_text json_each "
    "json_each_text json_object_keys json_populate_recordset json_to_recordset jsonb_array_elements "
    "jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys jsonb_path_query jsonb_path_query_tz "
    "jsonb_populate_recordset jsonb_to_recordset pg_extension_update_paths pg_get_multixact_members "
    "pg_get_publication_tables pg_mcv_list_items pg_options_to_table pg_partition_ancestors pg_partition_tree "
    "pg_snapshot_xip pg_stat_get_backend_io pg_stat_get_progress_info pg_stat_get_subscription pg_tablespace_databases "
    "pg_wal_summary_contents regexp_matches regexp_split_to_table string_to_table ts_debug ts_parse ts_stat "
    "ts_token_type txid_snapshot_xip unnest"
)
# Built-ins that return rows: their columns; ("?",) where the call decides.
COLUMNS = columns_of("functions")


def _built_in(name: str) -> Call | None:
    """The judgement of PostgreSQL's own `name`; None where it has no such function."""
    if name in _REVEALS:
        return Call(unsure=True, keeps=name in _KEEPS_AND_REVEALS, multiplies=True)
    if name in _KEEPS:
        return Call(keeps=True)
    action, _ = classify(name)
    if name in SETS and action == "read":
        return Call(multiplies=True)
    if action == "read":
        return PURE
    if action == "write":
        return PURE if name in _HARMLESS else Call(keeps=True)
    if action == "admin":
        return Call(unsure=True, keeps=True, multiplies=True)
    return UNSEEN if name in LISTED else None


_BUILT_INS: dict[str, Call | None] = {name: _built_in(name) for name in (*STABLE, *TYPES, *LISTED, *_KEEPS)}


def _of(function: Function, names: Known) -> Call:
    """One that is not PostgreSQL's own: only an immutable one is taken at its word, and where its body can be read, it
    must keep it: many a function that reads a table is called immutable.

    CREATE AGGREGATE marks every aggregate immutable: only those of extensions are taken at theirs.
    """
    if function.kind in {"a", "w"} and not function.extension:
        return UNSEEN
    if function.volatility == "i":
        said = Call(multiplies=function.returns_set)
        return (
            said if function.language != "sql" else _all([said, _done(names.by_full_name(function.full_name, Trace()))])
        )
    # PostgreSQL lets a stable function write nothing.
    writes = function.volatility == "v"
    return Call(unsure=True, keeps=writes, acts=writes, multiplies=function.returns_set)


def _done(facts: Facts) -> Call:
    """What a body does beside computing."""
    acts = facts.action != "read" or bool(facts.written or facts.settings)
    calls = [_BUILT_INS.get(name.rpartition(".")[2]) or PURE for name in facts.functions]
    inner = _all([PURE, *calls])
    return Call(unsure=bool(facts.read) or acts or inner.unsure, keeps=acts or inner.keeps, acts=acts or inner.acts)


def _all(calls: list[Call]) -> Call:
    return Call(*(any(flags) for flags in zip(*calls, strict=True)))


class Functions:
    """The judgements under one catalog and search_path."""

    def __init__(self, catalog: Catalog | None, path: tuple[str, ...]) -> None:
        self._catalog = catalog
        self._path = path
        self._calls: dict[tuple[str, ...], Call] = {}
        self._operators: dict[str, bool] = {}
        self._casts: bool | None = None

    def call(self, parts: tuple[str, ...]) -> Call:
        """Of the function of that (qualified) name, all overloads together."""
        found = self._calls.get(parts)
        if found is None:
            found = self._judge(parts)
            if len(self._calls) < _MOST:
                self._calls[parts] = found
        return found

    def _judge(self, parts: tuple[str, ...]) -> Call:
        name = parts[-1]
        if len(parts) > 1 and parts[-2] == "information_schema" and name in SCHEMA_HELPERS:
            return Call(multiplies=name == "_pg_expandarray")
        if len(parts) > 1 and parts[-2] == "pg_catalog":
            return _BUILT_INS.get(name) or UNSEEN
        schemas = parts[-2:-1] if len(parts) > 1 else self._path
        overloads = [overload for schema in schemas for overload in self._overloads(schema, name)]
        names = known(self._catalog, self._path) if self._catalog is not None else None
        calls = [_of(overload, names) for overload in overloads if names is not None]
        own = _BUILT_INS.get(name) if len(parts) == 1 else None
        if own is not None:
            calls.append(own)
        return _all(calls) if calls else UNSEEN

    def _overloads(self, schema: str, name: str) -> tuple[Function, ...]:
        return () if self._catalog is None else self._catalog.functions_by_name.get(f"{schema}.{name}", ())

    def overloads(self, parts: tuple[str, ...]) -> list[Function]:
        """Those of the catalog that may be meant."""
        schemas = parts[-2:-1] if len(parts) > 1 else self._path
        return [overload for schema in schemas for overload in self._overloads(schema, parts[-1])]

    def own(self, parts: tuple[str, ...]) -> bool:
        """Whether only PostgreSQL's own function of that name can be meant, or that of an extension."""
        if len(parts) > 1:
            return parts[-2] == "pg_catalog"
        return parts[-1] in _BUILT_INS and all(overload.extension for overload in self.overloads(parts))

    def own_operator(self, parts: tuple[str, ...]) -> bool:
        """Whether only PostgreSQL's own operator of that name can be meant, or one of an extension's functions."""
        found = self._catalog.operators_by_name.get(parts[-1], ()) if self._catalog is not None else ()
        return all(all(one.extension for one in self.overloads(tuple(op.function.split(".", 1)))) for op in found)

    def field(self, name: str) -> Call:
        """`(x).name`: a field of a row, or else the call `name(x)`."""
        if name in _BUILT_INS or self._catalog is None or name in self._catalog.functions_by_bare_name:
            if name in FIELDS and name not in LISTED:
                return PURE
            return self.call((name,))
        return PURE

    def known(self, name: str) -> bool:
        """Whether there is any function of that name."""
        return name in _BUILT_INS or (self._catalog is not None and name in self._catalog.functions_by_bare_name)

    def operator(self, parts: tuple[str, ...]) -> bool:
        """Whether an operator gives nothing but what its arguments hold."""
        name = parts[-1]
        found = self._operators.get(name)
        if found is None:
            own = self._catalog.operators_by_name.get(name, ()) if self._catalog is not None else ()
            calls = [self.call(tuple(operator.function.split(".", 1))) for operator in own]
            found = (name in OPERATORS or bool(calls)) and not any(call.unsure or call.acts for call in calls)
            if len(self._operators) < _MOST:
                self._operators[name] = found
        return found

    def casts(self) -> bool:
        """Whether every cast gives nothing but what its argument holds."""
        if self._casts is None:
            names = self._catalog.cast_functions if self._catalog is not None else ()
            calls = [self.call(tuple(name.split(".", 1))) for name in names if not name.startswith("pg_catalog.")]
            self._casts = not any(call.unsure or call.acts for call in calls)
        return self._casts
