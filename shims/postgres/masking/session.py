"""What one session sees masked: plans of its results, its messages, and its records. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from onrecord.policies.masking import REDACTED, MaskError, Masks, clean_record
from onrecord.policies.sql.catalog import Catalog
from onrecord.policies.sql.errors import SqlError
from onrecord.policies.sql.lineage import Lineage, Output
from onrecord.policies.sql.parser import parse
from onrecord.policies.verdict import Deny
from onrecord.recordings.auditor import Decision
from onrecord.shims.postgres.copies import CopyMask, CopyShape
from onrecord.shims.postgres.masking.copies import masking_of
from onrecord.shims.postgres.masking.copy_options import copy_options
from onrecord.shims.postgres.masking.plan import Rules, columns_of
from onrecord.shims.postgres.masking.rows import Column, Plan
from onrecord.shims.postgres.masking.ruled import Ruled
from onrecord.shims.postgres.masking.texts import is_of_text, mask_fields, mask_notification, own_texts
from onrecord.shims.postgres.masking.types import Kind, Types
from onrecord.shims.postgres.masking.values import Detecting, Found, Values
from onrecord.shims.postgres.messages import Column as Announced

_MAX_PLANS = 256


class SessionMasking:
    """The masks of a session and the catalog that they are read with.

    `idle`: nothing is masked but what an Allow(mask=…) asks for. `traces`: lineage of statements is needed.
    """

    def __init__(self, masks: Masks, catalog: Callable[[], Catalog | None]) -> None:
        self.masks = masks
        self._catalog = catalog
        self.by_column = masks.by_column
        self.traces = masks.by_column or bool(masks.json_paths)
        self.idle = masks.detectors is None and not self.traces
        self._last: Catalog | None = None
        self._plans: dict[Any, Plan] = {}
        self._types: tuple[Catalog | None, Types] | None = None

    # ------------------------------------------------------------------ results

    def concerns(self, decision: Decision) -> bool:
        """Whether anything of the answer to this command may have to be masked."""
        return not self.idle or bool(_wanted(decision))

    def masks_of(self, decision: Decision) -> Masks:
        """The masks for the answer to one command. Raises MaskError where a policy asked for an unknown detector."""
        wanted = _wanted(decision)
        return self.masks.with_detectors(wanted) if wanted else self.masks

    def plan(
        self, decision: Decision, columns: Sequence[Announced], formats: Sequence[int], lineage: Lineage | None
    ) -> Plan:
        """What happens to rows of these columns; `formats` as in a Bind message. Raises MaskError."""
        command = decision.command
        catalog = self._catalog_now()
        kind: str = getattr(command, "kind", "")
        writes = bool(getattr(command, "tables_written", ()))
        wanted = _wanted(decision)
        key = (tuple(columns), tuple(formats), lineage, catalog and catalog.serial, kind, writes, wanted)
        found = self._plans.get(key)
        if found is None:
            found = self._make(self.masks_of(decision), catalog, columns, formats, lineage, kind, writes)
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[key] = found
        return found

    def _make(
        self,
        masks: Masks,
        catalog: Catalog | None,
        columns: Sequence[Announced],
        formats: Sequence[int],
        lineage: Lineage | None,
        kind: str,
        writes: bool,
    ) -> Plan:
        types = self.types_of(catalog)
        detecting = Detecting(types, masks, masks.detectors)
        searched = masks.detectors is not None or bool(masks.json_paths)
        rules = Rules(masks, catalog, types).of(columns, lineage, kind=kind, writes=writes)
        made: list[Column] = []
        for i, column in enumerate(columns):
            rule, value_type = rules[i], types.of(column.type)
            values: Values | None = None
            if rule is not None:
                values = Ruled(types, masks, rule)
            elif searched and not _passes(value_type.kind, value_type.element and value_type.element.kind):
                values = detecting
            code = formats[i] if len(formats) > 1 and i < len(formats) else formats[0] if len(formats) == 1 else 0
            made.append(Column(value_type, bool(code), values))
        return Plan(made, masks.detectors, documents=bool(masks.json_paths))

    def may_hit(self, source: str) -> bool:
        """Whether a rule by column or by type speaks of `schema.table.column` or `schema.table.*`."""
        if self.masks.named(source):
            return True
        if not self.masks.by_type:
            return False
        catalog = self._catalog_now()
        return Rules(self.masks, catalog, self.types_of(catalog)).touched(source)

    def _catalog_now(self) -> Catalog | None:
        """The snapshot; while it is read again, the one before: what it says of a table OID does not become false."""
        catalog = self._catalog()
        if catalog is not None:
            self._last = catalog
        return self._last

    def types_of(self, catalog: Catalog | None) -> Types:
        """The types under a snapshot."""
        if self._types is None or self._types[0] is not catalog:
            self._types = (catalog, Types(catalog))
        return self._types[1]

    def copy_mask(
        self, decision: Decision, text: str, lineage: Lineage | None, found: Found
    ) -> Callable[[CopyShape], CopyMask | None]:
        """What masks the data of the COPY statement `text`: `Running.copy_out`."""

        def make(shape: CopyShape) -> CopyMask | None:
            outputs = lineage.outputs if lineage is not None else None
            count = len(shape.formats)
            sources = outputs if outputs is not None and len(outputs) == count else (None,) * count
            columns = [self._copied(output) for output in sources]
            plan = self.plan(decision, columns, (int(shape.binary),), lineage)
            if plan.idle:
                return None
            options = copy_options(text)
            if (options.format == "binary") != shape.binary:
                raise MaskError("the data of COPY have another format than the statement says")
            return masking_of(plan, options, found)

        return make

    def _copied(self, output: Output | None) -> Announced:
        """What RowDescription would say of a column of COPY, of which the server says nothing: its type, if known."""
        catalog = self._catalog_now()
        if catalog is None or output is None or not output.plain or len(output.sources) != 1:
            return Announced("", 0, 0, 0, 0)
        for _, column in columns_of(catalog, next(iter(output.sources))):
            return Announced("", 0, 0, column.type_oid, 0)
        return Announced("", 0, 0, 0, 0)

    # ------------------------------------------------------------------ messages

    def message(self, data: bytes, decisions: Iterable[Decision], found: Found) -> bytes:
        """An ErrorResponse or NoticeResponse to the statements of `decisions`."""
        decisions = list(decisions)
        clean = self._cleaner(decisions)
        # Rows that are masked speak where no place in the text is named: a client could say all that may be in them.
        own = () if self.by_column and not is_of_text(data) and any(map(self._touches, decisions)) else _own(decisions)
        return mask_fields(data, clean, found, by_column=self.by_column, own=own)

    def _touches(self, decision: Decision) -> bool:
        """Whether the command may meet rows of which columns are masked."""
        command = decision.command
        read, written = getattr(command, "tables_read", ()), getattr(command, "tables_written", ())
        if not read and getattr(command, "kind", "") == "INSERT" and _only_adds(command.text):
            return False
        tables = {*read, *written}
        return command.action == "unknown" or self.masks.may_hit(f"{table}.*" for table in tables)

    def notification(self, data: bytes, decisions: Iterable[Decision], found: Found, *, mine: bool) -> bytes:
        """A NotificationResponse. `mine`: this session's own server process sent it, at the statements `decisions`."""
        decisions = list(decisions)
        clean = self._cleaner(decisions)
        # Of another's, and of what a trigger makes of a row, a client could say beforehand all that may come.
        own = _own(decisions) if mine and not any(map(self._touches, decisions)) else ()
        return mask_notification(data, clean, found, by_column=self.by_column, own=own)

    def setting(self, value: str, decisions: Iterable[Decision]) -> str:
        """The value of a setting that the server reports, and that a statement may have made of anything."""
        decisions = list(decisions)
        if self.by_column and value and not any(value in text for text in _own(decisions)):
            return REDACTED
        return self._cleaner(decisions)(value, {})

    def _cleaner(self, decisions: list[Decision]) -> Callable[[str, Found], str]:
        wanted = tuple(name for decision in decisions for name in _wanted(decision))
        masks = self.masks.with_detectors(wanted) if wanted else self.masks
        detectors = masks.detectors
        return (lambda text, _found: text) if detectors is None else detectors.clean

    # ------------------------------------------------------------------ records

    def clean_text(self, text: str) -> str:
        """`text` as it may stand on record: without what detectors find."""
        return text if self.masks.detectors is None else self.masks.detectors.clean(text, {})

    def clean_record(self, payload: bytes) -> bytes:
        """The payload of a record (JSON) with text and detail cleaned. Never raises."""
        return clean_record(payload, self.masks.detectors)


def _only_adds(text: str) -> bool:
    """Whether an INSERT meets no row but its own: those that are there only say that they have its key."""
    try:
        (statement,) = parse(text)
    except (SqlError, ValueError):
        return False
    insert = statement["stmt"].get("InsertStmt")
    return insert is not None and "onConflictClause" not in insert


def _wanted(decision: Decision) -> tuple[str, ...]:
    verdict = decision.ruling.verdict
    return () if isinstance(verdict, Deny) else verdict.mask


def _own(decisions: Iterable[Decision]) -> list[str]:
    texts: list[str] = []
    for decision in decisions:
        command = decision.command
        texts += own_texts(command.text, getattr(command, "parameters", None))
    return texts


def _passes(kind: Kind, element: Kind | None) -> bool:
    return kind is Kind.PASS or (kind in (Kind.ARRAY, Kind.RANGE) and element is Kind.PASS)
