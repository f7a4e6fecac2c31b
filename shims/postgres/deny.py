"""Refusing inside the protocol, so that client and server stay in step.

The refused message is replaced by one whose SQL is a random word. The server raises a syntax error at exactly the
right place, aborts the transaction and skips to the next Sync, as for any failing statement; its ErrorResponse is then
rewritten to tell the refusal. The word never leaves towards the client.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from onrecord.policies.verdict import Hold
from onrecord.recordings.auditor import Decision
from onrecord.shims.postgres.commands import INSUFFICIENT_PRIVILEGE
from onrecord.shims.postgres.messages import encode_parse, encode_query, error
from onrecord.shims.postgres.wire import message


class Denial(NamedTuple):
    """What the client reads."""

    sqlstate: str
    text: str
    detail: str = ""
    hint: str = ""

    def encode(self) -> bytes:
        return error(self.sqlstate, self.text, detail=self.detail, hint=self.hint)


def denial_of(decision: Decision, reasons: tuple[str, ...] = (), sqlstate: str = INSUFFICIENT_PRIVILEGE) -> Denial:
    """The refusal that `decision` is; `reasons` say why a statement is not plain."""
    verdict, policy = decision.ruling.verdict, decision.ruling.policy
    reason = getattr(verdict, "reason", "") or "refused"
    hint = getattr(verdict, "hint", "")
    if isinstance(verdict, Hold):
        who = f" by {verdict.who}" if verdict.who else ""
        reason = f"approval required{who}: {reason}"
    lines = [f"Record {decision.id}."]
    if reasons:
        lines.append("Seen in the statement: " + "; ".join(reasons[:5]) + ".")
    if decision.approval is not None and decision.approval.id:
        lines.append(f"Approval {decision.approval.id}.")
    return Denial(decision.code or sqlstate, f"onrecord: {policy}: {reason}", " ".join(lines), hint)


class Trick:
    """The random word of one session, and the messages that carry it."""

    __slots__ = ("_word", "copy_fail", "query")

    def __init__(self) -> None:
        self._word = "onrecord_refused_" + secrets.token_hex(16)
        self.query = encode_query(self._word)
        self.copy_fail = message(b"f", self._word.encode() + b"\0")

    def parse(self, name: str | None = None) -> bytes:
        """A failing Parse of the statement `name`; a name of its own, if None, so that no statement is lost."""
        return encode_parse(self._word if name is None else name, self._word)

    def caused(self, response: bytes) -> bool:
        """Whether this ErrorResponse answers one of our messages."""
        return self._word.encode() in response
