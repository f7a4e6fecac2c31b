"""What a refused Kubernetes client reads: a `Status` (meta/v1); kubectl prints "Error from server (Forbidden)"."""

from __future__ import annotations

import msgspec
from mitmproxy import http

from onrecord.addons.problem import approval_fields
from onrecord.recordings.decision import Approved

# apimachinery/pkg/apis/meta/v1: StatusReason
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    502: "InternalError",
    503: "ServiceUnavailable",
}


def status(
    code: int,
    *,
    policy: str,
    reason: str,
    hint: str = "",
    record: str = "",
    detail: str = "",
    head: bool = False,
    approval: Approved | None = None,
) -> http.Response:
    """The response. `details.causes` holds policy, record and hint apart, for programs."""
    message = detail or f"{policy}: {reason}" + (f" ({hint})" if hint else "") + (
        f" [record {record}]" if record else ""
    )
    causes = [{"reason": name, "message": text} for name, text in (("Policy", policy), ("Hint", hint)) if text]
    if record:
        causes.append({"reason": "Record", "message": record})
    details: dict[str, object] = {"causes": causes}
    if approval is not None and approval.id:
        causes.append({"reason": "Approval", "message": approval.id})
        if approval.retry_after:
            details["retryAfterSeconds"] = approval.retry_after
    content = msgspec.json.encode(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": _REASONS.get(code, "Forbidden"),
            "details": details,
            "code": code,
        }
    )
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        (b"onrecord-record", record.encode()),
        *approval_fields(approval),
    ]
    return http.Response(
        http_version=b"HTTP/1.1",
        status_code=code,
        reason=_REASONS.get(code, "Forbidden").encode(),
        headers=http.Headers(fields),
        content=b"" if head else content,
        trailers=None,
        timestamp_start=0.0,
        timestamp_end=0.0,
    )
