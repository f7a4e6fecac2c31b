"""What the index tables hold for each record: one pure class, used to write them and, by `verify`, to check them.

Index rows only find records; nothing that is shown comes from them. A payload that cannot be read (a later version's,
or nonsense) still gets its row, with kind "unreadable": it is listed, never hidden.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import msgspec

from onrecord.recordings.frames import HEADER, NO_ID, Kind, id_bytes
from onrecord.recordings.records import RefusalRecord

TEXT_LIMIT = 16 * 1024
_MAX_TIME = 2**63 - 1
_UNREADABLE = (ValueError, RecursionError)  # MsgspecError, and UnicodeDecodeError for bytes that are no text
# names of things, already in the text or of no use to a search
_SKIPPED = frozenset(
    {
        "kind", "tables_read", "tables_written", "columns_read", "functions", "has_where", "role", "method",
        "scheme", "host", "port", "content_type",
    }
)  # fmt: skip


class _Verdict(msgspec.Struct):
    type: str
    reason: str = ""
    hint: str = ""


class _Command(msgspec.Struct):
    kind: str
    text: str
    verdict: _Verdict
    detail: msgspec.Raw = msgspec.Raw(b"null")


class _Outcome(msgspec.Struct):
    status: str
    error: str | None = None
    sample: msgspec.Raw = msgspec.Raw(b"null")


class _Who(msgspec.Struct):
    subject: str
    groups: tuple[str, ...] = ()
    on_behalf_of: str | None = None


class _Session(msgspec.Struct):
    run: str
    identity: _Who
    resource: str
    protocol: str
    client: str = ""
    login: str = ""


class _Approval(msgspec.Struct):
    approval: str
    event: str
    reason: str = ""
    request: msgspec.Raw = msgspec.Raw(b"null")


class _Chunk(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"null")


_read_command = msgspec.json.Decoder(_Command).decode
_read_outcome = msgspec.json.Decoder(_Outcome).decode
_read_session = msgspec.json.Decoder(_Session).decode
_read_chunk = msgspec.json.Decoder(_Chunk).decode
_read_approval = msgspec.json.Decoder(_Approval).decode
_read_refusal = msgspec.json.Decoder(RefusalRecord).decode
_read_any = msgspec.json.Decoder().decode

# Rows are the same wherever one batch ends and the next begins: an outcome is of the last command before it with that
# id (two have one where the first could not be written for certain), its first outcome counts.
_LATE = """
UPDATE commands SET status = ?, outcome = ?
WHERE seq = (SELECT max(seq) FROM commands WHERE id = ? AND seq < ?) AND outcome IS NULL
"""

CommandRow = tuple[int, bytes, bytes | None, str, str, str | None, int, int | None, str | None, str | None, str | None]


class Projection:
    """Rows of a run of records, collected; `write` puts them into a database and forgets them."""

    def __init__(self) -> None:
        self._commands: dict[int, CommandRow] = {}
        self._by_id: dict[bytes, int] = {}
        self._late: list[tuple[str, int, bytes, int]] = []
        self._sessions: list[tuple[object, ...]] = []
        self._ends: list[tuple[int, bytes, int]] = []
        self._chunks: list[tuple[bytes, int]] = []
        self._approvals: list[tuple[int, bytes, str]] = []
        self._texts: list[tuple[int, str]] = []
        self.opened: list[bytes] = []
        self.ended: dict[bytes, None] = {}

    def add(self, seq: int, leaf: bytes) -> None:
        """Collect the rows of record `seq`. Never raises."""
        _, kind, key, id, session, command, at = HEADER.unpack_from(leaf)
        at = min(at, _MAX_TIME)
        payload = leaf[HEADER.size :] if key == 0 else b""
        if kind == Kind.COMMAND:
            self._add_command(seq, id, session, at, payload)
        elif kind == Kind.OUTCOME:
            self._add_outcome(seq, command, payload)
        elif kind == Kind.CHUNK:
            self._chunks.append((command, seq))
            with contextlib.suppress(*_UNREADABLE):
                self._text(seq, "", _words(_read_chunk(payload).data))
        elif kind == Kind.SESSION:
            self._add_session(seq, id, at, payload)
        elif kind == Kind.SESSION_END:
            self._ends.append((seq, session, seq))
            self.ended[session] = None
        elif kind == Kind.REFUSAL:
            self._add_refusal(seq, id, at, payload)
        elif kind == Kind.APPROVAL:
            self._add_approval(seq, payload)

    def write(self, connection: sqlite3.Connection) -> None:
        """Insert what was collected, inside the caller's transaction."""
        many = connection.executemany
        if self._sessions:
            many("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)", self._sessions)
        if self._commands:
            many("INSERT INTO commands VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._commands.values())
        if self._late:
            many(_LATE, self._late)
        if self._ends:
            many("UPDATE sessions SET ended = ? WHERE id = ? AND ended IS NULL AND seq < ?", self._ends)
        if self._chunks:
            many("INSERT INTO chunks VALUES (?, ?)", self._chunks)
        if self._approvals:
            many("INSERT INTO approvals VALUES (?, ?, ?)", self._approvals)
        if self._texts:
            many("INSERT INTO search (rowid, text) VALUES (?, ?)", self._texts)
        self.__init__()  # type: ignore[misc]  # start over empty

    def _add_command(self, seq: int, id: bytes, session: bytes, at: int, payload: bytes) -> None:
        of = None if session == NO_ID else session
        try:
            record = _read_command(payload)
            words = _words(record.detail)
        except _UNREADABLE:
            self._put(seq, id, (seq, id, of, "unreadable", "unreadable", None, at, None, None, None, None))
            return
        verdict = record.verdict
        self._put(seq, id, (seq, id, of, record.kind, verdict.type, None, at, None, None, None, None))
        self._text(seq, f"{record.text}\n{verdict.reason}\n{verdict.hint}", words)

    def _put(self, seq: int, id: bytes, row: CommandRow) -> None:
        self._commands[seq] = row
        self._by_id[id] = seq

    def _add_outcome(self, seq: int, command: bytes, payload: bytes) -> None:
        try:
            record = _read_outcome(payload)
            status = record.status
            self._text(seq, record.error or "", _words(record.sample))
        except _UNREADABLE:
            status = "unreadable"
        # the usual case: the command is of the same batch, and its row need not be updated later
        at = self._by_id.get(command)
        if at is None:
            self._late.append((status, seq, command, seq))
            return
        row = self._commands[at]
        if row[7] is None:
            self._commands[at] = (*row[:5], status, row[6], seq, *row[8:])

    def _add_session(self, seq: int, id: bytes, at: int, payload: bytes) -> None:
        self.opened.append(id)
        self.ended.pop(id, None)
        try:
            record = _read_session(payload)
        except _UNREADABLE:
            self._sessions.append((seq, id, "", "", None, "", "unreadable", at))
            return
        who = record.identity
        self._sessions.append(
            (seq, id, record.run, who.subject, who.on_behalf_of, record.resource, record.protocol, at)
        )
        words = [who.subject, who.on_behalf_of or "", *who.groups, record.resource, record.client, record.login]
        self._texts.append((seq, "\n".join(words)[:TEXT_LIMIT]))

    def _add_refusal(self, seq: int, id: bytes, at: int, payload: bytes) -> None:
        try:
            record = _read_refusal(payload)
        except _UNREADABLE:
            self._put(seq, id, (seq, id, None, "unreadable", "unreadable", None, at, None, None, None, None))
            return
        who = record.identity
        subject, behalf = (who.subject, who.on_behalf_of) if who else (None, None)
        resource = record.resource or None
        self._put(seq, id, (seq, id, None, "refusal", "deny", "refused", at, None, resource, subject, behalf))
        words = [record.what, record.text, record.reason, record.detail, record.client, subject or "", behalf or ""]
        self._texts.append((seq, "\n".join(words)[:TEXT_LIMIT]))

    def _add_approval(self, seq: int, payload: bytes) -> None:
        try:
            record = _read_approval(payload)
            self._approvals.append((seq, id_bytes(record.approval), record.event))
            self._text(seq, record.reason, _words(record.request))
        except _UNREADABLE:
            self._approvals.append((seq, b"", "unreadable"))

    def _text(self, seq: int, head: str, more: list[str]) -> None:
        """What a search over record `seq` finds: `head`, then the words of `more`, bounded."""
        text = "\n".join((head, *more))[:TEXT_LIMIT].strip()
        if text:
            self._texts.append((seq, text))


def _words(data: msgspec.Raw) -> list[str]:
    """Every string and number in JSON, bounded. Raises ValueError or RecursionError: Raw was not looked into."""
    if len(data) <= 4:
        return []
    words: list[str] = []
    room = TEXT_LIMIT
    for word in _strings(_read_any(data)):
        words.append(word)
        room -= len(word)
        if room <= 0:
            break
    return words


def _strings(value: object) -> Iterator[str]:
    """Strings and numbers in decoded JSON, in order; iterative, so depth is no danger."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            stack.extend(entry for name, entry in reversed(item.items()) if name not in _SKIPPED)
        elif isinstance(item, list):
            stack.extend(reversed(item))
        elif isinstance(item, int | float) and not isinstance(item, bool):
            yield str(item)
