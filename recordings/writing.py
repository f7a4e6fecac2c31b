"""What the auditor puts in the journal: the records of commands, whole or shortened, cleaned before they are framed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from onrecord.policies.errors import StoreError
from onrecord.policies.model import Command, Outcome
from onrecord.policies.redaction import MARK
from onrecord.policies.verdict import Allow, Ruling
from onrecord.recordings.decision import Decision, OpenSession, refusal_code
from onrecord.recordings.frames import NO_ID, FrameError, Kind
from onrecord.recordings.journal import Journal
from onrecord.recordings.records import CommandRecord, Record, encode, verdict_record

MAX_DENIED = 8 * 1024 * 1024  # bytes of a denied command's record; a longer one is shortened
SHORT_TEXT = 64 * 1024


class Writer:
    """One an auditor. `redact` sees every payload before it is framed; then a session's own `clean` has seen it."""

    def __init__(self, journal: Journal, redact: Callable[[bytes], bytes]) -> None:
        self._journal, self._redact = journal, redact
        self._verdicts: dict[str, msgspec.Raw] = {}
        self._verdicts_of = ""

    def append(
        self,
        kind: Kind,
        payload: bytes,
        *,
        id: bytes = b"",
        session: bytes,
        command: bytes = bytes(16),
        at: int = 0,
    ) -> None:
        try:
            self._journal.append_payload(kind, self._redact(payload), id=id, session=session, command=command, at=at)
        except FrameError as error:  # over the limit of one frame
            raise StoreError(str(error)) from None

    def anyway(self, kind: Kind, record: Record, *, session: bytes = NO_ID, command: bytes = NO_ID) -> bytes:
        """Write what must be written even on a full disk, from the reserve. Never raises; returns its id."""
        clean = msgspec.Raw(self._redact(encode(record)))
        return self._journal.refuse(kind, clean, session=session, command=command)

    def denied(self, decision: Decision, payload: bytes, code: str) -> None:
        """The command and its outcome "refused"; from the reserve if need be."""
        if len(payload) > MAX_DENIED:
            payload = _shortened(decision, len(payload))
            if decision.opened.clean is not None:
                payload = decision.opened.clean(payload)
        clean = msgspec.Raw(self._redact(payload))
        self._journal.refuse(Kind.COMMAND, clean, id=decision.raw, session=decision.opened.raw, command=decision.raw)
        code = code or refusal_code(decision.command, decision.ruling)
        outcome = Outcome(status="refused", code=code, error=decision.message)
        self.anyway(Kind.OUTCOME, outcome, session=decision.opened.raw, command=decision.raw)

    def command(
        self,
        opened: OpenSession,
        command: Command,
        ruling: Ruling,
        policies: str,
        detail: bytes | None,
        *,
        applied: bool,
        approval: str = "",
    ) -> bytes:
        """The record of a command, cleaned as its session cleans."""
        payload = self.plain(command, ruling, policies, detail, applied=applied, approval=approval)
        return payload if opened.clean is None else opened.clean(payload)

    def plain(
        self,
        command: Command,
        ruling: Ruling,
        policies: str,
        detail: bytes | None,
        *,
        applied: bool,
        approval: str = "",
    ) -> bytes:
        """The same, with nothing taken out."""
        record = CommandRecord(
            kind=command.command_kind,
            action=command.action,
            text=command.text,
            detail=msgspec.Raw(detail) if detail is not None else command.detail(),
            verdict=self._verdict_json(ruling, policies, applied=applied, approval=approval),  # type: ignore[arg-type]  # encodes alike
            cause=command.cause,
        )
        return encode(record)

    def redacted(self, opened: OpenSession, payload: bytes) -> bytes:
        """A record as whoever reads it sees it."""
        return self._redact(payload if opened.clean is None else opened.clean(payload))

    def clean_text(self, opened: OpenSession, text: str) -> str:
        """A text of the gateway's own (a preview, a reason) as it may go on record beside the command. Never raises."""
        try:
            payload = self.redacted(opened, msgspec.json.encode({"text": text}))
            return str(msgspec.json.decode(payload)["text"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return MARK

    def _verdict_json(self, ruling: Ruling, policies: str, *, applied: bool, approval: str = "") -> msgspec.Raw:
        """The encoded verdict; of a plain Allow it is made once for each policy and policy set."""
        plain = applied and ruling.verdict == Allow()
        if policies != self._verdicts_of:
            self._verdicts, self._verdicts_of = {}, policies
        found = self._verdicts.get(ruling.policy) if plain else None
        if found is None:
            record = verdict_record(ruling.verdict, ruling.policy, policies, applied=applied, approval=approval)
            found = msgspec.Raw(encode(record))
            if plain:
                self._verdicts[ruling.policy] = found
        return found


def alike(one: bytes, other: bytes) -> bool:
    """Whether two records say the same: cleaning may write the same JSON in other bytes."""
    try:
        return one == other or bool(msgspec.json.decode(one) == msgspec.json.decode(other))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False


def _shortened(decision: Decision, size: int) -> bytes:
    """The record of a denied command that is too long for one record: its beginning, its size and its digest."""
    command, ruling = decision.command, decision.ruling
    record = CommandRecord(
        kind=command.command_kind,
        action=command.action,
        text=command.text[:SHORT_TEXT],
        detail={"shortened": True, "size": size, "digest": command.digest},
        verdict=verdict_record(ruling.verdict, ruling.policy, decision.policies),
    )
    return encode(record)
