"""Execute: of a portal that was decided when it was bound, or of a cursor, which is decided now. No I/O."""

from __future__ import annotations

from onrecord.recordings.auditor import Decision
from onrecord.shims.postgres.commands import Refusal, Template
from onrecord.shims.postgres.copying import CopyIn
from onrecord.shims.postgres.deciding import Waiting
from onrecord.shims.postgres.exchange import Copying, Entry, Expect, Portal
from onrecord.shims.postgres.messages import decode_execute
from onrecord.shims.postgres.results import Running


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
        change = None
        if portal.template.special:
            _, inner = self._resolved(portal.template)
            if inner is not portal.resolved:
                reason = "the prepared statement changed between Bind and Execute"
                return self._refuse_execute(portal, reason, "bind it again")
            change = self._change_of(portal.template)
        entry = Entry(Expect.EXECUTE, (portal.running,), (change,), portal=portal)
        if portal.running.copy == "in":
            exchange.copying = Copying(entry, 1)
        exchange.queue.append(entry)
        exchange.to_upstream.append(data)
        return None

    def _refuse_execute(self, portal: Portal, reason: str, hint: str) -> Waiting:
        text = portal.template.command.text
        template = self._exchange.templates.opaque(text, "EXECUTE", Refusal(reason, hint))
        self._refuse_extended(Expect.EXECUTE, self._denial(self._deny(template), template))
        return None

    def _execute_cursor(self, data: bytes, name: str) -> Waiting:
        """Execute of a portal that no Bind made in this transaction: a cursor of DECLARE. It is a FETCH."""
        exchange = self._exchange
        template = exchange.templates.plain(f'Execute of the portal "{name}"', "FETCH", "read")
        answer = self._ask(template, template.command, template.detail)
        return self._when(answer, lambda decision: self._send_execute(data, template, decision))

    def _send_execute(self, data: bytes, template: Template, decision: Decision) -> None:
        exchange = self._exchange
        if self._skipped(decision):
            return
        if not decision.allowed:
            self._refuse_extended(Expect.EXECUTE, self._denial(decision, template))
            return
        exchange.queue.append(Entry(Expect.EXECUTE, (Running(decision, exchange.sample_limit),), (None,)))
        exchange.to_upstream.append(data)
