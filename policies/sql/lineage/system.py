"""PostgreSQL's own relations: their columns, and which of them hold values of other tables' columns."""

from __future__ import annotations

from pathlib import Path

from onrecord.policies.sql.lineage.values import NOTHING, UNKNOWN, Column, Result
from onrecord.policies.sql.wordlists import words

_DATA = Path(__file__).parent / "data"

SCHEMAS = frozenset({"pg_catalog", "information_schema"})
# Every table has them; none holds a value of a column.
SYSTEM_COLUMNS = words("ctid tableoid xmin xmax cmin cmax")

# The planner's statistics, texts of statements, large objects, the default that ADD COLUMN gave to rows of before:
# all but the columns named here.
_HARMLESS = {
    "pg_stats": "schemaname tablename attname inherited null_frac avg_width n_distinct correlation",
    "pg_statistic": "starelid staattnum stainherit stanullfrac stawidth stadistinct",
    "pg_stats_ext": "schemaname tablename statistics_schemaname statistics_name statistics_owner attnames exprs kinds "
    "inherited",
    "pg_stats_ext_exprs": "schemaname tablename statistics_schemaname statistics_name statistics_owner expr inherited "
    "null_frac avg_width n_distinct correlation",
    "pg_statistic_ext_data": "stxoid stxdinherit",
    "pg_largeobject": "loid pageno",
}
# Those named here hold values, the others do not.
_TELLING = {
    "pg_stat_activity": "query",
    "pg_prepared_statements": "statement",
    "pg_cursors": "statement",
    "pg_attribute": "attmissingval",
}


def columns_of(file: str) -> dict[str, tuple[str, ...]]:
    """data/`file`.txt: name → columns."""
    found = {}
    for line in (_DATA / f"{file}.txt").read_text(encoding="utf-8").splitlines():
        name, *columns = line.split()
        found[name] = tuple(columns)
    return found


def _result(name: str, columns: tuple[str, ...]) -> Result:
    schema, bare = name.split(".", 1)
    if schema == "pg_catalog" and bare in _HARMLESS:
        known = _HARMLESS[bare].split()
        return Result(tuple([Column(column, NOTHING if column in known else UNKNOWN) for column in columns]))
    telling = _TELLING.get(bare, "").split() if schema == "pg_catalog" else []
    return Result(tuple([Column(column, UNKNOWN if column in telling else NOTHING) for column in columns]))


RELATIONS: dict[str, Result] = {name: _result(name, columns) for name, columns in columns_of("relations").items()}
