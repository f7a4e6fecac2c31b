"""Open files and folders of one channel, and the masked copy of a file that may not be shown as it is."""

from __future__ import annotations

from onrecord.policies.masking import MaskError, Masks, mask_json_text
from onrecord.policies.model import Outcome, OutcomeStatus
from onrecord.recordings.auditor import Auditor, Decision, elapsed_ms
from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.paths import shown
from onrecord.shims.ssh.sftp.places import Probe, read_attrs, read_status
from onrecord.shims.ssh.sftp.requests import stat_fields
from onrecord.shims.ssh.sftp.transfer import Transfer
from onrecord.shims.ssh.sftp.wire import Attrs, Fields, SftpError

MAX_MASKED = 16 * 1024 * 1024  # bytes of a file that is masked: it is held whole
MAX_COPIES = 128 * 1024 * 1024  # bytes of all masked copies of a process
_PIECE = 32 * 1024  # bytes of a READ that every server answers


class Budget:
    """Bytes of masked copies that one process holds."""

    def __init__(self, limit: int = MAX_COPIES) -> None:
        self._limit, self.used = limit, 0

    def take(self, size: int = MAX_MASKED) -> None:
        """Raises MaskError where there is no room."""
        if self.used + size > self._limit:
            raise MaskError("too many files are being masked at the moment: try again when others are closed")
        self.used += size

    def give(self, size: int = MAX_MASKED) -> None:
        """They are held no more."""
        self.used -= size


class OpenFile:
    """A file's handle: its resolved path and what passes. `copy` is served instead of the file where masks apply."""

    __slots__ = ("append", "attrs", "copy", "path", "read", "write")

    def __init__(self, path: bytes, *, write: Transfer | None, read: Transfer | None, append: bool) -> None:
        self.path, self.write, self.read, self.append = path, write, read, append
        self.copy: bytes | None = None
        self.attrs: Attrs | None = None

    @property
    def transfers(self) -> list[Transfer]:
        """One a direction that is open."""
        return [transfer for transfer in (self.write, self.read) if transfer is not None]


class Listing:
    """A folder's handle: the names that passed."""

    def __init__(self, decision: Decision, capture: int) -> None:
        self.decision = decision
        self.count = self.size = 0
        self.finished = False
        self._room = capture
        self._digest = decision.opened.digest()
        self._names: list[str] = []
        self._pending = self._pending_rows = 0

    def add(self, names: list[bytes], answer: bytes) -> None:
        """The names of one answer are about to pass."""
        self.count += len(names)
        self.size += len(answer)
        self._pending += len(answer)
        self._pending_rows += len(names)
        self._digest.update(answer[5:])
        for name in names:
            if self._room < len(name):
                self._room = 0
                break
            self._room -= len(name)
            self._names.append(shown(name))

    def record(self, auditor: Auditor) -> None:
        """Record what passed since the last call, without flushing."""
        auditor.chunk(
            self.decision,
            "to_client",
            self._pending,
            data=self._names or None,
            rows=self._pending_rows,
            digest=self._digest.hexdigest(),
            note="names",
            flush=False,
        )
        self._pending = self._pending_rows = 0
        self._names = []

    def finish(self, auditor: Auditor, status: OutcomeStatus, *, code: str = "", error: str | None = None) -> None:
        """Record the outcome, once, without flushing."""
        if self.finished:
            return
        auditor.finish(
            self.decision,
            Outcome(
                status=status,
                code=code,
                error=error,
                rows=self.count,
                bytes=self.size,
                size=self.size,
                digest=self._digest.hexdigest(),
                duration_ms=elapsed_ms(self.decision.started),
            ),
            flush=False,
        )
        self.finished = True


async def fetch(probe: Probe, handle: bytes, version: int) -> tuple[Attrs, bytes]:
    """The attributes and the whole content of an open file. MaskError where it is no file, too large or unreadable."""
    answer = await probe(wire.FSTAT, stat_fields(handle, version))
    if answer[0] == wire.STATUS:
        raise MaskError("the server does not say how large the file is")
    attrs = read_attrs(answer, version)
    if attrs.size is not None and attrs.size > MAX_MASKED:
        raise MaskError(f"the file's {attrs.size} bytes are over {MAX_MASKED}: it is not searched")
    data = bytearray()
    while True:
        answer = await probe(wire.READ, wire.string(handle), wire.u64(len(data)), wire.u32(_PIECE))
        if answer[0] == wire.DATA:
            piece = Fields(answer, 5).string()
            if not piece:
                raise SftpError("an empty DATA")
            data += piece
            if len(data) > MAX_MASKED:
                raise MaskError(f"the file is over {MAX_MASKED} bytes: it is not searched")
            continue
        code, message = read_status(answer)
        if code == wire.EOF:
            return attrs, bytes(data)
        raise MaskError(f"the server could not read it: {message or wire.status_name(code)}")


def with_size(attrs: Attrs, size: int) -> Attrs:
    """The attributes of a file of which another copy is shown: nothing in them tells the true size."""
    return attrs._replace(size=size, allocation=None, extended=())


def masked_copy(data: bytes, masks: Masks | None, path: bytes) -> tuple[bytes, dict[str, int]]:
    """`data` as the client may see it, and what was found in it. MaskError where it is no text that can be searched."""
    found: dict[str, int] = {}
    if masks is None or not data:
        return data, found
    try:
        if b"\0" in data:
            raise MaskError("the file is not text: it cannot be searched")
        text = data.decode()
    except UnicodeDecodeError:
        raise MaskError("the file is not UTF-8 text: it cannot be searched") from None
    if masks.json_paths and _is_json(data, path):
        return mask_json_text(data, masks, found), found
    detectors = masks.detectors
    return (detectors.clean(text, found).encode() if detectors is not None else data), found


def _is_json(data: bytes, path: bytes) -> bool:
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()  # as mask_json_text and other readers of JSON skip it
    return path.lower().endswith((b".json", b".jsonl", b".ndjson")) or text[:1] in (b"{", b"[")
