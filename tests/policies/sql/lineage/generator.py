"""Random queries over world.WORLD, most of which PostgreSQL accepts."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

Columns = list[tuple[str, str]]

TABLES: dict[str, Columns] = {
    "customers": [("id", "int"), ("name", "text"), ("email", "text"), ("data", "json"), ("tags", "list")],
    "orders": [("id", "int"), ("customer_id", "int"), ("note", "text"), ("total", "int")],
    "events": [("id", "int"), ("kind", "text"), ("body", "text")],
    "events_a": [("id", "int"), ("kind", "text"), ("body", "text")],
    "animals": [("id", "int"), ("label", "text")],
    "dogs": [("id", "int"), ("label", "text"), ("bark", "text")],
    "people": [("pid", "int"), ("who", "text"), ("mail", "text")],
    "shouted": [("pid", "int"), ("loud", "text"), ("n", "int")],
    "rows_of": [("whole", "row"), ("id", "int")],
    "kept": [("id", "int"), ("kept_email", "text"), ("note", "text")],
}


class Item(NamedTuple):
    """An entry of FROM: its alias, and its columns by name and type; a `row` column is one of type customers."""

    alias: str
    columns: Columns


class Generator:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.count = 0
        self.ctes: list[Item] = []

    def alias(self, stem: str = "t") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # Queries

    def statement(self) -> str:
        text: str = self.query(3, [], top=True)[0]
        return text

    def expressions(self) -> str:
        """A query that returns each row of one table: what its expressions read can show in their values alone."""
        text, item = self.table()
        kinds = [self.pick("text", "text", "int", "json") for _ in range(self.pick(1, 2))]
        values = [self.expression(kind, [item], 3) for kind in kinds]
        named = ", ".join(f"{value} AS e{i}" for i, value in enumerate(values))
        return f"SELECT {named} FROM {text.replace(' TABLESAMPLE system (100)', '')}"

    def query(self, depth: int, outer: list[Item], *, top: bool = False, types: list[str] | None = None):
        """(text, columns). With `types` the query has just these columns."""
        kept = list(self.ctes)
        head = ""
        if depth > 1 and self.chance(0.3):
            head = self.with_clause(depth)
        if types is not None or not self.chance(0.2) or depth < 2:
            text, columns = self.select(depth, outer, types, top=top)
        else:
            text, columns = self.select(depth - 1, outer, None, plain=True)
            kinds = [kind for _, kind in columns]
            for _ in range(self.pick(1, 1, 2)):
                other, _ = self.select(depth - 1, outer, kinds, plain=True)
                word = self.pick("UNION", "UNION ALL", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL")
                text = f"({text}) {word} ({other})"
            if self.chance(0.4):
                text += f" ORDER BY {self.random.randint(1, len(columns))}"
        self.ctes = kept
        return head + text, columns

    def with_clause(self, depth: int) -> str:
        parts, recursive = [], False
        for _ in range(self.pick(1, 1, 2)):
            name = self.alias("w")
            if self.chance(0.25):
                recursive = True
                base, _ = self.select(1, [], ["int", "text", "text"], plain=True)
                item = self.table()
                step = Generator(self.random.randrange(1 << 30))
                step.count = self.count + 100
                extra = step.expression("text", [item[1]], 1)
                parts.append(
                    f"{name}(a, b, c) AS ({base} UNION ALL SELECT {name}.a + 1, {extra}, {name}.b"
                    f" FROM {name}, {item[0]} WHERE {name}.a < 3)"
                )
                made: Columns = [("a", "int"), ("b", "text"), ("c", "text")]
            else:
                text, columns = self.query(depth - 1, [])
                made = [(f"x{i}", kind) for i, (_, kind) in enumerate(columns)]
                named = self.chance(0.5) or len({column for column, _ in columns}) != len(columns)
                names = f"({', '.join(column for column, _ in made)})" if named else ""
                made = made if names else columns
                parts.append(f"{name}{names} AS {self.pick('', 'MATERIALIZED ')}({text})")
            self.ctes = [*self.ctes, Item(name, made)]
        return f"WITH {'RECURSIVE ' if recursive else ''}{', '.join(parts)} "

    def select(self, depth: int, outer: list[Item], types: list[str] | None, *, top: bool = False, plain: bool = False):
        text, items = self.from_clause(depth, outer)
        scope = [*items, *outer]
        grouped = self.chance(0.2) and types is None
        if grouped:
            return self.grouped(text, items, scope, depth)
        targets, columns = [], []
        wanted = types or [self.pick("text", "text", "text", "int", "json") for _ in range(self.pick(1, 2, 3))]
        for kind in wanted:
            expression = self.expression(kind, scope, depth)
            name = self.alias("c")
            targets.append(expression if top and self.chance(0.4) else f"{expression} AS {name}")
            columns.append((name, kind))
        if top and self.chance(0.4):
            targets.append(self.pick("*", *[f"{item.alias}.*" for item in items]))
        if top and self.chance(0.3):
            targets.append(self.row(scope))
        query = f"SELECT {'DISTINCT ' if types is None and not top and self.chance(0.15) else ''}"
        query += f"{', '.join(targets)} FROM {text}"
        if self.chance(0.4):
            query += f" WHERE {self.expression('bool', scope, depth)}"
        if plain:
            return query, columns
        if self.chance(0.2) and "DISTINCT" not in query[:16]:
            query += f" ORDER BY {self.pick('1', self.expression('text', scope, 1), columns[0][0])}"
            if self.chance(0.5):
                query += " LIMIT 2"
        return query, columns

    def grouped(self, text: str, items: list[Item], scope: list[Item], depth: int):
        key = self.column("text", scope) or "'k'"
        columns: Columns = [(self.alias("c"), "text"), (self.alias("c"), "text"), (self.alias("c"), "int")]
        inner = self.expression("text", scope, 1)
        total = self.pick(
            f"string_agg({inner}, ',' ORDER BY {inner})",
            f"min({inner})",
            f"json_agg({inner})::text",
            f"array_agg({inner})::text",
            f"max({inner}) FILTER (WHERE {self.expression('bool', scope, 1)})",
            f"array_agg({self.random.choice(items).alias})::text",
            f"(array_agg({inner}))[1]",
            f"jsonb_object_agg(coalesce({inner}, 'n'), {self.row(scope)})::text",
        )
        count = self.pick("count(*)", f"count(DISTINCT {inner})", f"sum(length({inner}))::int")
        query = f"SELECT {key} AS {columns[0][0]}, {total} AS {columns[1][0]}, {count} AS {columns[2][0]} FROM {text}"
        if self.chance(0.3):
            query += f" WHERE {self.expression('bool', scope, 1)}"
        query += f" GROUP BY {self.pick('1', key, f'GROUPING SETS (({key}), ({key}))') if key[0] != chr(39) else '1'}"
        if self.chance(0.2):
            query += f" HAVING max({inner}) > 'm'"
        return query, columns

    # FROM

    def table(self) -> tuple[str, Item]:
        name = self.random.choice(list(TABLES))
        alias = self.alias()
        columns = TABLES[name]
        if self.chance(0.15):
            columns = [(f"k{i}", kind) for i, (_, kind) in enumerate(columns)]
            return f"{name} AS {alias}({', '.join(column for column, _ in columns)})", Item(alias, columns)
        sample = " TABLESAMPLE system (100)" if name in {"customers", "orders"} and self.chance(0.05) else ""
        return f"{name} {alias}{sample}", Item(alias, columns)

    def from_clause(self, depth: int, outer: list[Item]) -> tuple[str, list[Item]]:
        text, item = self.entry(depth, [], outer)
        items = [item]
        while len(items) < 3 and self.chance(0.4):
            if self.chance(0.25):
                other, added = self.entry(depth, [*items], outer)
                text += f", {other}"
                items.append(added)
                continue
            other, added = self.entry(depth, [], outer)
            shared = [c for c, k in items[-1].columns if (c, k) in added.columns and k in {"int", "text"}]
            only = len(items) == 1
            if shared and only and self.chance(0.5):
                kind = self.pick("JOIN", "LEFT JOIN", "FULL JOIN")
                text += f" {kind} {other} USING ({self.random.choice(shared)})"
            elif only and self.chance(0.2) and not any("row" in (k for _, k in i.columns) for i in (item, added)):
                text += f" NATURAL {self.pick('JOIN', 'LEFT JOIN')} {other}"
            else:
                text += (
                    f" {self.pick('JOIN', 'LEFT JOIN')} {other} ON {self.expression('bool', [*items[-1:], added], 1)}"
                )
            items.append(added)
        if len(items) > 1 and self.chance(0.1) and ", " not in text:
            columns = [c for i in items for c in i.columns]
            if "USING" not in text and "NATURAL" not in text:
                alias = self.alias("j")
                named = [(f"j{i}", kind) for i, (_, kind) in enumerate(columns)]
                return f"({text}) AS {alias}({', '.join(c for c, _ in named)})", [Item(alias, named)]
        return text, items

    def entry(self, depth: int, beside: list[Item], outer: list[Item]) -> tuple[str, Item]:
        if self.ctes and self.chance(0.4):
            cte, alias = self.random.choice(self.ctes), self.alias()
            return f"{cte.alias} {alias}", Item(alias, cte.columns)
        if depth > 1 and self.chance(0.3):
            alias = self.alias("s")
            lateral = bool(beside) and self.chance(0.7)
            text, columns = self.query(depth - 1, [*(beside if lateral else []), *outer])
            names = [(f"y{i}", kind) for i, (_, kind) in enumerate(columns)]
            word = "LATERAL " if lateral else ""
            return f"{word}({text}) AS {alias}({', '.join(c for c, _ in names)})", Item(alias, names)
        if beside and self.chance(0.4):
            alias = self.alias("f")
            text = self.expression("text", beside, 1)
            return self.random.choice(
                [
                    (f"regexp_split_to_table({text}, 'a') {alias}", Item(alias, [(alias, "text")])),
                    (f"unnest(ARRAY[{text}, 'u']) AS {alias}(u)", Item(alias, [("u", "text")])),
                    (f"generate_series(1, length({text}) % 3) {alias}", Item(alias, [(alias, "int")])),
                    (
                        f"jsonb_each_text({self.expression('json', beside, 1)}) {alias}",
                        Item(alias, [("key", "text"), ("value", "text")]),
                    ),
                    (
                        f"jsonb_to_record({self.expression('json', beside, 1)}) AS {alias}(k text, n text)",
                        Item(alias, [("k", "text"), ("n", "text")]),
                    ),
                    (
                        f"json_table({self.json(beside, 1)}, '$' COLUMNS (q text PATH '$', o FOR ORDINALITY)) {alias}",
                        Item(alias, [("q", "text"), ("o", "int")]),
                    ),
                    (f"jsonb_populate_record(NULL::orders, jsonb_build_object('note', {text})) {alias}",
                     Item(alias, [("id", "int"), ("note", "text")])),
                    (f"(VALUES ({text}), ('v')) AS {alias}(v)".replace("(VALUES", "LATERAL (VALUES"),
                     Item(alias, [("v", "text")])),
                    (f"ROWS FROM (unnest(ARRAY[{text}]), generate_series(1, 2)) AS {alias}(u, g)",
                     Item(alias, [("u", "text"), ("g", "int")])),
                ]
            )  # fmt: skip
        return self.table()

    # Expressions

    def column(self, kind: str, scope: list[Item]) -> str | None:
        found = [(item, name) for item in scope for name, own in item.columns if own == kind]
        if not found:
            return None
        item, name = self.random.choice(found)
        same = sum(name == other for each in scope for other, _ in each.columns)
        if same == 1 and self.chance(0.3):
            return name
        return f"({item.alias}).{name}" if self.chance(0.1) else f"{item.alias}.{name}"

    def row(self, scope: list[Item]) -> str:
        item = self.random.choice(scope)
        return self.random.choice(
            [
                item.alias,
                f"row_to_json({item.alias})",
                f"{item.alias}::text",
                f"to_jsonb({item.alias})",
                f"ROW({item.alias}.*)",
            ]
        )

    def expression(self, kind: str, scope: list[Item], depth: int) -> str:
        if kind == "text":
            return self.text(scope, depth)
        if kind == "int":
            return self.integer(scope, depth)
        if kind == "bool":
            return self.boolean(scope, depth)
        if kind == "json":
            return self.json(scope, depth)
        if kind == "list":
            return f"ARRAY[{self.text(scope, depth - 1)}, 'l']"
        return self.column("row", scope) or "(SELECT c FROM customers c WHERE id = 1)"

    def text(self, scope: list[Item], depth: int) -> str:
        own = self.column("text", scope) or "'lit'"
        if depth <= 0 or self.chance(0.35):
            return own
        inner = self.text(scope, depth - 1)
        item = self.random.choice(scope)
        options = [
            f"upper({inner})",
            f"reverse({inner})",
            f"{inner} || {own}",
            f"substr({inner}, 2, 9)",
            f"coalesce({own}, {inner})",
            f"CASE WHEN {self.boolean(scope, depth - 1)} THEN {inner} ELSE 'no' END",
            f"({self.integer(scope, depth - 1)})::text",
            f"({self.json(scope, depth - 1)})->>'k'",
            f"({self.json(scope, depth - 1)})::text",
            f"concat_ws('-', {item.alias}.*)",
            f"format('%s', {item.alias})",
            f"row_to_json({item.alias})::text",
            f"{item.alias}::text",
            f"(ROW({inner}, {own}))::text",
            f"xmlforest({inner} AS x)::text",
            f"nullif({inner}, 'z')",
            f"greatest({inner}, {own})",
            f"md5({inner})",
            f"calm({inner})",
            f"({inner})::varchar(20)",
            f"(ARRAY[{inner}, {own}])[1]",
            f"first_value({inner}) OVER (PARTITION BY {own} ORDER BY {inner})",
            f"lag({inner}) OVER (ORDER BY {own})",
            f"row_number() OVER (ORDER BY {own})::text",
            f"quote_literal({inner})",
            f"encode(convert_to({inner}, 'UTF8'), 'hex')",
            f'{inner} COLLATE "C"',
            f"json_object('a': {inner})::text",
            f"json_array({inner}, {own})::text",
            f"split_part({inner}, 'q', 2)",
        ]
        if depth > 1:
            query, _ = self.query(depth - 1, scope, types=["text"])
            options += [
                f"(SELECT min(m.x) FROM ({query}) AS m(x))",
                f"array_to_string(ARRAY({query}), ',')",
                f"json_array({query})::text" if "WITH" not in query else f"ARRAY({query})::text",
            ]
        rows = self.column("row", scope)
        if rows:
            options += [f"({rows}).email", f"{rows}::text", f"(({rows}).data)->>'k'"] * 3
        lists = self.column("list", scope)
        if lists:
            options += [f"({lists})[1]", f"array_to_string({lists}, '+')"] * 2
        return self.random.choice(options)

    def integer(self, scope: list[Item], depth: int) -> str:
        own = self.column("int", scope) or "7"
        if depth <= 0 or self.chance(0.4):
            return own
        options = [
            f"length({self.text(scope, depth - 1)})",
            f"coalesce({own}, 0) % 5",
            f"ascii({self.text(scope, depth - 1)})",
            f"(({self.json(scope, depth - 1)})->>'n')::int",
            f"CASE WHEN {self.boolean(scope, depth - 1)} THEN 1 ELSE 0 END",
            f"9 / (122 - ascii({self.text(scope, depth - 1)}))",  # fails for what begins with a z
            f"(dense_rank() OVER (ORDER BY {self.text(scope, 0)}))::int",
        ]
        if depth > 1:
            query, _ = self.query(depth - 1, scope, types=["text"])
            options.append(f"(SELECT count(*) FROM ({query}) AS m)::int")
        return self.random.choice(options)

    def boolean(self, scope: list[Item], depth: int) -> str:
        text, own = self.text(scope, 0), self.column("int", scope) or "3"
        if "OVER" in text:
            text = "'w'"
        options = [f"{text} LIKE '%2%'", f"{own} > 1", f"{own} IS NOT NULL", f"{text} <> 'a'", f"{own} IN (1, 2, 3)"]
        if depth > 1:
            query, _ = self.query(depth - 1, scope, types=["text"])
            options += [
                f"EXISTS ({query})",
                f"{text} IN ({query})",
                f"{text} <> ALL ({query})",
                f"NOT {text} = ANY ({query})",
            ]
        return self.random.choice(options)

    def json(self, scope: list[Item], depth: int) -> str:
        own = self.column("json", scope)
        if own and (depth <= 0 or self.chance(0.5)):
            return own
        inner = self.text(scope, depth - 1) if depth > 0 else self.text(scope, 0)
        item = self.random.choice(scope)
        return self.random.choice(
            [
                f"jsonb_build_object('k', {inner}, 'n', 1)",
                f"to_jsonb({item.alias})",
                f"(SELECT jsonb_build_object('k', {inner}))",
            ]
        )
