"""Slack: a message whose button opens the page; and what Slack sends back, whose signature is checked and which decides
nothing. Source: Slack, "Verifying requests from Slack" (signing secret, v0).
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from pathlib import Path
from typing import Any

import msgspec

from onrecord.policies.config import Address
from onrecord.recordings.admin.notify.delivery import post
from onrecord.recordings.admin.notify.notice import Notice

TOLERANCE = 300.0
MAX_SEEN = 10_000


def message(notice: Notice) -> dict[str, Any]:
    """The message. Everything is plain text, and Slack's own three characters are escaped: nobody can be mentioned."""
    title = _escaped(notice.title())
    blocks: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": title[:150]}}]
    lines = "\n".join(_escaped(line) for line in notice.lines())
    if lines:
        blocks.append({"type": "section", "text": {"type": "plain_text", "text": lines[:2900]}})
    if notice.url:
        button = {
            "type": "button",
            "text": {"type": "plain_text", "text": "Open the page"},
            "url": notice.url,
            "action_id": "open",
        }
        blocks.append({"type": "actions", "elements": [button]})
    return {"text": title, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Slack:
    """Sends to one incoming webhook."""

    def __init__(
        self, url: str, *, private: bool = False, ca: Path | None = None, own: tuple[Address, ...] = ()
    ) -> None:
        self._url, self._private, self._ca, self._own = url, private, ca, own

    async def send(self, notice: Notice, delivery: str) -> None:  # noqa: ARG002  # Slack has no place for it
        """One attempt. Raises UndeliveredError."""
        body = msgspec.json.encode(message(notice))
        headers = {"Content-Type": "application/json; charset=utf-8"}
        await post(self._url, body, headers, private=self._private, ca=self._ca, own=self._own)


class SlackRequests:
    """Checks what claims to come from Slack: signed, recent, and not seen before."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._seen: OrderedDict[str, None] = OrderedDict()

    def objection(self, timestamp: str, signature: str, body: bytes, *, now: float) -> str:
        """Why the request is refused; "" where it is Slack's."""
        if not self._secrets:
            return "no [[notify]] of type slack has a signing secret"
        if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
            return "no time"
        base = f"v0:{timestamp}:".encode() + body
        given = signature.encode("utf-8", "replace")
        fits = [
            hmac.compare_digest(b"v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest().encode(), given)
            for secret in self._secrets
        ]
        if not any(fits):
            return "the signature is not Slack's"
        if abs(now - int(timestamp)) > TOLERANCE:
            return "too late"
        if signature in self._seen:
            return "seen before"
        self._seen[signature] = None
        while len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return ""
