"""HTTP Archive 1.2 (http://www.softwareishard.com/blog/har-12-spec/) of the HTTP commands among those given. Pure.

What is not on record (sizes of headers, connection times) is -1, as the format says. A denied request has the answer
that its client got: status 403. Fields of our own begin with an underscore.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from onrecord import __version__
from onrecord.recordings.display.neutral import json_line
from onrecord.recordings.views import View

_WORDS = {int(status): status.phrase for status in HTTPStatus}


def write(commands: Iterable[View]) -> Iterator[str]:
    """The archive, piece by piece; commands that are no HTTP requests are left out."""
    creator = json_line({"name": "onrecord", "version": __version__}).rstrip()
    yield f'{{"log": {{"version": "1.2", "creator": {creator}, "entries": ['
    first = True
    for command in commands:
        entry = entry_of(command)
        if entry is not None:
            yield ("\n" if first else ",\n") + json_line(entry).rstrip()
            first = False
    yield "\n]}}\n"


def entry_of(command: View) -> dict[str, Any] | None:
    """One request with its answer; None for anything else."""
    detail = command.get("detail") or {}
    if not isinstance(detail, dict) or not {"method", "scheme", "host", "path"} <= detail.keys():
        return None
    outcome = command["outcome"] or {}
    sample = outcome.get("sample") if isinstance(outcome.get("sample"), dict) else {}
    chunks = command.get("chunks") or []
    took = float(outcome.get("duration_ms") or 0.0)
    return {
        "startedDateTime": command["at"],
        "time": took,
        "request": _request(detail, chunks),
        "response": _response(command, outcome, sample, chunks),
        "cache": {},
        "timings": {"send": 0, "wait": took, "receive": 0},
        "serverIPAddress": "",
        "_onrecord": {
            name: command.get(name)
            for name in ("id", "run", "session", "identity", "resource", "action", "verdict", "approval", "cause")
        },
    }


def _request(detail: dict[str, Any], chunks: list[View]) -> dict[str, Any]:
    query = _pairs(detail.get("query"))
    port = detail.get("port")
    usual = {"http": 80, "https": 443}.get(str(detail["scheme"]))
    host = str(detail["host"])
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    url = f"{detail['scheme']}://{host}{'' if port in (usual, None) else f':{port}'}{quote(str(detail['path']))}"
    if query:
        url += "?" + urlencode([(pair["name"], pair["value"]) for pair in query])
    request: dict[str, Any] = {
        "method": str(detail["method"]), "url": url, "httpVersion": "", "cookies": [],
        "headers": _pairs(detail.get("headers")), "queryString": query, "headersSize": -1, "bodySize": -1,
    }  # fmt: skip
    body = detail.get("body")
    data = _bytes(body) if body is not None else _streamed(chunks, "to_upstream")
    if data:
        text, encoding = _text(data)
        request["postData"] = {"mimeType": str(detail.get("content_type") or ""), "params": [], "text": text}
        if encoding:
            request["postData"]["_encoding"] = encoding
        request["bodySize"] = len(data)
    return request


def _response(command: View, outcome: dict[str, Any], sample: Any, chunks: list[View]) -> dict[str, Any]:
    code = str(outcome.get("code") or "")
    status = int(code) if code.isdigit() and len(code) == 3 else 0
    data = _bytes(sample.get("body")) or _streamed(chunks, "to_client")
    text, encoding = _text(data)
    headers = _pairs(sample.get("headers"))
    kind = next((pair["value"] for pair in headers if pair["name"].lower() == "content-type"), "")
    content: dict[str, Any] = {"size": int(outcome.get("size") or 0), "mimeType": kind, "text": text}
    if encoding:
        content["encoding"] = encoding
    moved = next((pair["value"] for pair in headers if pair["name"].lower() == "location"), "")
    response = {
        "status": status, "statusText": _WORDS.get(status, ""), "httpVersion": "", "cookies": [], "headers": headers,
        "content": content, "redirectURL": moved, "headersSize": -1, "bodySize": int(outcome.get("bytes") or 0),
    }  # fmt: skip
    if outcome.get("error"):
        response["_error"] = outcome["error"]
    if outcome.get("masked"):
        response["_masked"] = outcome["masked"]
    if command["outcome"] is None:
        response["_error"] = "not ended yet"
    return response


def _pairs(value: object) -> list[dict[str, str]]:
    if not isinstance(value, list):
        return []
    return [
        {"name": str(pair[0]), "value": str(pair[1])} for pair in value if isinstance(pair, list) and len(pair) == 2
    ]


def _streamed(chunks: list[View], direction: str) -> bytes:
    return b"".join(_bytes(chunk["data"]) for chunk in chunks if chunk["direction"] == direction)


def _bytes(value: object) -> bytes:
    """A body as it is recorded: text, or `{"base64": …}`."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict) and isinstance(value.get("base64"), str):
        try:
            return base64.b64decode(value["base64"])
        except (ValueError, binascii.Error):
            return b""
    return b""


def _text(data: bytes) -> tuple[str, str]:
    try:
        return data.decode(), ""
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), "base64"
