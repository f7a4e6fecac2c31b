"""How commands end: their tags, their errors, and what a limit on their rows makes of them. No I/O."""

from __future__ import annotations

from onrecord.policies.model import OutcomeStatus
from onrecord.shims.postgres.commands import PROTOCOL
from onrecord.shims.postgres.deny import Denial
from onrecord.shims.postgres.exchange import Entry, Exchange, Expect, SessionFatal
from onrecord.shims.postgres.masked import Masked
from onrecord.shims.postgres.messages import SYNC, decode_fields
from onrecord.shims.postgres.wire import HEADER_SIZE, WireError

_NAME_IS_TAKEN = "42P05"


class Completing:
    """CommandComplete and ErrorResponse. Raises WireError and SessionFatal."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._masked = Masked(exchange)

    def _head(self, *kinds: Expect) -> Entry:
        queue = self._exchange.queue
        if queue and queue[0].kind in kinds:
            entry = queue[0]
            if entry.denial is not None and not entry.failed:
                raise WireError("the server carried out what was refused")
            return entry
        raise WireError("the server sent an answer that nothing asked for")

    def _complete(self, data: bytes) -> bytes | None:
        entry = self._head(Expect.QUERY, Expect.EXECUTE)
        tag = data[HEADER_SIZE:-1].decode("utf-8", "replace")
        if entry is self._exchange.limited:
            return self._counted(entry, tag)
        self._finish(entry, tag)
        return None

    def _counted(self, entry: Entry, tag: str) -> bytes | None:
        """The rows of a limited command are known, and nothing of it is committed: it stays, or is made to fail."""
        exchange, running = self._exchange, entry.runs[0]
        exchange.limited = None
        count = tag.rpartition(" ")[2]
        rows = int(count) if count.isascii() and count.isdigit() else None
        if running.max_rows is not None and rows is not None and rows <= running.max_rows:
            self._finish(entry, tag)
            if entry.own:
                self._sync()
            return None
        text = f"{tag}: its approval allows {running.max_rows} rows at most, so it was rolled back"
        denial = Denial(
            "42501", f"onrecord: {running.decision.ruling.policy}: {text}", f"Record {running.decision.id}."
        )
        running.finish(exchange.auditor, "error", code=denial.sqlstate, error=text)
        exchange.ended.append(running)
        exchange.state.failed()
        exchange.take_back(entry.changes)
        exchange.queue.popleft()
        if entry.portal is not None:
            entry.portal.done = True
        exchange.queue.append(Entry(Expect.PARSE, denial=denial))
        exchange.to_upstream.append(exchange.trick.parse())
        if entry.own:
            self._sync()
        else:
            exchange.skipping = True  # the server will, up to the client's Sync
        return b""

    def _sync(self) -> None:
        """The gateway's own Sync, behind a Query that went as Parse, Bind and Execute."""
        exchange = self._exchange
        exchange.queue.append(Entry(Expect.SYNC, segment=exchange.namespace.segment))
        exchange.namespace.segment += 1
        exchange.to_upstream.append(SYNC)

    def _finish(self, entry: Entry, tag: str) -> None:
        if entry.index >= len(entry.runs):
            raise WireError("the server completed more statements than were asked for")
        exchange = self._exchange
        running = entry.runs[entry.index]
        if exchange.copying is not None and exchange.copying.running is running:
            raise WireError("the server completed a COPY before its data had ended")
        running.finish(exchange.auditor, "ok", tag=tag)
        exchange.ended.append(running)
        if running.statements:
            exchange.state.completed(running.statements, tag)
        change = entry.changes[entry.index] if entry.changes else None
        if change is not None:
            exchange.namespace.commit(change)
        entry.index += 1
        if entry.kind is Expect.EXECUTE:
            exchange.queue.popleft()
            exchange.release(entry)
            if entry.portal is not None:
                entry.portal.done = True

    def _error(self, data: bytes) -> bytes | None:
        exchange, queue = self._exchange, self._exchange.queue
        copying = exchange.copying
        if copying is not None and copying.stray and exchange.trick.caused(data):
            text = f"{PROTOCOL}: unexpected message type 0x{copying.stray:02x} during COPY from stdin"
            raise SessionFatal("08P01", text, what=PROTOCOL)
        instead: bytes | None = None
        denial = queue[0].denial if queue and not queue[0].failed else None
        if denial is not None and exchange.trick.caused(data):
            instead = denial.encode()
            code, text = denial.sqlstate, denial.text
        else:
            instead = self._masked.message(data)
            fields = decode_fields(data if instead is None else instead)
            code, text = fields.get("C", ""), fields.get("M", "")
        if not queue or queue[0].kind is Expect.SYNC:
            return instead
        entry = queue[0]
        if entry.kind is Expect.QUERY:
            entry.failed = True
            self._fail(entry, code, text)
            return instead
        self._fail_pipeline(code, text)
        return instead

    def _fail(self, entry: Entry, code: str, text: str) -> None:
        """The current command of `entry` failed; the rest of it does not run."""
        self._exchange.state.failed()
        auditor = self._exchange.auditor
        if entry.index < len(entry.runs):
            entry.runs[entry.index].finish(auditor, "error", code=code, error=text)
            self._exchange.ended.append(entry.runs[entry.index])
            for running in entry.runs[entry.index + 1 :]:
                running.finish(auditor, "aborted", error=f"an earlier statement failed: {text}")
        changes = entry.changes[entry.index :]
        self._exchange.release(entry)
        self._exchange.take_back(changes)
        if changes and changes[0] is not None and entry.kind is not Expect.PARSE and code != _NAME_IS_TAKEN:
            self._exchange.namespace.doubt(changes[0])
        entry.index = len(entry.runs)

    def _fail_pipeline(self, code: str, text: str) -> None:
        """The server skips to the next Sync: so does the queue."""
        exchange, queue = self._exchange, self._exchange.queue
        limited, exchange.limited = exchange.limited, None
        if limited is not None and limited.own:  # it failed by itself; the client of a Query sends no Sync
            self._sync()
        status: OutcomeStatus = "error"
        while queue:
            if queue[0].kind is Expect.SYNC:
                return
            entry = queue.popleft()
            if entry.runs and not entry.runs[0].finished and status == "error":
                self._fail(entry, code, text)
                status = "aborted"
            else:
                exchange.settle(entry, f"an earlier message of the pipeline failed: {text}")
                if entry.denial is not None:
                    status = "aborted"
        exchange.skipping = True
