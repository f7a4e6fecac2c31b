"""The answer of lineage: sound, never exact. A column too many is an annoyance, one too few a leak."""

from __future__ import annotations

from typing import Literal

import msgspec

_NONE: frozenset[str] = frozenset()

# What a statement does with the name in `Lineage.name`.
Use = Literal["", "prepares", "executes", "declares", "fetches"]


class Output(msgspec.Struct, frozen=True):
    """One column of a result.

    - `name`: as PostgreSQL names it; "?column?" where it has none.
    - `sources`: every `schema.table.column` that can influence its value, views resolved to base tables, conditions
      inside its own expression (CASE, FILTER, window, subqueries with their WHERE) included; `schema.table.*` for whole
      rows. A column of a view, a partition, a child or a parent stands under the names of all of them.
    - `plain`: the value of one base column as it stands, through subqueries, CTEs and views: no cast, no expression.
      Its `sources` are then that column's names (its view's, its parents' and its children's among them).
    - `unsure`: it may hold values of columns that are not known (a function that reads tables, an unknown relation).
    """

    name: str
    sources: frozenset[str] = _NONE
    plain: bool = False
    unsure: bool = False


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Of one statement.

    - `outputs`: the columns of its result in order; None where their number is not known: then all are unsure.
      () for statements without a result. Whoever uses them compares their number and names, in any case of letters,
      with RowDescription, of COPY the number of fields: where they differ, the catalog is out of date and every column
      is unsure.
    - `predicates`: columns that decide which rows, in which order or in which groups: WHERE, JOIN, HAVING, GROUP BY,
      ORDER BY, DISTINCT, set operations other than UNION ALL, window clauses, LIMIT, arguments of functions that return
      sets, ON CONFLICT, MERGE conditions, at any depth of the text; and those that decide whether an expression fails
      or which of its parts are evaluated, wherever it stands (partial.py). What the definition of a view filters by
      is the choice of its owner and is not in it; the outputs of a view carry the sources of their values only.
    - `flows`: columns whose values go somewhere other than the result: INSERT … SELECT, UPDATE … SET/FROM, MERGE,
      CREATE TABLE AS, SELECT INTO, views and materialised views, COPY to files and programs, NOTIFY, set_config, large
      objects, functions that write, EXPLAIN of a statement that reads them; columns that are renamed or moved. A value
      that goes as it stands into the one column that it comes from is no flow; an expression over it is.
    - `unsure_predicates`, `unsure_flows`: they may also depend on columns that are not known.
    - `name`, `use`: the prepared statement or cursor that the statement makes ("prepares", "declares") or returns rows
      of ("executes", "fetches"), also below EXPLAIN and CREATE TABLE AS. Where it makes one, `inner` is what EXECUTE
      and FETCH return. Where it uses one, its own fields are those of a statement that is not known: replace them by
      `inner` of the maker.
    """

    outputs: tuple[Output, ...] | None = ()
    predicates: frozenset[str] = _NONE
    flows: frozenset[str] = _NONE
    unsure_predicates: bool = False
    unsure_flows: bool = False
    name: str = ""
    use: Use = ""
    inner: Lineage | None = None


UNSURE = Lineage(outputs=None, unsure_predicates=True, unsure_flows=True)
