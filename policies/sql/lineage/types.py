"""The answer of lineage: sound, never exact. A column too many is an annoyance, one too few a leak."""

from __future__ import annotations

import msgspec

_NONE: frozenset[str] = frozenset()


class Output(msgspec.Struct, frozen=True):
    """One column of a result.

    - `name`: as the text says, "?column?" where PostgreSQL would choose.
    - `sources`: every `schema.table.column` that can influence its value, views resolved to base tables, conditions
      inside its own expression (CASE, FILTER, subqueries with their WHERE) included; `schema.table.*` for whole rows.
    - `plain`: the value of the one source as it stands, through subqueries, CTEs and views: no cast, no expression.
    - `unsure`: it may hold values of columns that are not known (a function that reads tables, an unknown relation).
    """

    name: str
    sources: frozenset[str] = _NONE
    plain: bool = False
    unsure: bool = False


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Of one statement.

    - `outputs`: the columns of its result in order; None where their number is not known: then all are unsure.
      () for statements without a result.
    - `predicates`: columns that decide which rows, in which order or in which groups: WHERE, JOIN, HAVING, GROUP BY,
      ORDER BY, DISTINCT, set operations other than UNION ALL, window clauses, LIMIT, ON CONFLICT, MERGE conditions,
      at any depth, views included.
    - `flows`: columns whose values go somewhere other than the result: INSERT … SELECT, UPDATE … SET/FROM, MERGE,
      CREATE TABLE AS, SELECT INTO, views and materialised views, COPY to files and programs, NOTIFY, set_config, large
      objects, functions that write, EXPLAIN of a statement that reads them.
    - `unsure_predicates`, `unsure_flows`: they may also depend on columns that are not known.
    """

    outputs: tuple[Output, ...] | None = ()
    predicates: frozenset[str] = _NONE
    flows: frozenset[str] = _NONE
    unsure_predicates: bool = False
    unsure_flows: bool = False
