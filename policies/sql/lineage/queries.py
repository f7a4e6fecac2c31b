"""SELECT, VALUES, set operations and WITH: the columns that a query returns."""

from __future__ import annotations

from onrecord.policies.sql.lineage import changes
from onrecord.policies.sql.lineage.expressions import row_of, value_of, window
from onrecord.policies.sql.lineage.from_clause import add_from
from onrecord.policies.sql.lineage.labels import label
from onrecord.policies.sql.lineage.scopes import Env, by_name
from onrecord.policies.sql.lineage.tracer import Tracer
from onrecord.policies.sql.lineage.values import (
    NOTHING,
    OPEN,
    Column,
    Node,
    Result,
    Value,
    either,
    merged,
    renamed,
    strings,
)

_ROUNDS = 64


def query(tracer: Tracer, name: str, fields: Node, env: Env) -> Result:
    """The result of a statement that may return rows; `env` is the level around it."""
    tracer.spend(1)
    env = with_clause(tracer, fields, env)
    if name == "SelectStmt":
        return select(tracer, fields, env)
    return changes.change(tracer, name, fields, env)


# WITH


def with_clause(tracer: Tracer, fields: Node, env: Env) -> Env:
    """A level that sees the CTEs of the statement."""
    clause = fields.get("withClause")
    if clause is None:
        return env
    ctes = [cte["CommonTableExpr"] for cte in clause.get("ctes", [])]
    sight = dict(env.ctes)
    inner = Env(env.parent, sight, env.space)
    inner.windows = env.windows
    if clause.get("recursive"):
        # Those further down are in sight too, and PostgreSQL refuses what is mutually recursive: evaluated in the
        # order of their need, which one round for each of them reaches.
        needs = [_mentions(cte.get("ctequery", {})) for cte in ctes]
        names = [cte.get("ctename", "") for cte in ctes]
        waiting = list(range(len(ctes)))
        for name in names:
            sight.pop(name, None)
        while waiting:
            ready = [i for i in waiting if needs[i].isdisjoint({names[j] for j in waiting if j != i})] or waiting[:1]
            for i in ready:
                sight[names[i]] = _cte(tracer, ctes[i], inner, recursive=names[i] in needs[i])
            waiting = [i for i in waiting if i not in ready]
        return inner
    for cte in ctes:
        # The entries before it only: `sight` grows as the list is walked.
        step = Env(inner.parent, dict(sight), inner.space)
        sight[cte.get("ctename", "")] = _cte(tracer, cte, step, recursive=False)
    return inner


def _mentions(node: Node) -> set[str]:
    """The bare relation names anywhere below `node`."""
    found: set[str] = set()
    stack: list[object] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if "relname" in item and "schemaname" not in item:
                found.add(str(item["relname"]))
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return found


def _cte(tracer: Tracer, cte: Node, env: Env, *, recursive: bool) -> Result:
    name, fields = next(iter(cte["ctequery"].items()))
    names = strings(cte.get("aliascolnames", []))
    if not recursive:
        return renamed(query(tracer, name, fields, env), names)
    own = cte.get("ctename", "")
    # Round after round until nothing is added: sources only grow, and are as many as the text names.
    known = renamed(_first_arm(tracer, name, fields, env), names)
    for _ in range(_ROUNDS):
        tracer.spend(len(known.columns))
        around = Env(env.parent, {**env.ctes, own: _with_marks(cte, known)}, env.space)
        grown = _joined(known, renamed(query(tracer, name, fields, around), names))
        if grown == known:
            if "cycle_clause" in cte:  # which rows are followed further
                tracer.facts.predicate(known.whole())
            return _with_marks(cte, known)
        known = grown
    return OPEN


def _first_arm(tracer: Tracer, name: str, fields: Node, env: Env) -> Result:
    """What a recursive query starts from: the left side of its UNION, which does not refer to it."""
    inner = with_clause(tracer, fields, env)
    return query(tracer, "SelectStmt", fields["larg"], inner) if name == "SelectStmt" and "larg" in fields else OPEN


