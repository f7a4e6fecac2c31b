"""What a refused HTTP client reads: `application/problem+json` (RFC 9457) with policy, reason and record."""

from __future__ import annotations

import msgspec
from mitmproxy import http

from onrecord.recordings.decision import Approved

_TITLES = {
    400: "Bad request",
    403: "Refused by policy",
    405: "Method not allowed",
    407: "Proxy authentication required",
    413: "Body too large",
    415: "Content encoding not supported",
    417: "Expectation not supported",
    421: "Misdirected request",
    429: "Quota used up",
    431: "Header fields too large",
    502: "Bad gateway",
    503: "Gateway cannot record or decide",
}
_NOT_NOW = frozenset({"onrecord:store", "onrecord:control"})
CHALLENGE = b'Basic realm="onrecord"'


def refusal_status(policy: str) -> int:
    """503 where the gateway itself cannot record or decide now, 429 over a quota, 403 where the answer is no."""
    return 503 if policy in _NOT_NOW else 429 if policy == "onrecord:quotas" else 403


def problem(
    status: int,
    *,
    policy: str,
    reason: str,
    hint: str = "",
    record: str = "",
    detail: str = "",
    head: bool = False,
    approval: Approved | None = None,
) -> http.Response:
    """The response to a refused request. `head`: the request was HEAD, so no body may follow."""
    title = _TITLES.get(status, "Refused")
    line = detail or f"{policy}: {reason}" + (f" ({hint})" if hint else "") + (f" [record {record}]" if record else "")
    content = msgspec.json.encode(
        {
            "type": f"urn:onrecord:refusal:{policy}",
            "title": title,
            "status": status,
            "detail": line,
            "policy": policy,
            "reason": reason,
            "hint": hint,
            "record": record,
            **({"approval": {"id": approval.id, "state": approval.state}} if approval is not None else {}),
        }
    )
    fields = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        (b"onrecord-record", record.encode()),
    ]
    fields += approval_fields(approval)
    if status == 407:
        fields.append((b"proxy-authenticate", CHALLENGE))
    return http.Response(
        http_version=b"HTTP/1.1",
        status_code=status,
        reason=title.encode(),
        headers=http.Headers(fields),
        content=b"" if head else content,
        trailers=None,
        timestamp_start=0.0,
        timestamp_end=0.0,
    )


def approval_fields(approval: Approved | None) -> list[tuple[bytes, bytes]]:
    """Header fields that name an approval, and say when to ask again."""
    if approval is None or not approval.id:
        return []
    fields = [(b"onrecord-approval", approval.id.encode())]
    if approval.retry_after:
        fields.append((b"retry-after", str(approval.retry_after).encode()))
    return fields
