"""Bodies recorded while they flow: each piece is on disk before it is let go.

A stream never raises: what cannot be recorded is not delivered, and `on_failure` closes the connection.
"""

from __future__ import annotations

from collections.abc import Callable

from onrecord.addons.body_masks import BodyMask
from onrecord.addons.credentials import Credential
from onrecord.addons.exchange import Exchange
from onrecord.policies.model import body_text
from onrecord.recordings.auditor import Auditor
from onrecord.recordings.records import Direction


class Stream:
    """A callable for mitmproxy's `message.stream`: bytes in, the bytes to let go out; b"" marks the end.

    The first `limit` bytes are kept, the rest is counted and hashed. `expected` is the body's known length: with its
    last byte `on_end` is called before that byte is let go.
    """

    def __init__(
        self,
        exchange: Exchange,
        auditor: Auditor,
        direction: Direction,
        *,
        limit: int,
        expected: int | None,
        on_end: Callable[[], None],
        on_failure: Callable[[str], None],
        scrub: Credential | None = None,
        check: Callable[[bytes], None] | None = None,
        mask: BodyMask | None = None,
    ) -> None:
        if exchange.decision is None:
            raise RuntimeError("a stream before its decision")
        self._exchange, self._auditor, self._direction = exchange, auditor, direction
        self._decision = exchange.decision
        self._room, self._expected = limit, expected
        self._on_end, self._on_failure = on_end, on_failure
        self._scrub = scrub if scrub is not None and scrub.needles else None
        self._check, self._mask = check, mask
        self._held = b""
        self._digest = exchange.decision.opened.digest()
        self.size = 0
        self.ended = self.broken = False

    def digest(self) -> str:
        """The keyed digest of all that was let go so far, hex."""
        return self._digest.hexdigest()

    @property
    def masked(self) -> dict[str, int]:
        """What was masked, by detector or rule."""
        return {} if self._mask is None else self._mask.found

    def __call__(self, data: bytes) -> bytes:
        if self.broken:
            return b""
        try:
            return self._pass(data)
        except Exception as error:  # noqa: BLE001  inside mitmproxy's protocol code nothing may be raised
            self.broken = True
            self._on_failure(f"a stream could not be recorded: {type(error).__name__}")
            return b""

    def _pass(self, data: bytes) -> bytes:
        end = not data
        if self._check is not None:
            self._check(data)
        if self._scrub is not None:
            data = self._scrub.scrub(self._held + data)
            held = 0 if end or self._is_last(len(data)) else self._scrub.held(data)
            data, self._held = (data[:-held], data[-held:]) if held else (data, b"")
        if self._mask is not None:
            data = self._mask.feed(data) + (self._mask.finish() if end and not self.ended else b"")
        if data:
            self._record(data)
        if (end or self._is_last(0)) and not self.ended:
            self.ended = True
            self._on_end()
        return data

    def _is_last(self, more: int) -> bool:
        return self._expected is not None and self.size + more >= self._expected

    def _record(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)
        kept = data[: self._room]
        self._room -= len(kept)
        digest = ""
        if len(kept) < len(data):
            if self.size == len(data):  # the first piece: it has been digested already
                digest = self._digest.hexdigest()
            else:
                one = self._decision.opened.digest()
                one.update(data)
                digest = one.hexdigest()
        self._auditor.chunk(
            self._decision,
            self._direction,
            len(data),
            data=body_text(kept) if kept else None,
            digest=digest,
            note="" if len(kept) == len(data) else "beyond the bound: counted and hashed",
        )


class GrpcFrames:
    """Checks that a body is a sequence of gRPC messages (flag, length, bytes), nothing else."""

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._need = 0
        self._head = b""
        self._limit = limit

    def __call__(self, data: bytes) -> None:
        if not data and (self._need or self._head):
            raise ValueError("a gRPC stream that ends inside a message")
        while data:
            if self._need:
                step = min(self._need, len(data))
                self._need -= step
                data = data[step:]
                continue
            take = 5 - len(self._head)
            self._head += data[:take]
            data = data[take:]
            if self._head[0] > 1:
                raise ValueError("not a gRPC message")
            if len(self._head) == 5:
                self._need = int.from_bytes(self._head[1:], "big")
                self._head = b""
                if self._need > self._limit:
                    raise ValueError("a gRPC message over the limit")