def _joined(left: Result, right: Result) -> Result:
    if left.rest is not None or right.rest is not None or len(left.columns) != len(right.columns):
        whole = merged([left.whole(), right.whole()])
        return Result(tuple([Column(column.name, whole) for column in left.columns]), whole)
    pairs = zip(left.columns, right.columns, strict=True)
    return Result(tuple([Column(own.name, either([own.value, other.value])) for own, other in pairs]))


def _with_marks(cte: Node, result: Result) -> Result:
    """The columns that SEARCH and CYCLE add: they hold rows of the query."""
    extra = []
    search, cycle = cte.get("search_clause"), cte.get("cycle_clause")
    value = Value(result.whole().sources, False, result.whole().unsure)
    if search:
        extra.append(Column(search.get("search_seq_column", ""), value))
    if cycle:
        extra.append(Column(cycle.get("cycle_mark_column", ""), value))
        extra.append(Column(cycle.get("cycle_path_column", ""), value))
    return Result((*result.columns, *extra), result.rest) if extra else result


# SELECT


def select(tracer: Tracer, fields: Node, env: Env) -> Result:
    """A query without its WITH, whose CTEs `env` sees."""
    if "larg" in fields:
        return _set_operation(tracer, fields, env)
    level = Env(env, env.ctes)
    facts = tracer.facts
    if "valuesLists" in fields:
        result = _values(tracer, fields["valuesLists"], level)
    else:
        add_from(tracer, fields.get("fromClause", []), level)
        for node in fields.get("windowClause", []):
            definition = node["WindowDef"]
            level.windows[definition.get("name", "")] = value = window(tracer, definition, level)
            facts.predicate(value)
        result = targets(tracer, fields.get("targetList", []), level)
        for key in ("whereClause", "havingClause"):
            if key in fields:
                facts.predicate(value_of(tracer, fields[key], level))
    for node in fields.get("groupClause", []):
        for item in _grouped(node):
            facts.predicate(_chosen(tracer, item, level, result, inputs_first=True))
    for node in fields.get("distinctClause", []):
        facts.predicate(_chosen(tracer, node, level, result) if node else result.whole())
    _order_and_limit(tracer, fields, level, result)
    into = fields.get("intoClause")
    if into is not None:
        facts.flow(result.whole())
    return result


def _order_and_limit(tracer: Tracer, fields: Node, level: Env, result: Result) -> None:
    for node in fields.get("sortClause", []):
        sort = node["SortBy"]
        tracer.facts.predicate(_chosen(tracer, sort.get("node", {}), level, result))
        if "useOp" in sort:
            tracer.facts.predicate(value_of(tracer, {"SortBy": {"useOp": sort["useOp"]}}, level))
    for key in ("limitOffset", "limitCount"):
        if key in fields:
            tracer.facts.predicate(value_of(tracer, fields[key], level))


def _grouped(node: Node) -> list[Node]:
    """The expressions of a GROUP BY entry, those of grouping sets among them."""
    if "GroupingSet" in node:
        return [item for inner in node["GroupingSet"].get("content", []) for item in _grouped(inner)]
    if "RowExpr" in node:
        return [item for inner in node["RowExpr"].get("args", []) for item in _grouped(inner)]
    return [node]


def _chosen(tracer: Tracer, node: Node, level: Env, result: Result, *, inputs_first: bool = False) -> Value:
    """What an entry of ORDER BY, GROUP BY or DISTINCT ON means: a position, an output's name, or an expression."""
    constant = node.get("A_Const", {}).get("ival")
    if constant is not None:
        place = constant.get("ival", 0)
        if result.rest is None:
            return result.columns[place - 1].value if 0 < place <= len(result.columns) else NOTHING
        return result.whole()
    names = strings(node.get("ColumnRef", {}).get("fields", []))
    if len(names) == 1:
        output = by_name(result.columns).get(names[0])
        inputs = inputs_first and (names[0] in level.space.names() or bool(level.space.opens))
        if output is not None and not inputs:
            return output
        if output is not None:
            return merged([output, value_of(tracer, node, level)])
    return value_of(tracer, node, level)


