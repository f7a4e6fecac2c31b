"""Execute: of a portal that was decided when it was bound, or of a cursor, which is decided now. No I/O."""

from __future__ import annotations

from onrecord.recordings.auditor import Decision
from onrecord.shims.postgres.commands import Refusal, Template
from onrecord.shims.postgres.copying import CopyIn
from onrecord.shims.postgres.deciding import Waiting
from onrecord.shims.postgres.exchange import Copying, Entry, Expect, Portal
from onrecord.shims.postgres.messages import FLUSH, decode_execute
from onrecord.shims.postgres.results import Running
from onrecord.shims.postgres.wire import HEADER_SIZE, message


class Executing(CopyIn):
    """How the Execute message is answered."""

    def _execute(self, data: bytes) -> Waiting:
        name, _ = decode_execute(data)
        exchange = self._exchange
        portal = exchange.portals.get(name)
        if portal is None:
            return self._execute_cursor(data, name)
        if portal.closing or portal.running.finished:
            if portal.done and not portal.closing:
                return self._execute_cursor(data, name)  # at its end: there is nothing more in it
            return self._refuse_execute(portal, "the portal was closed or hit by an error", "bind it again")
        if not exchange.is_certain(portal):
            if portal.decided.command.action != "read" or portal.running.copy:
                return self._refuse_execute(portal, "its name may be another cursor's by now", "bind it again")
            return self._execute_cursor(data, name)
        change = None
        if portal.template.special:
            now, inner = self._resolved(exchange.templates.again(portal.template))
            decided = portal.decided
            if inner is not portal.resolved or (now.detail, now.lineage) != (decided.detail, decided.lineage):
                reason = "the prepared statement, or what it means, changed between Bind and Execute"
                return self._refuse_execute(portal, reason, "bind it again")
            change = self._change_of(portal.template)
        self._describe_first(data, portal.running)
        entry = Entry(Expect.EXECUTE, (portal.running,), (change,), portal=portal)
        if portal.running.copy == "in":
            exchange.copying = Copying(entry, 1)
        exchange.queue.append(entry)
        exchange.to_upstream.append(data)
        if portal.running.max_rows is not None:
            exchange.limited = entry
            exchange.to_upstream.append(FLUSH)
        return None

    def _refuse_execute(self, portal: Portal, reason: str, hint: str) -> Waiting:
        text = portal.template.command.text
        template = self._exchange.templates.opaque(text, "EXECUTE", Refusal(reason, hint))
        self._refuse_extended(Expect.EXECUTE, self._denial(self._deny(template), template))
        return None

    def _execute_cursor(self, data: bytes, name: str) -> Waiting:
        """Execute of a portal that no Bind made in this transaction: a cursor of DECLARE. It is a FETCH."""
        exchange = self._exchange
        template = exchange.templates.fetching(f'Execute of the portal "{name}"', name)
        template, _ = self._resolved(template)
        answer = self._ask(template, template.command, template.detail)
        return self._when(answer, lambda decision: self._send_execute(data, template, decision))

    def _send_execute(self, data: bytes, template: Template, decision: Decision) -> None:
        exchange = self._exchange
        if self._skipped(decision):
            return
        if not decision.allowed:
            self._refuse_extended(Expect.EXECUTE, self._denial(decision, template))
            return
        running = exchange.run(decision, template)
        self._describe_first(data, running)
        exchange.queue.append(Entry(Expect.EXECUTE, (running,), (None,)))
        exchange.to_upstream.append(data)

    def _describe_first(self, data: bytes, running: Running) -> None:
        """Rows are masked by what their columns are: where the client did not ask for that, the gateway does."""
        exchange = self._exchange
        masking = exchange.masking
        if masking is None or running.columns or running.described or running.copy:
            return
        if masking.concerns(running.decision):
            running.described = True
            name = data[HEADER_SIZE : data.index(0, HEADER_SIZE) + 1]
            exchange.queue.append(Entry(Expect.DESCRIBE_PORTAL, target=running))
            exchange.to_upstream.append(message(b"D", b"P" + name))
