"""Asking the auditor about a client's messages, and what follows from the answer. No I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from onrecord.policies.model import SqlCommand
from onrecord.policies.sql.catalog import Catalog
from onrecord.recordings.approvals.bound import Together
from onrecord.recordings.auditor import Decision
from onrecord.shims.postgres.analysing import Wanted
from onrecord.shims.postgres.commands import Prepared, Template
from onrecord.shims.postgres.deny import Denial, denial_of
from onrecord.shims.postgres.exchange import Entry, Exchange, Expect, SessionFatal
from onrecord.shims.postgres.holding import Binding, definitions
from onrecord.shims.postgres.limits import Stall, check_prepared
from onrecord.shims.postgres.namespace import ALL, Change, Unsettled
from onrecord.shims.postgres.results import Running
from onrecord.shims.postgres.templates import Long, Miss, prepared_by

Waiting = Awaitable[None] | None


class Recheck:
    """Looks at one statement again when it was granted."""

    __slots__ = ("_arguments", "_deciding")

    def __init__(self, deciding: Deciding, outer: Template, template: Template, command: SqlCommand) -> None:
        catalog = deciding._exchange.templates.catalog  # noqa: SLF001  # the one that it is held by
        self._deciding, self._arguments = deciding, (outer, template, command, catalog)

    def __call__(self) -> Awaitable[SqlCommand | None]:
        return self._deciding.understood_now(*self._arguments)


class Deciding:
    """What handlers of client messages share."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def _ask(
        self,
        template: Template,
        command: SqlCommand,
        detail: bytes,
        *,
        outer: Template | None = None,
        together: Together | None = None,
        large: bool = False,
        deferred: bool = False,
    ) -> Decision | Awaitable[Decision]:
        """Decide `command`, which `template` made; `outer` is what it was before an EXECUTE in it was looked up."""
        exchange = self._exchange
        if template.refusal is not None:
            return self._deny(template, command)
        return exchange.auditor.submit(
            exchange.opened,
            command,
            detail=detail,
            flush=False,
            extra=template.ruling,
            bound=Binding(
                template,
                command,
                Recheck(self, outer or template, template, command),
                together,
                large,
                exchange.templates.catalog,
                deferred,
            ),
        )

    async def understood_now(
        self, outer: Template, template: Template, command: SqlCommand, held_by: Catalog | None
    ) -> SqlCommand | None:
        """The command as it reads under the catalog of this moment; None where it means something else by now."""
        exchange = self._exchange
        templates = exchange.templates
        before = definitions(template, held_by)
        if exchange.catalog is not None:
            if not await exchange.catalog.look_again():  # others may have changed it while a human thought
                return None
            templates.catalog = await exchange.catalog.fresh()
        if before != definitions(template, templates.catalog):
            return None
        try:
            now = await self._now(outer)
        except (Stall, Miss):
            return None
        if now is template:
            return command
        if now.refusal is not None or (now.lineage, now.ruling) != (template.lineage, template.ruling):
            return None
        return now.command if command.parameters is None else now.bound(command.parameters)[0]

    async def _now(self, outer: Template) -> Template:
        """What `outer` is by now. Raises Stall and Miss."""
        templates = self._exchange.templates
        while True:
            templates.patient = False
            try:
                return self._resolved(templates.again(outer))[0]
            except Long as long:
                wanted = long.wanted
            finally:
                templates.patient = True
            await self._read_aside(wanted)

    async def _read_aside(self, wanted: Wanted) -> None:
        """Have a long text read on a thread."""
        aside = self._exchange.aside
        if aside is not None:
            self._exchange.templates.put(wanted, await aside.read(wanted))

    def _when(self, answer: Decision | Awaitable[Decision], then: Callable[[Decision], None]) -> Waiting:
        """Go on with the decision: now, or when it is there."""
        if isinstance(answer, Decision):
            then(answer)
            return None
        return self._later(answer, then)

    async def _later(self, answer: Awaitable[Decision], then: Callable[[Decision], None]) -> None:
        then(await answer)

    def _deny(self, template: Template, command: SqlCommand | None = None) -> Decision:
        refusal = template.refusal
        if refusal is None:
            raise SessionFatal("XX000", "internal error of the gateway")
        return self._exchange.auditor.deny(
            self._exchange.opened,
            command or template.command,
            refusal.reason,
            refusal.policy,
            refusal.hint,
            code=refusal.sqlstate,
        )

    def _denial(self, decision: Decision, template: Template, sqlstate: str = "") -> Denial:
        refusal = template.refusal
        if refusal is not None:
            sqlstate = sqlstate or refusal.sqlstate
        return denial_of(decision, template.reasons, *([sqlstate] if sqlstate else []))

    def _resolved(self, template: Template) -> tuple[Template, Prepared | None]:
        """The template to decide, and the prepared statement or cursor that an EXECUTE or FETCH in it means now."""
        if template.executes is not None:
            inner = self._lookup(template.executes)
        elif template.fetches is not None:
            inner = self._cursor(template.fetches)
        else:
            return template, None
        return self._exchange.templates.executing(template, inner), inner

    def _cursor(self, name: str) -> Prepared | None:
        """What a FETCH from `name` runs: a cursor of DECLARE, or a portal, which is a cursor of that name."""
        exchange = self._exchange
        if name:
            return exchange.cursors.lookup(name)
        portal = exchange.portals.get(name)  # no SQL can name it
        return None if portal is None else portal.resolved or portal.prepared

    def _lookup(self, name: str) -> Prepared | None:
        try:
            prepared = self._exchange.namespace.lookup(name)
        except Unsettled:
            raise Stall from None
        if prepared is not None:  # the catalog or search_path may have changed since it was prepared
            prepared.template = self._exchange.templates.again(prepared.template)
        return prepared

    def _sending(self, template: Template, running: Running) -> None:
        """The statement of `template` goes to the server with what is sent now, as `running`."""
        running.lineage = template.lineage
        masking = self._exchange.masking
        if template.command.action == "unknown" and masking is not None and masking.traces:
            self._exchange.cursors.lose()  # it may close a cursor, and open another of that name
        if not template.tracked:
            return
        running.statements = template.statements
        exchange = self._exchange
        segment = exchange.namespace.segment
        exchange.state.sending(template.statements, segment)
        if template.declares is not None:
            exchange.cursors.declare(template.declares, template, segment)

    def _change_of(self, template: Template) -> Change | None:
        """What an SQL statement does to the names of prepared statements."""
        namespace = self._exchange.namespace
        if template.prepares is not None:
            check_prepared(self._exchange, template.prepares, len(template.command.text))
            return namespace.change(template.prepares, Prepared(prepared_by(template)))
        if template.deallocates == ALL:
            return namespace.wipe()
        if template.deallocates is not None:
            return namespace.change(template.deallocates, None)
        return None

    def _skipped(self, decision: Decision | None) -> bool:
        """While a policy thought, the pipeline failed: the server would ignore the message, so it is not sent."""
        if not self._exchange.skipping:
            return False
        if decision is not None and decision.allowed:
            error = "an earlier message of the pipeline failed"
            Running(decision, 0).finish(self._exchange.auditor, "aborted", error=error)
        return True

    def _end_segment(self, entry: Entry) -> None:
        namespace = self._exchange.namespace
        entry.segment = namespace.segment
        namespace.segment += 1
        self._exchange.queue.append(entry)

    def _refuse_query(self, denial: Denial) -> None:
        self._end_segment(Entry(Expect.QUERY, denial=denial))
        self._exchange.to_upstream.append(self._exchange.trick.query)

    def _refuse_extended(self, kind: Expect, denial: Denial) -> None:
        self._trick_extended(kind, denial, None)

    def _trick_extended(self, kind: Expect, denial: Denial, name: str | None) -> None:
        """The server will fail here at the latest and skip to the next Sync: what follows is not even asked about."""
        exchange = self._exchange
        exchange.queue.append(Entry(kind, denial=denial))
        exchange.to_upstream.append(exchange.trick.parse(name))
        exchange.skipping = True
