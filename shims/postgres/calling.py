"""FunctionCall: decided as a SELECT of the function would be. No I/O."""

from __future__ import annotations

import msgspec

from onrecord.policies.model import NameSet
from onrecord.recordings.auditor import Decision
from onrecord.shims.postgres.commands import Refusal, own_detail
from onrecord.shims.postgres.deciding import Waiting
from onrecord.shims.postgres.exchange import Entry, Expect
from onrecord.shims.postgres.executing import Executing
from onrecord.shims.postgres.functioncall import FunctionCall, decode_call
from onrecord.shims.postgres.messages import Column
from onrecord.shims.postgres.results import Running

_MASKED = "what a function returns by FunctionCall cannot be masked"


class Calling(Executing):
    """How the FunctionCall message is answered."""

    def _function_call(self, data: bytes) -> Waiting:
        call = decode_call(data)
        templates = self._exchange.templates
        template = templates.plain(call.text, "SELECT", call.action)
        functions = NameSet({call.name} if call.name else ())
        template.command = msgspec.structs.replace(template.command, functions=functions, parameters=call.arguments)
        masking = self._exchange.masking
        # By a rule of columns SELECT loread(…) is masked whole: nobody knows from where a large object has its bytes.
        reads = call.name == "loread"
        if masking is not None and ((not call.name and not masking.idle) or (reads and masking.by_column)):
            template.refusal = Refusal(_MASKED, "call it with SELECT", policy="onrecord:masking")
        template = own_detail(template)
        detail = msgspec.json.encode(template.command.detail())
        answer = self._ask(template, template.command, detail)

        def send(decision: Decision) -> None:
            if self._skipped(decision):
                return
            if not decision.allowed:
                self._refuse_query(self._denial(decision, template))
                return
            self._send_call(data, call, self._exchange.run(decision, template))

        return self._when(answer, send)

    def _send_call(self, data: bytes, call: FunctionCall, running: Running) -> None:
        exchange = self._exchange
        exchange.last = running.decision
        running.calls = True
        running.columns = (Column(call.name or "function", 0, 0, call.type, call.format),)
        running.formats = (call.format,)
        self._end_segment(Entry(Expect.QUERY, (running,)))
        exchange.to_upstream.append(data)