def _values(tracer: Tracer, lists: list[Node], level: Env) -> Result:
    rows = [[value_of(tracer, item, level) for item in row["List"].get("items", [])] for row in lists]
    width = min(len(row) for row in rows)
    if width != max(len(row) for row in rows):
        return OPEN
    columns = [either([row[i] for row in rows]) for i in range(width)]
    return Result(tuple([Column(f"column{i + 1}", value) for i, value in enumerate(columns)]))


def targets(tracer: Tracer, nodes: list[Node], level: Env) -> Result:
    """A target list or RETURNING, `*` expanded."""
    columns: list[Column] = []
    rests: list[Value] = []
    for entry in nodes:
        target = entry.get("ResTarget", {})
        node = target.get("val", {})
        star = _star(tracer, node, level)
        if star is None:
            columns.append(Column(target.get("name") or label(node), value_of(tracer, node, level)))
            continue
        columns.extend(star.columns)
        tracer.spend(len(star.columns))
        if star.rest is not None:
            rests.append(star.rest)
    return Result(tuple(columns), merged(rests) if rests else None)


def _star(tracer: Tracer, node: Node, level: Env) -> Result | None:
    """What `*`, `alias.*` or `(row).*` stands for; None for other expressions."""
    fields = node.get("ColumnRef", {}).get("fields")
    if fields is not None:
        if "A_Star" not in fields[-1]:
            return None
        names = strings(fields)
        if not names:
            return level.space.star()
        item = level.item(names[-1], names[-2] if len(names) > 1 else "")
        if item is None:
            return Result((), level.lost("*"))
        return Result(item.columns, item.rest)
    indirection = node.get("A_Indirection", {}).get("indirection", [])
    if not indirection or "A_Star" not in indirection[-1]:
        return None
    arg = node["A_Indirection"].get("arg", {})
    if len(indirection) == 1:
        item = row_of(arg, level)
        if item is not None:
            return Result(item.columns, item.rest)
        if "RowExpr" in arg:
            args = arg["RowExpr"].get("args", [])
            if not any("A_Star" in part.get("ColumnRef", {}).get("fields", [{}])[-1] for part in args):
                values = [value_of(tracer, part, level) for part in args]
                return Result(tuple([Column(f"f{i + 1}", value) for i, value in enumerate(values)]))
    return Result((), merged([value_of(tracer, node, level)]))


# Set operations


def _set_operation(tracer: Tracer, fields: Node, env: Env) -> Result:
    # Long chains lean to the left: they are taken apart without recursion.
    chain = [fields]
    while "larg" in chain[-1]["larg"] and not _decorated(chain[-1]["larg"]):
        chain.append(chain[-1]["larg"])
    result = query(tracer, "SelectStmt", chain[-1]["larg"], env)
    for node in reversed(chain):
        result = _joined(result, query(tracer, "SelectStmt", node["rarg"], env))
        tracer.spend(len(result.columns))
        if node.get("op") != "SETOP_UNION" or not node.get("all"):
            tracer.facts.predicate(result.whole())
    into = chain[-1]["larg"].get("intoClause")
    if into is not None:  # SELECT … INTO … UNION …: the first arm names the table of all
        tracer.facts.flow(result.whole())
    _order_and_limit(tracer, fields, Env(env, env.ctes), result)
    return result


def _decorated(fields: Node) -> bool:
    """Whether an arm has clauses of its own, beside the two sides."""
    return any(key in fields for key in ("withClause", "sortClause", "limitCount", "limitOffset", "intoClause"))
