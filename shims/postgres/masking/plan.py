"""From the announced columns, the lineage of the statement and the catalog to what happens to each column. Pure.

Two witnesses speak of each column: the server's own RowDescription (table OID and attnum) and the lineage of the text.
Either may add a mask; a column passes unmasked by a rule only where neither does and at least one of them is sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onrecord.policies.masking import WHOLE, Masks, Rule
from onrecord.policies.sql.catalog import Catalog, CatalogColumn, Relation
from onrecord.policies.sql.lineage import Lineage
from onrecord.policies.sql.lineage.types import Output
from onrecord.shims.postgres.masking.types import Kind, Types, ValueType
from onrecord.shims.postgres.messages import Column

_STORED = frozenset("rpf")  # tables, partitioned and foreign ones: their columns are their own
_SYSTEM = ("pg_catalog.", "information_schema.")
# What ANALYZE copied from tables, and where it can be read.
_STATISTICS = frozenset(
    {"pg_statistic", "pg_stats", "pg_stats_ext", "pg_stats_ext_exprs", "pg_statistic_ext_data", "pg_stat_activity"}
)
_FIRST_VIEW = 10_000  # below it the OIDs of PostgreSQL's own tables are fixed (transam.h, FirstGenbkiObjectId)
_COPIES = frozenset({2619, 3429, 2613})  # pg_statistic, pg_statistic_ext_data, pg_largeobject: they hold users' data
_SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
_NOWHERE = "\0"  # a name that no pattern but "*" matches


class Rules:
    """Which rule a result's column is under, for one session and one catalog snapshot."""

    def __init__(self, masks: Masks, catalog: Catalog | None, types: Types) -> None:
        self._masks, self._catalog, self._types = masks, catalog, types

    def of(
        self, columns: Sequence[Column], lineage: Lineage | None, *, kind: str, writes: bool
    ) -> tuple[Rule | None, ...]:
        """One rule a column, None for none. `kind` is the statement's, `writes`: it may also change tables."""
        if not self._masks.by_column and not self._masks.json_paths:
            return (None,) * len(columns)
        outputs = lineage.outputs if lineage is not None else None
        if outputs is None and kind in (
            "EXPLAIN",
            "SHOW",
        ):  # what the text says comes back; EXPLAIN only evaluates functions beside it
            sure = lineage is None or not lineage.unsure_flows
            return (None if sure or not self._masks.by_column else WHOLE,) * len(columns)
        if outputs is not None and not _agree(outputs, columns):
            outputs = None  # the catalog is out of date
        return tuple(
            self._column(column, outputs[i] if outputs is not None else None, writes=writes)
            for i, column in enumerate(columns)
        )

    def _column(self, column: Column, output: Output | None, *, writes: bool) -> Rule | None:
        rule, proven = self._announced(column)
        by_type = self._of_type(self._types.of(column.type))
        if output is None:
            if rule is None and self._masks.by_column and not (proven and not writes):
                rule = WHOLE
            return rule or by_type
        traced = self._traced(output)
        if traced is not None and rule is not None and traced is not rule:
            return WHOLE if traced is WHOLE else rule
        return traced or rule or by_type

    # ------------------------------------------------------------------ the server's word

    def _announced(self, column: Column) -> tuple[Rule | None, bool]:
        """The rule by table OID and attnum, and whether these prove that the value is that column's."""
        relation = self._catalog.by_oid.get(column.table) if self._catalog is not None and column.table else None
        if relation is None:
            return None, 0 < column.table < _FIRST_VIEW and column.table not in _COPIES
        found = next((own for own in relation.columns if own.number == column.attribute), None)
        if found is None:
            return None, False
        rule = self._in_family(relation, found)
        if rule is None and (self._nested(found.type_oid) or self._is_made_of_masked(relation, found)):
            rule = WHOLE
        return rule, relation.kind in _STORED

    def _is_made_of_masked(self, relation: Relation, column: CatalogColumn) -> bool:
        return any(
            self._in_family(relation, own) is not None or self._nested(own.type_oid)
            for own in relation.columns
            if own.name in column.made_of
        )

    def _in_family(self, relation: Relation, column: CatalogColumn) -> Rule | None:
        """The rule of a column by its own name, or by those of its ancestors and descendants."""
        rule = self._masks.column(relation.schema, relation.name, column.name, column.type)
        for name in (*relation.parents, *relation.children):
            if rule is not None:
                break
            other = self._catalog.by_name.get(name) if self._catalog is not None else None
            schema, table = (other.schema, other.name) if other is not None else name.split(".", 1)
            rule = self._masks.column(schema, table, column.name, column.type)
        return rule

    # ------------------------------------------------------------------ the text's word

    def _traced(self, output: Output) -> Rule | None:
        if output.unsure:
            return WHOLE if self._masks.by_column else None
        if not any(map(self.touched, output.sources)):
            documents = self._masks.json_paths and not output.plain
            return WHOLE if documents and any(map(self._holds_documents, output.sources)) else None
        if output.plain and len(output.sources) == 1:
            (source,) = output.sources
            for relation, column in self._columns(source):
                return self._in_family(relation, column) or WHOLE
        return WHOLE

    def touched(self, source: str) -> bool:
        """Whether a rule speaks of `source`, by its name, its family or its type."""
        if not self._masks.by_column:
            return False
        if source.startswith(_SYSTEM):
            schema, table, column = (*source.split(".", 2), "", "")[:3]
            if table in _STATISTICS:
                return True
            return self._masks.column(schema, table, "" if column == "*" else column, _NOWHERE) is not None
        columns = list(self._columns(source))
        if not columns and source.rpartition(".")[2] not in _SYSTEM_COLUMNS:
            return True  # the catalog does not know it
        return any(
            self._in_family(relation, column) is not None
            or self._nested(column.type_oid)
            or self._is_made_of_masked(relation, column)
            for relation, column in columns
        )

    def _holds_documents(self, source: str) -> bool:
        """Whether a part of `source` could be one that a JSON path leads to."""
        columns = list(self._columns(source))
        return not columns or any("json" in column.type for _, column in columns)

    def _columns(self, source: str) -> Iterator[tuple[Relation, CatalogColumn]]:
        return columns_of(self._catalog, source) if self._catalog is not None else iter(())

    # ------------------------------------------------------------------ types

    def _nested(self, oid: int) -> bool:
        """Whether a value of this type may hold one of a masked type or a masked row."""
        return self._of_type(self._types.of(oid)) is not None

    def _of_type(self, kind: ValueType) -> Rule | None:
        rule = self._masks.column(_NOWHERE, _NOWHERE, _NOWHERE, kind.name or _NOWHERE)
        if rule is not None:
            return rule
        if kind.fields is not None:
            schema, _, table = kind.name.partition(".")
            for name, inner in kind.fields:
                if self._masks.column(schema, table, name, inner.name or _NOWHERE) is not None or self._of_type(inner):
                    return WHOLE
        if kind.element is not None and kind.element.kind is not Kind.UNKNOWN:
            return self._of_type(kind.element)
        return None


def _agree(outputs: Sequence[Output], columns: Sequence[Column]) -> bool:
    """Whether the text and the server speak of the same columns. The server cuts names off at 63 bytes; of a COPY it
    says no names."""
    return len(outputs) == len(columns) and all(
        not column.name or output.name.encode()[:63] == column.name.encode()[:63]
        for output, column in zip(outputs, columns, strict=True)
    )


def columns_of(catalog: Catalog, source: str) -> Iterator[tuple[Relation, CatalogColumn]]:
    """The columns that `schema.table.column` or `schema.table.*` names; names may hold dots."""
    at = source.rfind(".")
    while at > 0:
        relation = catalog.by_name.get(source[:at])
        if relation is not None:
            name = source[at + 1 :]
            for column in relation.columns:
                if name in ("*", column.name):
                    yield relation, column
            return
        at = source.rfind(".", 0, at)
