"""What may be asked of a database about a statement without running it: its plan, how many rows it would match. Pure.

Planning folds constants and so runs functions; counting runs the whole condition. So there is a preview only where
every function, operator and type is PostgreSQL's own and only reads, and nothing of the database shares their names.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from onrecord.policies.model import SqlCommand
from onrecord.policies.redaction import MARK
from onrecord.policies.sql.analysis import analyse
from onrecord.policies.sql.catalog import Catalog
from onrecord.policies.sql.errors import SqlError
from onrecord.policies.sql.functions import OPERATORS, STABLE, TYPES
from onrecord.policies.sql.lexer import tokens
from onrecord.policies.sql.parser import parse
from onrecord.policies.sql.statement import Statement

LONGEST = 64 * 1024
_PLANNED = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
_KINDS = frozenset("rpvm")
_SLOW = frozenset({"pg_sleep", "pg_sleep_for", "pg_sleep_until"})


class Questions(NamedTuple):
    """SQL to ask: `plan` is explained; `matching` gives one number; parameters are in it as literals.

    A zero byte separates statements.
    """

    plan: str
    matching: str | None


class NoPreview(Exception):  # noqa: N818  # an answer
    """Why there is none."""


def questions(command: SqlCommand, search_path: tuple[str, ...], catalog: Catalog | None) -> Questions:
    """What to ask about `command`. Raises NoPreview."""
    text = command.text
    if catalog is None:
        raise NoPreview("the catalog of the database is not known")
    if MARK in text:
        raise NoPreview("it holds a secret that is not shown")
    if len(text) > LONGEST:
        raise NoPreview("it is too long")
    try:
        statements = analyse(text, search_path=search_path, catalog=catalog).statements
    except SqlError as error:
        raise NoPreview(f"it cannot be analysed: {error}") from None
    if len(statements) != 1:
        raise NoPreview("it is more than one statement")
    statement = statements[0]
    _check(statement, catalog)
    body = text.strip().rstrip(";").strip()
    count = _count(body, statement)
    if command.parameters:
        if statement.parameters != len(command.parameters):
            raise NoPreview("its parameters do not fit")
        values = ", ".join(_literal(value) for value in command.parameters)
        plan = f"PREPARE onrecord_plan AS {body}\0EXPLAIN EXECUTE onrecord_plan ({values})"
        if count is not None:
            used = _parameters(parse(count))
            # one that the condition does not use has no type there
            types = ", ".join("unknown" if i in used else "text" for i in range(1, len(command.parameters) + 1))
            count = f"PREPARE onrecord_count ({types}) AS {count}\0EXECUTE onrecord_count ({values})"
        return Questions(plan, count)
    if statement.parameters:
        raise NoPreview("its parameters are not known yet")
    return Questions(f"EXPLAIN {body}", count)


def _check(statement: Statement, catalog: Catalog) -> None:
    """Raises NoPreview where asking could run anything that is not PostgreSQL's own and harmless."""
    if statement.node not in _PLANNED or statement.executes or statement.copy:
        raise NoPreview(f"{statement.kind} has no plan")
    if statement.action not in ("read", "write"):
        raise NoPreview("; ".join(statement.reasons) or "it cannot be fully understood")
    if statement.foreign_tables:
        raise NoPreview("it reads tables of another server")
    tables = {*statement.tables_read, *statement.tables_written}
    for name in sorted(tables):
        relation = catalog.by_name.get(name)
        if relation is None:
            if name.startswith(("pg_catalog.", "information_schema.")):
                continue
            raise NoPreview(f"{name} is not in the catalog")
        if relation.kind not in _KINDS or relation.has_policies or relation.rule_tables:
            raise NoPreview(f"{name} is no plain table or view, or has row security or rules")
    bare = {name.rpartition(".")[2] for name in tables}
    own = {one.name for one in catalog.functions} | {one.name for one in catalog.operators}
    own |= {one.name for one in catalog.types} - bare  # a table's rows have a type of its name
    for name in sorted(statement.mentions):
        if name in own:
            raise NoPreview(f"the database has its own {name}")
        if name in bare or name in catalog.bare_names:
            continue
        if name in _SLOW or not (name in STABLE or name in OPERATORS or name in TYPES):
            raise NoPreview(f"{name} is not on the list of what only reads")


def _count(text: str, statement: Statement) -> str | None:
    """SELECT count(*) of the rows that an UPDATE or DELETE of one table meets, checked by parsing both."""
    if statement.node not in ("UpdateStmt", "DeleteStmt"):
        return None
    words = _top_words(text)
    places = {word: (start, end) for word, start, end in reversed(words)}
    end = places["returning"][0] if "returning" in places else len(text)
    where = f" {text[places['where'][0] : end]}" if "where" in places else ""
    head = places["where"][0] if "where" in places else end
    if statement.node == "DeleteStmt" and "from" in places and words[0][0] == "delete":
        target = text[places["from"][1] : head]
    elif statement.node == "UpdateStmt" and "set" in places and words[0][0] == "update":
        target = text[places["update"][1] : places["set"][0]]
    else:
        return None
    count = f"SELECT pg_catalog.count(*) FROM {target}{where}"  # noqa: S608  # parsed again, and compared
    return count if _same_rows(text, count) else None


def _top_words(text: str) -> list[tuple[str, int, int]]:
    """The words outside of all parentheses, lower case, with their places."""
    found: list[tuple[str, int, int]] = []
    depth = 0
    for token in tokens(text):
        piece = text[token.start : token.end]
        if piece in ("(", "["):
            depth += 1
        elif piece in (")", "]"):
            depth -= 1
        elif depth == 0 and piece.isidentifier():
            found.append((piece.lower(), token.start, token.end))
    return found


def _same_rows(text: str, count: str) -> bool:
    """Whether `count` counts over exactly the table and the condition of `text`."""
    try:
        (changed,), (counted,) = parse(text), parse(count)
        (old,) = changed["stmt"].values()
        select = counted["stmt"]["SelectStmt"]
        (source,) = select["fromClause"]
        if old.get("usingClause") or old.get("fromClause") or old.get("withClause"):
            return False
        same_table = _plain(source["RangeVar"]) == _plain(old["relation"])
        return bool(same_table and _plain(select.get("whereClause")) == _plain(old.get("whereClause")))
    except (SqlError, KeyError, ValueError, TypeError, AttributeError):
        return False


def _plain(node: Any) -> Any:
    """A tree without the places in the text."""
    if isinstance(node, dict):
        return {name: _plain(value) for name, value in node.items() if name != "location"}
    if isinstance(node, list):
        return [_plain(item) for item in node]
    return node


def _parameters(node: Any) -> set[int]:
    """The numbers of the parameters in a tree."""
    if isinstance(node, list):
        return set().union(*(_parameters(item) for item in node))
    if not isinstance(node, dict):
        return set()
    own = {int(node["ParamRef"].get("number", 0))} if isinstance(node.get("ParamRef"), dict) else set()
    return own.union(*(_parameters(value) for value in node.values()))


def _literal(value: str | None) -> str:
    if value is None:
        return "NULL"
    if "\0" in value or value == MARK:
        raise NoPreview("a parameter cannot be shown")
    return "'" + value.replace("'", "''") + "'"
