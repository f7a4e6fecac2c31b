"""The extended protocol: Parse, Bind, Describe and Close, decided where their statement is known. No I/O."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Awaitable

from onrecord.recordings.auditor import Decision
from onrecord.shims.postgres.calling import Calling
from onrecord.shims.postgres.commands import Prepared, Refusal, Template
from onrecord.shims.postgres.deciding import Waiting
from onrecord.shims.postgres.exchange import Entry, Exchange, Expect, Portal, SessionFatal
from onrecord.shims.postgres.largebind import LargeBind
from onrecord.shims.postgres.limits import check_bind, check_prepared
from onrecord.shims.postgres.messages import Bind, decode_bind, decode_parse, decode_target
from onrecord.shims.postgres.parameters import parameter_texts
from onrecord.shims.postgres.results import Running
from onrecord.shims.postgres.spool import Spool
from onrecord.shims.postgres.wire import HEADER_SIZE, MIB, PIECE, REST, WHOLE

_MISSING = "26000"
_FIRST_OF_BIND, WHOLE_BIND = ord("B") | PIECE, ord("B") | WHOLE


class Extended(Calling):
    """Prepared statements and portals."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._ahead: deque[tuple[int, bytes]] = deque()  # taken from the buffer and not handled yet
        self._large: LargeBind | None = None  # under way, or here and not decided

    def _parse(self, data: bytes) -> Waiting:
        parse = decode_parse(data, lenient=bool(self._exchange.state.altered))
        exchange = self._exchange
        check_prepared(exchange, parse.name, len(data))
        templates = exchange.templates.of(parse.text)
        if len(templates) > 1:
            refusal = Refusal("cannot insert multiple commands into a prepared statement", sqlstate="42601")
            template = exchange.templates.opaque(parse.text, "UNKNOWN", refusal)
        else:
            template = templates[0]
        prepared = Prepared(template, parse.types)
        if template.refusal is None and self._bind_follows(parse.name):
            return self._parse_and_bind(data, parse.name, prepared)
        resolved, _ = self._resolved(template)
        answer = self._ask(resolved, resolved.command, resolved.detail, outer=template, deferred=True)
        return self._when(answer, lambda decision: self._send_parse(data, parse.name, prepared, decision))

    def _send_parse(self, data: bytes, name: str, prepared: Prepared, decision: Decision | None) -> None:
        exchange = self._exchange
        if self._skipped(decision):
            return
        if decision is not None and not decision.allowed:
            self._trick_extended(Expect.PARSE, self._denial(decision, prepared.template), name)
            return
        runs = () if decision is None else (Running(decision, 0),)
        change = exchange.namespace.change(name, prepared)
        exchange.queue.append(Entry(Expect.PARSE, runs, (change,)))
        exchange.to_upstream.append(data)

    def _bind_follows(self, name: str) -> bool:
        """Whether the next message is here and is a Bind of the statement `name`."""
        if not self._ahead:
            return False
        kind, data = self._ahead[0]
        if kind != ord("B"):
            return False
        start = data.find(b"\0", HEADER_SIZE) + 1
        end = data.find(b"\0", start)
        return bool(start) and data[start:end] == name.encode()

    def _parse_and_bind(self, data: bytes, name: str, prepared: Prepared) -> Waiting:
        """Decide a Parse by the Bind behind it: a statement whose Bind is refused never reaches the server."""
        following = self._ahead[0][1]
        check_bind(self._exchange, len(following))
        bind = decode_bind(following)
        template, inner = self._resolved(prepared.template)
        self._ahead.popleft()

        def send(decision: Decision) -> None:
            if decision.allowed and not self._exchange.skipping:
                self._send_parse(data, name, prepared, None)
                self._send_bind(following, bind, prepared, template, inner, decision)
            elif not self._skipped(decision):  # the server would skip the Bind, which is not sent
                self._trick_extended(Expect.PARSE, self._denial(decision, template), name)

        return self._when(self._ask_bind(bind, prepared, template), send)

    def _piece(self, kind: int, data: bytes) -> bool:
        exchange, large = self._exchange, self._large
        if kind == _FIRST_OF_BIND and exchange.copying is None:
            self._large = None if exchange.skipping else LargeBind(exchange, data)
            return True
        if kind == REST and large is not None:
            if large.feed(data):
                self._ahead.appendleft((WHOLE_BIND, b""))
            return True
        return kind not in (_FIRST_OF_BIND, WHOLE_BIND) and super()._piece(kind, data)

    def _bind(self, data: bytes) -> Waiting:
        check_bind(self._exchange, len(data))
        return self._bind_decoded(data, decode_bind(data), {})

    def _bind_large(self, data: bytes) -> Waiting:  # noqa: ARG002  # it is on disk
        large = self._large
        if large is None:
            raise SessionFatal("XX000", "internal error of the gateway")
        check_bind(self._exchange, MIB)
        waiting = self._bind_decoded(large.spool, large.bind, large.large)
        self._large = None
        return waiting

    def _bind_decoded(self, data: bytes | Spool, bind: Bind, large: dict[int, str]) -> Waiting:
        prepared = self._lookup(bind.statement)
        if prepared is None:
            self._refuse_missing(bind)
            return None
        template, inner = self._resolved(prepared.template)
        answer = self._ask_bind(bind, prepared, template, large)
        return self._when(answer, lambda decision: self._send_bind(data, bind, prepared, template, inner, decision))

    def _ask_bind(
        self, bind: Bind, prepared: Prepared, template: Template, large: dict[int, str] | None = None
    ) -> Decision | Awaitable[Decision]:
        if prepared.template.special and bind.portal:  # FETCH would run it when the names may mean something else
            reason = f"{template.command.kind} by way of a named portal"
            refusal = Refusal(f"{reason} is not supported by the gateway", "bind it to the unnamed portal")
            template = dataclasses.replace(template, refusal=template.refusal or refusal)
        texts = parameter_texts(bind.values, bind.formats, prepared.types)
        if large:
            texts = tuple(large.get(place, text) for place, text in enumerate(texts))
        command, detail = template.bound(texts)
        return self._ask(template, command, detail, outer=prepared.template, large=bool(large))

    def _send_bind(
        self,
        data: bytes | Spool,
        bind: Bind,
        prepared: Prepared,
        template: Template,
        inner: Prepared | None,
        decision: Decision,
    ) -> None:
        exchange = self._exchange
        if self._skipped(decision):
            return
        if not decision.allowed:
            self._refuse_extended(Expect.BIND, self._denial(decision, template))
            return
        exchange.last = decision
        running = exchange.run(decision, template)
        running.formats = bind.result_formats
        # EXECUTE and FETCH may return other columns by now; any statement those of another table, where the path has
        # changed since it was described: masks by column have its portal described.
        if not prepared.template.special and (exchange.masking is None or not exchange.masking.by_column):
            running.columns = prepared.columns
        self._sending(template, running)
        segment = exchange.namespace.segment
        portal = Portal(prepared.template, running, prepared, inner, bind.result_formats, segment)
        portal.size = len(data) if isinstance(data, bytes) else MIB
        portal.decided = template
        if bind.portal:
            portal.cursor = exchange.cursors.declare(bind.portal, template, segment)
        exchange.put_portal(bind.portal, portal)
        exchange.queue.append(Entry(Expect.BIND, (running,)))
        exchange.to_upstream.append(data)

    def _refuse_missing(self, bind: Bind) -> None:
        reason = (
            f'prepared statement "{bind.statement}" does not exist' if bind.statement else "no statement was parsed"
        )
        template = self._exchange.templates.opaque(
            f'Bind of the prepared statement "{bind.statement}"', "EXECUTE", Refusal(reason, sqlstate=_MISSING)
        )
        self._refuse_extended(Expect.BIND, self._denial(self._deny(template), template))

    def _describe(self, data: bytes) -> Waiting:
        what, name = decode_target(data)
        exchange = self._exchange
        if what == "S":
            entry = Entry(Expect.DESCRIBE_STATEMENT, prepared=self._lookup(name))
        else:
            entry = Entry(Expect.DESCRIBE_PORTAL)
            portal = exchange.portals.get(name)
            if portal is not None and exchange.is_certain(portal):
                entry.portal, portal.running.described = portal, True
        exchange.queue.append(entry)
        exchange.to_upstream.append(data)
        return None

    def _close(self, data: bytes) -> Waiting:
        what, name = decode_target(data)
        exchange = self._exchange
        change, portal, closes = None, None, None
        if what == "S":
            change = exchange.namespace.change(name, None)
        else:
            closes = (name, exchange.cursors.serial)
            if (portal := exchange.portals.get(name)) is not None:
                portal.closing = True  # it is there until the server has come to it
        exchange.queue.append(Entry(Expect.CLOSE, changes=(change,), portal=portal, closes=closes))
        exchange.to_upstream.append(data)
        return None
