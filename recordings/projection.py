"""What the index tables hold for each record: one pure class, used to write them and, by `verify`, to check them.

Index rows only find records; nothing that is shown comes from them. A payload that cannot be read (a later version's,
or nonsense) still gets its row, with kind "unreadable": it is listed, never hidden.
"""

from __future__ import annotations

import contextlib
import sqlite3

import msgspec

from onrecord.recordings.frames import HEADER, NO_ID, Kind, id_bytes
from onrecord.recordings.inserting import insert_rows
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
_read_any = msgspec.json.Decoder(object).decode

# Rows are the same wherever one batch ends and the next begins: an outcome is of the last command before it with that
# id (two have one where the first could not be written for certain), its first outcome counts.
_LATE = """
UPDATE commands SET status = ?, outcome = ?
WHERE seq = (SELECT max(seq) FROM commands WHERE id = ? AND seq < ?) AND outcome IS NULL
"""

_COMMAND, _CHUNK, _OUTCOME_KIND = int(Kind.COMMAND), int(Kind.CHUNK), int(Kind.OUTCOME)
_STATUS, _OUTCOME = 5, 7  # columns of a command's row
_REMEMBERED = 2048
_SHORT = 1024  # bytes


class Projection:
    """Rows of a run of records, collected; `write` puts them into a database and forgets them."""

    def __init__(self) -> None:
        self._commands: dict[int, list[object]] = {}
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
        if kind == _COMMAND:
            self._add_command(seq, id, session, at, payload)
        elif kind == _OUTCOME_KIND:
            self._add_outcome(seq, command, payload)
        elif kind == _CHUNK:
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
            insert_rows(connection, "commands", 11, list(self._commands.values()))
        if self._late:
            many(_LATE, self._late)
        if self._ends:
            many("UPDATE sessions SET ended = ? WHERE id = ? AND ended IS NULL AND seq < ?", self._ends)
        if self._chunks:
            insert_rows(connection, "chunks", 2, self._chunks)
        if self._approvals:
            many("INSERT INTO approvals VALUES (?, ?, ?)", self._approvals)
        if self._texts:
            many("INSERT INTO search (rowid, text) VALUES (?, ?)", self._texts)
        self.__init__()  # type: ignore[misc]  # start over empty

    def _add_command(self, seq: int, id: bytes, session: bytes, at: int, payload: bytes) -> None:
        of = None if session == NO_ID else session
        try:
            record = _read_command(payload)
            words = _remembered_words(record.detail)
        except _UNREADABLE:
            self._put(seq, id, [seq, id, of, "unreadable", "unreadable", None, at, None, None, None, None])
            return
        verdict = record.verdict
        self._put(seq, id, [seq, id, of, record.kind, verdict.type, None, at, None, None, None, None])
        self._text(seq, f"{record.text}\n{verdict.reason}\n{verdict.hint}", words)

    def _put(self, seq: int, id: bytes, row: list[object]) -> None:
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
        if row[_OUTCOME] is None:
            row[_STATUS], row[_OUTCOME] = status, seq

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
        texts = [who.subject, who.on_behalf_of or "", *who.groups, record.resource, record.client, record.login]
        self._texts.append((seq, "\n".join(texts)[:TEXT_LIMIT]))

    def _add_refusal(self, seq: int, id: bytes, at: int, payload: bytes) -> None:
        try:
            record = _read_refusal(payload)
        except _UNREADABLE:
            self._put(seq, id, [seq, id, None, "unreadable", "unreadable", None, at, None, None, None, None])
            return
        who = record.identity
        subject, behalf = (who.subject, who.on_behalf_of) if who else (None, None)
        resource = record.resource or None
        self._put(seq, id, [seq, id, None, "refusal", "deny", "refused", at, None, resource, subject, behalf])
        words = [record.what, record.text, record.reason, record.detail, record.client, subject or "", behalf or ""]
        self._texts.append((seq, "\n".join(words)[:TEXT_LIMIT]))

    def _add_approval(self, seq: int, payload: bytes) -> None:
        try:
            record = _read_approval(payload)
            row = (seq, id_bytes(record.approval), record.event)
            self._text(seq, record.reason, _words(record.request))
            self._approvals.append(row)
        except _UNREADABLE:
            self._approvals.append((seq, b"", "unreadable"))

    def _text(self, seq: int, head: str, more: str) -> None:
        """What a search over record `seq` finds: `head`, then the words of `more`, bounded."""
        text = (f"{head}\n{more}" if more else head)[:TEXT_LIMIT].strip()
        if text:
            self._texts.append((seq, text))


_known_words: dict[bytes, str] = {}


def _remembered_words(data: msgspec.Raw) -> str:
    """`_words`, kept for a while: statements that differ in a literal only have the same details."""
    raw = bytes(data)
    words = _known_words.get(raw)
    if words is None:
        words = _words(data)
        if len(raw) <= _SHORT:
            if len(_known_words) >= _REMEMBERED:
                _known_words.clear()
            _known_words[raw] = words
    return words


def _words(data: msgspec.Raw) -> str:
    """Every string and number in JSON, a line each, bounded.

    Raises ValueError or RecursionError: Raw was not looked into.
    """
    if len(data) <= 4:
        return ""
    words: list[str] = []
    room = TEXT_LIMIT
    stack = [_read_any(data)]  # a stack of our own: depth is no danger
    while stack and room > 0:
        item = stack.pop()
        if isinstance(item, list):
            if _all_text(item):
                words += item
                room -= len(item)  # each is a line at least
            else:
                item.reverse()
                stack += item
        elif isinstance(item, dict):
            for name in reversed(item):
                if name not in _SKIPPED:
                    stack.append(item[name])
        elif isinstance(item, str):
            words.append(item)
            room -= len(item)
        elif isinstance(item, int | float) and not isinstance(item, bool):
            word = str(item)
            words.append(word)
            room -= len(word)
    return "\n".join(words)


def _all_text(items: list[object]) -> bool:
    for item in items:  # noqa: SIM110  # the generator of all() costs more than what it looks at
        if not isinstance(item, str):
            return False
    return True
