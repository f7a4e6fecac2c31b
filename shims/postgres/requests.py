"""Client → upstream: every message is decoded, decided and recorded, then passed on, replaced or dropped. No I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from onrecord.policies.model import SqlCommand
from onrecord.policies.sql.catalog import Catalog
from onrecord.recordings.approvals.bound import Together
from onrecord.recordings.auditor import Decision
from onrecord.shims.postgres.analysing import LONG
from onrecord.shims.postgres.commands import Template
from onrecord.shims.postgres.deciding import Waiting
from onrecord.shims.postgres.deny import Denial
from onrecord.shims.postgres.exchange import Copying, Entry, Exchange, Expect, SessionFatal
from onrecord.shims.postgres.extended import WHOLE_BIND, Extended
from onrecord.shims.postgres.limits import Stall
from onrecord.shims.postgres.messages import (
    encode_run,
    query_text,
)
from onrecord.shims.postgres.namespace import Change
from onrecord.shims.postgres.results import Running
from onrecord.shims.postgres.templates import Long, Miss
from onrecord.shims.postgres.wire import (
    CLIENT_LIMITS,
    CLIENT_PIECES,
    HEADER_SIZE,
    MessageBuffer,
)

Asked = tuple[Template, SqlCommand, bytes]

MAX_EXPECTED = 32768
_AT_ONCE = 256  # messages handled before others have their turn
REFUSED = "another statement of the same message was refused"
_NEVER_SKIPPED = frozenset(b"SX")


class Requests(Extended):
    """The client's messages, in order. `feed` bytes, then `run` until it returns None.

    `run` returns an awaitable where a policy has to think: await it, then run again. It returns None when it needs
    more bytes, or, with `stalled` set, when it must see upstream's answers first. Raises WireError and SessionFatal.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._buffer = MessageBuffer(CLIENT_LIMITS, CLIENT_PIECES)
        self.stalled = False
        self._refreshed = False  # the catalog was waited for: whatever came of it is used
        self._granted: Catalog | None = None
        self._handlers: dict[int, Callable[[bytes], Waiting]] = {
            ord("Q"): self._query,
            ord("P"): self._parse,
            ord("B"): self._bind,
            ord("D"): self._describe,
            ord("E"): self._execute,
            ord("C"): self._close,
            ord("S"): self._sync,
            ord("H"): self._flush,
            ord("F"): self._function_call,
            ord("X"): self._terminate,
            ord("d"): self._ignore,
            ord("c"): self._ignore,
            ord("f"): self._ignore,
            WHOLE_BIND: self._bind_large,
        }

    def feed(self, data: bytes) -> None:
        """Add bytes as they came from the client."""
        self._buffer.feed(data)

    def run(self) -> Waiting:
        """Handle messages until bytes, a decision or an answer are missing."""
        waiting = self._handle()
        self._record_copied()
        return waiting

    def _handle(self) -> Waiting:
        exchange, ahead, handlers = self._exchange, self._ahead, self._handlers
        templates, left = exchange.templates, _AT_ONCE if exchange.aside is not None else MAX_EXPECTED
        templates.worked = 0
        self.stalled = False
        if not self._catalog_is_fresh():
            return self._refresh()
        while not self.terminated:
            if not ahead:
                ahead.extend(self._buffer.all())
                if not ahead:
                    return None
            left -= 1
            if left < 0 or templates.worked > LONG:
                return asyncio.sleep(0)  # others have their turn
            found = ahead.popleft()
            kind, data = found
            if kind > 0xFF and self._piece(kind, data):
                continue
            if exchange.limited is not None:  # whether it stays is not known yet
                self._stall(found)
                return None
            if exchange.copying is None and exchange.skipping and kind not in _NEVER_SKIPPED:
                continue  # the server would ignore it
            if len(exchange.queue) >= MAX_EXPECTED:
                self._stall(found)
                return None
            try:
                if exchange.copying is not None:
                    self._while_copying(kind, data)
                    continue
                waiting = handlers[kind](data)
                templates.patient, templates.looked = True, False
            except Stall:
                self._stall(found)
                return None
            except Miss as miss:
                ahead.appendleft(found)
                return self._look_again() if not isinstance(miss, Long) else self._read_aside(miss.wanted)
            if waiting is not None:
                return waiting
        return None

    def _catalog_is_fresh(self) -> bool:
        """Whether messages can be decided now; the snapshot to decide them by is in the templates then."""
        exchange = self._exchange
        source = exchange.catalog
        if source is None:
            return True
        current = source.current
        if current is None and not self._refreshed and not source.fresh_now and exchange.copying is None:
            return False
        exchange.templates.catalog = current if current is not None else self._granted
        self._refreshed, self._granted = False, None
        return True

    async def _refresh(self) -> None:
        source = self._exchange.catalog
        if source is not None:
            self._granted = await source.fresh()
        self._refreshed = True

    async def _look_again(self) -> None:
        """A name is not in the catalog: it may be new."""
        templates = self._exchange.templates
        if self._exchange.catalog is not None:
            templates.looked = await self._exchange.catalog.look_again()
        templates.patient = False

    def _stall(self, found: tuple[int, bytes]) -> None:
        self._ahead.appendleft(found)
        self.stalled = True

    # ------------------------------------------------------------------ simple protocol

    def _query(self, data: bytes) -> Waiting:
        text = query_text(data, lenient=bool(self._exchange.state.altered))
        templates = self._exchange.templates.of(text)
        if len(templates) == 1 and not templates[0].special and templates[0].refusal is None:
            template = templates[0]
            answer = self._ask(template, template.command, template.detail)
            return self._when(answer, lambda decision: self._send_query(data, templates, [decision], [None]))
        return self._query_many(data, templates)

    def _query_many(self, data: bytes, templates: tuple[Template, ...]) -> Waiting:
        """Several statements, or one that touches the names of prepared statements: all of them or none."""
        changes: list[Change | None] = []
        try:
            asked: list[Asked] = []
            for template in templates:
                resolved, _ = self._resolved(template)
                asked.append((resolved, resolved.command, resolved.detail))
                changes.append(self._change_of(template))
                if template.declares is not None:  # a FETCH behind it in the text is of this one
                    self._exchange.cursors.declare(template.declares, template, self._exchange.namespace.segment)
        except (Stall, Miss):
            self._exchange.take_back(changes)
            raise
        together = Together(len(asked)) if len(asked) > 1 else None
        answers = [
            self._ask(*one, outer=template, together=together) for one, template in zip(asked, templates, strict=True)
        ]
        resolved_all = tuple(template for template, _, _ in asked)

        def send(decisions: list[Decision | None]) -> None:
            self._send_query(data, resolved_all, decisions, changes)

        decisions: list[Decision | None] = [answer for answer in answers if isinstance(answer, Decision)]
        if len(decisions) == len(answers):
            send(decisions)
            return None
        return self._when_all(answers, together, send)

    async def _when_all(
        self,
        answers: list[Decision | Awaitable[Decision]],
        together: Together | None,
        then: Callable[[list[Decision | None]], None],
    ) -> None:
        """Wait for all side by side: each that needs a human asks at once, and no grant is used before all may run.

        As soon as one is refused the others are not waited for: none of them will run.
        """

        async def one(answer: Decision | Awaitable[Decision]) -> Decision:
            decision = answer if isinstance(answer, Decision) else await answer
            if together is not None and not (decision.allowed and decision.approval is not None):
                together.arrive(allowed=decision.allowed)  # what was granted has arrived before it was used
            return decision

        tasks = [asyncio.ensure_future(one(answer)) for answer in answers]
        try:
            pending = set(tasks)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if any(not task.result().allowed for task in done if not task.cancelled()):
                    for task in pending:
                        task.cancel(REFUSED)
        except BaseException as error:  # the session ends while a policy thinks
            for task in tasks:
                task.cancel(*error.args[:1])
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled() and task.exception() is None and task.result().allowed:
                    self._exchange.auditor.abort(task.result(), "the session ended before it was sent")
            raise
        then([None if task.cancelled() else task.result() for task in tasks])

    def _send_query(
        self,
        data: bytes,
        templates: tuple[Template, ...],
        found: list[Decision | None],
        changes: list[Change | None],
    ) -> None:
        """Send it, or refuse it; None stands for a statement that was taken back when another one was refused."""
        exchange = self._exchange
        decisions = [decision for decision in found if decision is not None]
        denied = [index for index, decision in enumerate(found) if decision is not None and not decision.allowed]
        if exchange.skipping or denied or len(decisions) < len(found):
            exchange.take_back(changes)
            error = (
                "an earlier message of the pipeline failed" if exchange.skipping else "another statement was refused"
            )
            for decision in decisions:
                if decision.allowed:
                    Running(decision, 0).finish(exchange.auditor, "aborted", error=error)
            if exchange.skipping:
                return
            first = found[denied[0]] if denied else None
            if first is None:
                raise SessionFatal("57P01", "what waited was taken back")
            self._refuse_query(self._denial(first, templates[denied[0]]))
            return
        exchange.last = decisions[-1]
        runs = tuple([exchange.run(*one) for one in zip(decisions, templates, strict=True)])
        if any(running.max_rows is not None for running in runs):
            self._send_limited(data, runs, templates, changes)
            return
        entry = Entry(Expect.QUERY, runs, tuple(changes))
        incoming = 0
        for running, template in zip(runs, templates, strict=True):
            incoming += running.copy == "in"
            self._sending(template, running)
        if incoming:
            exchange.copying = Copying(entry, incoming)
        self._end_segment(entry)
        exchange.to_upstream.append(data)

    def _send_limited(
        self, data: bytes, runs: tuple[Running, ...], templates: tuple[Template, ...], changes: list[Change | None]
    ) -> None:
        """A Query whose rows are limited goes as Parse, Bind and Execute: without the Sync nothing of it stays."""
        exchange = self._exchange
        if len(runs) != 1 or (exchange.queue and exchange.queue[-1].kind not in (Expect.QUERY, Expect.SYNC)):
            exchange.take_back(changes)
            for running in runs:
                running.finish(exchange.auditor, "aborted", error="its rows could not be limited here")
            self._refuse_query(Denial("0A000", "onrecord: onrecord:approval: its rows cannot be limited here"))
            return
        self._sending(templates[0], runs[0])
        # The server's unnamed statement is this one from now on: the client's is gone, as after any Query.
        first = Entry(Expect.PARSE, changes=(exchange.namespace.change("", None),))
        second = Entry(Expect.BIND)
        entry = Entry(Expect.EXECUTE, runs, tuple(changes))
        first.own = second.own = entry.own = True
        exchange.queue.extend((first, second, entry))
        exchange.limited = entry
        exchange.to_upstream.append(encode_run(data[HEADER_SIZE:-1]))

    def _sync(self, data: bytes) -> Waiting:
        exchange = self._exchange
        exchange.skipping = False
        self._large = None
        self._end_segment(Entry(Expect.SYNC))
        exchange.to_upstream.append(data)
        return None

    def _flush(self, data: bytes) -> Waiting:
        self._exchange.to_upstream.append(data)
        return None

    def _terminate(self, data: bytes) -> Waiting:  # noqa: ARG002  # every handler takes the message
        self.terminated = True
        return None
