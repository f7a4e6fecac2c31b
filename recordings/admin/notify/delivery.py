"""One HTTP request of a notification, bounded: resolved and pinned address, no redirect, time, size of the answer."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import certifi
import httpx

from onrecord.policies.config import Address
from onrecord.recordings.admin.notify.addresses import ForbiddenAddressError, dial

TIMEOUT = 10.0
MAX_ANSWER = 64 * 1024
MAX_RETRY_AFTER = 600.0
_LATER = frozenset({408, 425, 429})


class UndeliveredError(Exception):
    """It did not arrive. `final`: another attempt would not help. `after` is what the receiver asked for, seconds.

    The text names no address and no content: addresses of chats are secrets.
    """

    def __init__(self, reason: str, *, final: bool = False, after: float = 0.0) -> None:
        super().__init__(reason)
        self.final, self.after = final, after


async def post(
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    private: bool = False,
    ca: Path | None = None,
    own: tuple[Address, ...] = (),
) -> None:
    """Send `body`. Raises UndeliveredError."""
    try:
        async with asyncio.timeout(TIMEOUT):
            await _post(url, body, headers, private=private, ca=ca, own=own)
    except TimeoutError:
        raise UndeliveredError(f"no answer within {TIMEOUT:g} s") from None
    except ForbiddenAddressError as error:
        raise UndeliveredError(str(error), final="resolved" not in str(error)) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise UndeliveredError(f"the receiver cannot be reached ({type(error).__name__})") from None


async def _post(
    url: str, body: bytes, headers: dict[str, str], *, private: bool, ca: Path | None, own: tuple[Address, ...]
) -> None:
    target = await dial(url, private=private, own=own)
    context = ssl.create_default_context(cafile=str(ca) if ca is not None else certifi.where())
    async with (
        httpx.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=TIMEOUT) as client,
        client.stream(
            "POST",
            target.url,
            content=body,
            headers={**headers, "Host": target.host, "User-Agent": "onrecord", "Accept-Encoding": "identity"},
            extensions={"sni_hostname": target.name},
        ) as response,
    ):
        size = 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > MAX_ANSWER:
                break
        status = response.status_code
    if 200 <= status < 300:
        return
    final = 300 <= status < 500 and status not in _LATER
    raise UndeliveredError(
        f"the receiver answered {status}", final=final, after=_seconds(response.headers.get("retry-after", ""))
    )


def _seconds(text: str) -> float:
    return min(float(text), MAX_RETRY_AFTER) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0
