"""Relations and columns by name: what `orders` and `o.email` stand for, as far as the text and search_path say.

Without the catalog an unqualified column may belong to any relation of its query or of those around it: all of them are
reported. Better one column too many than the secret one missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onrecord.policies.sql.wordlists import load_names, words

if TYPE_CHECKING:
    from onrecord.policies.sql.known import Known

Node = dict[str, Any]

CATALOG = load_names("relations")

# Relations that give away credentials, or turn a row change into a SET.
SECRET_RELATIONS = frozenset({"pg_catalog.pg_authid", "pg_catalog.pg_shadow"})
# Columns that give away passwords for other servers; psql's \\deu+ and \\dRs+ ask for them.
SECRET_COLUMNS = frozenset(
    f"{relation}{end}"
    for relation, ends in {
        "pg_catalog.pg_user_mapping": (".umoptions", ".*"),
        "pg_catalog.pg_user_mappings": (".umoptions", ".*"),
        "pg_catalog.pg_subscription": (".subconninfo", ".*"),
        "information_schema.user_mapping_options": (".option_value", ".*"),
    }.items()
    for end in ends
)
SETTINGS_RELATION = "pg_catalog.pg_settings"

_CANDIDATES = 16
# Functions that take any row, so that `alias.to_json` is a call of them on the whole row.
_OF_ROWS = words(
    "to_json to_jsonb row_to_json json_agg jsonb_agg array_agg json_agg_strict jsonb_agg_strict any_value concat "
    "json_build_array jsonb_build_array quote_literal quote_nullable record_send record_out hash_record min max"
)


class Scope:
    """The CTE names that a query can see: those of one WITH before `limit`, then those around it."""

    __slots__ = ("limit", "names", "parent")

    def __init__(self, parent: Scope | None, names: dict[str, int], limit: int) -> None:
        self.parent = parent
        self.names = names
        self.limit = limit


def in_scope(scope: Scope | None, name: str) -> bool:
    """Whether `name` is a CTE here."""
    while scope is not None:
        if scope.names.get(name, scope.limit) < scope.limit:
            return True
        scope = scope.parent
    return False


class Level:
    """One query level: its relations by alias, and the column references seen in it.

    `target` levels belong to utility statements: a relation named there is acted upon, not read.
    """

    __slots__ = ("aliases", "columns", "derived", "parent", "tables", "target", "values")

    def __init__(self, parent: Level | None, *, target: bool = False) -> None:
        self.parent = parent
        self.target = target
        self.aliases: dict[str, list[str]] = {}
        self.tables: list[str] = []
        self.columns: list[list[Node]] = []
        self.derived = False
        self.values: dict[str, set[str]] = {}  # functions in FROM that may return a plain value: alias → its columns

    def add(self, alias: str, tables: Sequence[str]) -> None:
        """A relation of FROM; `tables` is empty for a CTE, a subquery or a function."""
        self.aliases.setdefault(alias, []).extend(tables)
        if tables:
            self.tables.extend(tables)
        else:
            self.derived = True


def qualify(relation: Node, search_path: tuple[str, ...]) -> list[str]:
    """`schema.table` for a RangeVar; one for each schema of the path where it names none."""
    name = relation.get("relname", "")
    schema = relation.get("schemaname")
    if schema:
        return [f"{schema}.{name}"]
    if name in CATALOG and ("pg_catalog" not in search_path or search_path[0] == "pg_catalog"):
        return [f"pg_catalog.{name}"]
    found = [f"{entry}.{name}" for entry in search_path]
    return found or [f"pg_temp.{name}"]


def value_calls(levels: list[Level]) -> set[str]:
    """The names in `alias.name` that may be a call of the function `name` on the value of a function in FROM.

    PostgreSQL reads `f.pg_read_file` in `FROM lower('/etc/passwd') f` as `pg_read_file(f)`.
    """
    found: set[str] = set()
    for level in levels:
        if level.values:
            break
    else:
        return found
    for level in levels:
        for fields in level.columns:
            if len(fields) > 1 and "A_Star" not in fields[-1]:
                alias, name = (str(field.get("String", {}).get("sval", "")) for field in fields[-2:])
                if name not in _value_columns(level, alias):
                    found.add(name)
    return found


def _value_columns(start: Level, alias: str) -> set[str] | _Everything:
    level: Level | None = start
    while level is not None:
        # An expression in FROM without an alias (`coalesce(…)`) has a name that is not ours to know: "".
        columns = level.values.get(alias, level.values.get("") if alias not in level.aliases else None)
        if columns is not None:
            return columns
        if alias in level.aliases:
            return _EVERYTHING
        level = level.parent
    return _EVERYTHING


class _Everything:
    def __contains__(self, name: str) -> bool:
        return True


_EVERYTHING = _Everything()


def row_calls(levels: list[Level], known: Known) -> set[str]:
    """The names in `alias.name` that may call a function of the catalog with the whole row, for no column has them."""
    found: set[str] = set()
    callable_names = known.row_functions
    if not callable_names:
        return found
    for level in levels:
        for fields in level.columns:
            name = str(fields[-1].get("String", {}).get("sval", "")) if len(fields) > 1 else ""
            if name in callable_names:
                tables = _by_alias(level, str(fields[-2].get("String", {}).get("sval", "")))
                if not tables or not all(name in (known.columns(table) or ()) for table in tables):
                    found.add(name)
    return found


def resolve(levels: list[Level], known: Known | None = None) -> set[str]:
    """`schema.table.column` for all column references of all levels."""
    found: set[str] = set()
    for level in levels:
        for fields in level.columns:
            _resolve_one(level, fields, found, known)
    return found


def _resolve_one(level: Level, fields: list[Node], found: set[str], known: Known | None) -> None:
    parts = []
    for field in fields:
        string = field.get("String")
        parts.append("*" if string is None else string.get("sval", ""))
    column = parts[-1]
    if len(parts) >= 3:
        found.add(".".join(parts[-3:]))
        if column in _OF_ROWS:
            found.add(".".join((*parts[-3:-1], "*")))
    elif len(parts) == 2:
        tables = _by_alias(level, parts[0])
        for table in tables or ("*",):
            found.add(f"{table}.{column}")
        if column in _OF_ROWS:
            found.update(f"{table}.*" for table in tables or ())
    elif column == "*":
        found.update(f"{table}.*" for table in level.tables)
    else:
        for table in _by_alias(level, column) or ():
            found.add(f"{table}.*")
        _candidates(level, column, found, known)


def _candidates(start: Level, column: str, found: set[str], known: Known | None) -> None:
    level: Level | None = start
    count, derived = 0, False
    unlikely: list[str] = []  # for all that the catalog says, they have no such column
    while level is not None:
        derived = derived or level.derived
        for table in level.tables:
            if known is not None and column not in (known.columns(table) or (column,)):
                unlikely.append(table)
                continue
            count += 1
            if count > _CANDIDATES:
                found.add(f"*.{column}")
                return
            found.add(f"{table}.{column}")
        level = level.parent
    if not count:
        found.update(f"{table}.{column}" for table in unlikely[:_CANDIDATES])
    if derived or (not count and not unlikely):
        found.add(f"*.{column}")


def _by_alias(start: Level, alias: str) -> list[str] | None:
    level: Level | None = start
    for _ in range(1000):
        if level is None:
            return None
        tables = level.aliases.get(alias)
        if tables is not None:
            return tables
        level = level.parent
    return None
