"""The generic webhook: a JSON body, signed with HMAC-SHA256 over the time and the body. `sign` and `check` are pure.

Onrecord-Timestamp: Unix seconds
Onrecord-Signature: v1=<hex of HMAC-SHA256(secret, timestamp "." body)>
Onrecord-Delivery:  the same for every attempt of one delivery
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from onrecord.policies.config import Address
from onrecord.recordings.admin.notify.delivery import post
from onrecord.recordings.admin.notify.notice import Notice

TOLERANCE = 300.0


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature's text."""
    return "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def check(secret: str, timestamp: str, body: bytes, signature: str, *, now: float) -> bool:
    """What a receiver does: the signature fits, and the time is within TOLERANCE seconds."""
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return False
    fits = hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode("utf-8", "replace"))
    return fits and abs(now - int(timestamp)) <= TOLERANCE


class Webhook:
    """Sends to one address."""

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        private: bool = False,
        ca: Path | None = None,
        own: tuple[Address, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url, self._secret, self._private, self._ca, self._own = url, secret, private, ca, own
        self._clock = clock

    async def send(self, notice: Notice, delivery: str) -> None:
        """One attempt. Raises UndeliveredError."""
        body = msgspec.json.encode(notice.body())
        timestamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "Onrecord-Timestamp": timestamp,
            "Onrecord-Signature": sign(self._secret, timestamp, body),
            "Onrecord-Delivery": delivery,
        }
        await post(self._url, body, headers, private=self._private, ca=self._ca, own=self._own)
