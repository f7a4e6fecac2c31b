"""Answers of the API server as they flow: documents whole, watch events and log lines one by one. Pure."""

from __future__ import annotations

from typing import ClassVar

from onrecord.addons.kubernetes_api.masking import ObjectMask
from onrecord.policies.masking import REDACTED, MaskError, Masks, StreamCleaner

MAX_DOCUMENT = 128 * 1024 * 1024
MAX_TOGETHER = 512 * 1024 * 1024
MAX_EVENT = 16 * 1024 * 1024


class DocumentMask:
    """A JSON document, taken whole; those of all agents together are bounded too."""

    together: ClassVar[int] = 0  # bytes held by all of them

    def __init__(self, mask: ObjectMask) -> None:
        self._mask = mask
        self.found = mask.found
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        size = self._size + len(data)
        if size > MAX_DOCUMENT or DocumentMask.together + len(data) > MAX_TOGETHER:
            self._release()
            if size > MAX_DOCUMENT:
                raise MaskError(f"an answer of more than {MAX_DOCUMENT} bytes cannot be masked: ask for it in pages")
            raise MaskError("too many long answers at once: ask for them in pages")
        self._held.append(data)
        self._size = size
        DocumentMask.together += len(data)
        return b""

    def finish(self) -> bytes:
        data = b"".join(self._held)
        self._release()
        return self._mask.document(data)

    def _release(self) -> None:
        DocumentMask.together -= self._size
        self._held, self._size = [], 0

    def __del__(self) -> None:  # a client that leaves in the middle
        self._release()


class WatchMask:
    """Watch events, one JSON object a line, each let go when its line is complete."""

    def __init__(self, mask: ObjectMask) -> None:
        self._mask = mask
        self.found = mask.found
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        start = len(self._held)
        self._held += data
        end = self._held.rfind(b"\n", start)
        if end < 0:
            if len(self._held) > MAX_EVENT:
                raise MaskError(f"a watch event of more than {MAX_EVENT} bytes cannot be masked")
            return b""
        lines = bytes(self._held[: end + 1])
        del self._held[: end + 1]
        return b"".join(self._event(line) for line in lines.splitlines(keepends=True))

    def _event(self, line: bytes) -> bytes:
        """With the end of its line, by which many clients tell events apart."""
        event = line.rstrip(b"\r\n")
        return self._mask.document(event) + line[len(event) :]

    def finish(self) -> bytes:
        return self._mask.document(bytes(self._held))


class LogMask:
    """Lines of a container's log: text of any kind, let go line by line.

    `cut`: the agent said after how many bytes it ends (limitBytes). A value that is masked whole might not be without
    its last bytes, so a line without its end is withheld.
    """

    def __init__(self, masks: Masks, *, cut: bool = False) -> None:
        self._cut = cut and masks.detectors is not None
        detectors = masks.detectors
        self._cleaner = StreamCleaner(detectors.clean if detectors is not None else lambda text, _: text)
        self.found = self._cleaner.found

    def feed(self, data: bytes) -> bytes:
        return self._cleaner.feed(data)

    def finish(self) -> bytes:
        held, rest = self._cleaner.holds, self._cleaner.finish()
        if not (self._cut and held):
            return rest
        self.found["cut"] = self.found.get("cut", 0) + 1
        return REDACTED.encode()
