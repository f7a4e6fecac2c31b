"""A recorded command as something to paste into a shell: curl, kubectl, psql, ssh. Pure.

What is pasted must do what is shown and nothing else: every word is quoted as every POSIX shell reads it, no word can
be taken for an option, psql gets no text that it would take for a command of its own, and control and bidi characters,
which could end a paste early, stand as escapes. What would do something else than was recorded (a body that is not on
record, a kind that is not the resource's) is refused. A secret is not there to be copied: records hold none, and
credential headers are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote as percent
from urllib.parse import urlencode

from onrecord.recordings.console.copying_kubectl import kubectl
from onrecord.recordings.console.quoting import CopyError, resource_name, shell_quote, word
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.views import View

__all__ = ["CopyError", "copy", "formats", "shell_quote"]

_CREDENTIALS = re.compile(r"auth|cookie|token|secret|api-?key|password|credential", re.IGNORECASE)
_NOT_REPEATED = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
_PREPARABLE = re.compile(r"\s*(select|insert|update|delete|merge|values|with)\b", re.IGNORECASE)
_LIMIT = 64 * 1024


def formats(view: View) -> list[str]:
    """Names that `copy` takes for this record, the best first."""
    kind = view.get("kind")
    named = {
        "sql": ["psql"], "http": ["curl"], "llm": ["curl"], "mcp": ["curl"], "kubernetes": ["kubectl"], "ssh": ["ssh"],
    }.get(str(kind), [])  # fmt: skip
    return [*named, "text", "id"]


def copy(view: View, name: str) -> str:
    """The record in that form. Raises CopyError, which says why it cannot be."""
    try:
        text = _WRITERS[name](view)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CopyError(f"this record cannot be copied as {name}: its fields are not those of one ({error})") from None
    if len(text) > _LIMIT:
        raise CopyError(f"{len(text)} characters are too many to paste: export it instead")
    return text


def _psql(view: View) -> str:
    text = str(view["text"])
    service = shell_quote(f"service={resource_name(view)}")
    if text.lstrip().startswith("\\"):
        raise CopyError("psql would take it for one of its own commands: it begins with a backslash")
    parameters = (view.get("detail") or {}).get("parameters")
    if not parameters:
        return f"psql {service} -c {shell_quote(text)}"
    if not _PREPARABLE.match(text) or ";" in text.rstrip().rstrip(";"):
        raise CopyError("a statement with parameters that PREPARE does not take: copy its text instead")
    values = ", ".join("NULL" if value is None else _literal(str(value)) for value in parameters)
    prepare = f"PREPARE onrecord_copy AS {text.rstrip().rstrip(';')}"
    return f"psql {service} -c {shell_quote(prepare)} -c {shell_quote(f'EXECUTE onrecord_copy({values})')}"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _curl(view: View) -> str:
    detail: dict[str, Any] = view["detail"]
    if "method" not in detail or "host" not in detail:
        raise CopyError("it records no request line: copy its text instead")
    method, scheme = str(detail["method"]), str(detail["scheme"])
    if not re.fullmatch(r"[A-Z]{1,20}", method) or method == "WEBSOCKET" or scheme not in ("http", "https"):
        raise CopyError(f"curl cannot repeat {clean(method)} over {clean(scheme)}")
    host = str(detail["host"])
    if not re.fullmatch(r"[A-Za-z0-9.:_\[\]-]{1,255}", host):
        raise CopyError(f"its host {clean(host)!r} is none")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    port = int(detail["port"])
    usual = {"http": 80, "https": 443}[scheme]
    path = percent(str(detail["path"]), safe="/:@!$&'()*+,;=~-._")
    query = [(str(name), str(value)) for name, value in detail.get("query") or ()]
    url = f"{scheme}://{host}{'' if port == usual else f':{port}'}{path if path.startswith('/') else '/' + path}"
    if query:
        url += "?" + urlencode(query)
    body = detail.get("body")
    if body is None and method in ("POST", "PUT", "PATCH"):
        raise CopyError("its body was streamed and is not on record as a whole: export the record")
    if body and not isinstance(body, str):
        raise CopyError("its body was no text: export the record to have it")
    words = ["curl", "--globoff", *(["--head"] if method == "HEAD" and not body else ["-X", method])]
    for name, value in detail.get("headers") or ():
        if str(name).lower() in _NOT_REPEATED or _CREDENTIALS.search(str(name)):
            continue
        line = f"{name}: {value}" if str(value).strip() else f"{name};"  # curl takes "name:" for "leave it out"
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", str(name)) or re.search(r"[\r\n\0]", line):
            continue
        words += ["-H", shell_quote(line)]
    if body:
        words += ["--data-raw", shell_quote(str(body))]
    return " ".join([*words, shell_quote(url)])


def _ssh(view: View) -> str:
    host = word(resource_name(view), "resource")
    if (view.get("detail") or {}).get("interactive") or not str(view["text"]).strip():
        return f"ssh -- {host}"
    return f"ssh -- {host} {shell_quote(str(view['text']))}"


_WRITERS: dict[str, Callable[[View], str]] = {
    "psql": _psql,
    "curl": _curl,
    "kubectl": kubectl,
    "ssh": _ssh,
    "text": lambda view: clean(str(view["text"]), lines=True),
    "id": lambda view: str(view["id"]),
}
