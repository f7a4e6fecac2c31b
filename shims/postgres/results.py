"""What is kept of a running command's result: counts, keyed digest, bounded sample. No I/O."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from onrecord.policies.model import Outcome, OutcomeStatus
from onrecord.recordings.auditor import Auditor, Decision, elapsed_ms
from onrecord.shims.postgres.copies import CopyMaskMaker, CopySample
from onrecord.shims.postgres.messages import Column, decode_row
from onrecord.shims.postgres.parameters import value_text

if TYPE_CHECKING:
    from onrecord.policies.sql import Statement
    from onrecord.policies.sql.lineage import Lineage
    from onrecord.shims.postgres.masking.rows import Plan

_ONE_SHOT = 16 * 1024
_COUNTED = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"})
SAMPLE_ROWS = 500  # decoding more of a large result would cost more than relaying all of it
SUCCESSFUL = "00000"  # SQLSTATE successful_completion


class Running:
    """One command on its way: from its record to its outcome.

    `digest` is HMAC-SHA256 over the DataRow messages as the client gets them, masked, with their headers. `rows` and
    `size` (bytes) count the same messages. The sample holds whole first rows up to `sample_left` bytes. Of a COPY all
    of it is about the data themselves, without the headers of the CopyData messages: as a file of them would be.
    """

    __slots__ = (
        "_hasher",
        "_held",
        "_unrecorded_rows",
        "_unrecorded_size",
        "calls",
        "change",
        "columns",
        "copied",
        "copy",
        "copy_out",
        "decision",
        "described",
        "finished",
        "formats",
        "lineage",
        "masked",
        "max_rows",
        "plan",
        "reasons",
        "rows",
        "sample",
        "sample_left",
        "size",
        "statements",
    )

    def __init__(self, decision: Decision, sample_limit: int) -> None:
        self.decision = decision
        self.columns: tuple[Column, ...] = ()
        self.described = False  # a Describe of its portal is on its way
        self.statements: tuple[Statement, ...] = ()  # where its completion changes the state of the session
        self.lineage: Lineage | None = None  # of its result, where the session masks by column
        self.plan: Plan | None = None  # what happens to its rows, once its columns are known
        self.masked: dict[str, int] = {}  # by rule or detector
        self.formats: tuple[int, ...] = ()
        self.rows = 0
        self.size = 0
        self.sample: list[list[str | None]] = []
        self.sample_left = sample_limit
        self.calls = False  # it is a FunctionCall
        self.copy = ""  # "in" or "out": it is a COPY from or to the client
        self.copied: CopySample | None = None  # since the data of a COPY flow
        self.copy_out: CopyMaskMaker | None = None  # what masks the data of a COPY to the client
        self.finished = False
        self.max_rows: int | None = None  # more rows than that are rolled back: its approval says so
        self._hasher: hmac.HMAC | None = None
        self._held = b""
        self._unrecorded_rows = 0
        self._unrecorded_size = 0

    def add(self, data: bytes, start: int, end: int, rows: int) -> None:
        """`rows` DataRow messages, or a part of one, stand at `data[start:end]`."""
        size = end - start
        self.rows += rows
        self.size += size
        self._unrecorded_rows += rows
        self._unrecorded_size += size
        if self._hasher is None:
            if self.size == size <= _ONE_SHOT:
                self._held = data[start:end]
                return
            self._hasher = self.decision.opened.digest()
            self._hasher.update(self._held)
            self._held = b""
        self._hasher.update(memoryview(data)[start:end])

    def keep(self, data: bytes, start: int, end: int) -> None:
        """Take the DataRow message at `data[start:end]` into the sample."""
        if end - start > self.sample_left or len(self.sample) >= SAMPLE_ROWS:
            self.sample_left = 0
            return
        self.sample_left -= end - start
        columns, formats = self.columns, self.formats
        known, several = len(columns), len(formats) > 1
        one = formats[0] if len(formats) == 1 else 0
        cells: list[str | None] = []
        for i, cell in enumerate(decode_row(data, start, end)):
            if cell is None:
                cells.append(None)
            else:
                code = (formats[i] if i < len(formats) else 0) if several else one
                cells.append(value_text(cell, columns[i].type if i < known else 0, code))
        self.sample.append(cells)

    def digest(self) -> str | None:
        """Hex digest of all rows up to here; None without any."""
        if self._hasher is not None:
            return self._hasher.hexdigest()
        if not self.size:
            return None
        return hmac.digest(self.decision.opened.key, self._held, "sha256").hex()

    def record_chunk(self, auditor: Auditor) -> None:
        """Record rows that are about to be delivered before the outcome is known. Raises StoreError."""
        if not self._unrecorded_size or self.finished:
            return
        first = self._unrecorded_size == self.size
        auditor.chunk(
            self.decision,
            "to_upstream" if self.copy == "in" else "to_client",
            self._unrecorded_size,
            rows=self._unrecorded_rows,
            data=self._sample() if first else None,
            digest=self.digest() or "",
            note="copy" if self.copied is not None else "rows",
            flush=False,
        )
        self._unrecorded_rows = self._unrecorded_size = 0

    def _sample(self) -> dict[str, Any] | None:
        if self.copied is not None:
            return self.copied.shown()
        if not self.columns and not self.sample:
            return None
        sample: dict[str, Any] = {"columns": [column.name for column in self.columns], "rows": self.sample}
        if len(self.sample) < self.rows:
            sample["truncated"] = True
        if self.plan is not None:  # a value of some strategies looks like any other: which columns are masked is said
            masked = [number for number, column in enumerate(self.plan.columns) if column.forced]
            if masked:
                sample["masked"] = masked
        return sample

    def finish(
        self, auditor: Auditor, status: OutcomeStatus, *, tag: str = "", code: str = "", error: str | None = None
    ) -> None:
        """Record the outcome, once, without flushing. Raises StoreError."""
        if self.finished:
            return
        rows = self.rows
        if tag:
            word, _, count = tag.rpartition(" ")
            if word.partition(" ")[0] in _COUNTED and count.isdigit():
                rows = int(count)
        auditor.finish(
            self.decision,
            Outcome(
                status=status,
                code=code or (SUCCESSFUL if status == "ok" else ""),
                rows=rows,
                bytes=self.size,
                duration_ms=elapsed_ms(self.decision.started),
                error=error,
                tag=tag,
                masked=dict(self.masked),
                sample=self._sample(),
                digest=self.digest(),
                size=self.size,
            ),
            flush=False,
        )
        self.finished = True
        self._held = b""
        self._hasher = None
