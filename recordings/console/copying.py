"""A recorded command as something to paste into a shell: curl, kubectl, psql, ssh. Pure.

What is pasted must do what is shown and nothing else: every word is quoted, no word can be taken for an option, psql
gets no text that it would take for a command of its own, and control and bidi characters, which could end a paste
early, stand as escapes. A secret is not there to be copied: records hold none, and credential headers are left out.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import quote as percent
from urllib.parse import urlencode

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.views import View

_CREDENTIALS = re.compile(r"auth|cookie|token|secret|api-?key|password|credential", re.IGNORECASE)
_NOT_REPEATED = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
_PREPARABLE = re.compile(r"\s*(select|insert|update|delete|merge|values|with)\b", re.IGNORECASE)
_LIMIT = 64 * 1024


class CopyError(OnrecordError):
    """This record cannot be copied as that."""


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


def shell_quote(text: str) -> str:
    """`text` as one word of a shell. What acts on a terminal, or hides, is escaped in $'…' (bash, zsh, ksh)."""
    if "\0" in text:
        raise CopyError("it holds a NUL, which no shell can pass on")
    if clean(text, lines=True) == text and "\t" not in text:
        return shlex.quote(text)
    parts: list[str] = []
    for char in text:
        code = ord(char)
        if char in "'\\":
            parts.append("\\" + char)
        elif char == "\n" or (" " <= char <= "~"):
            parts.append(char)
        elif code < 0x80:
            parts.append(f"\\x{code:02x}")
        elif clean(char) == char:
            parts.append(char)
        else:
            parts.append("".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass")))
    return "$'" + "".join(parts) + "'"


def _word(text: object, what: str) -> str:
    """A word that no program takes for an option."""
    string = str(text)
    if not string or string.startswith("-"):
        raise CopyError(f"its {what} {clean(string)!r} would be taken for an option")
    return shell_quote(string)


def _psql(view: View) -> str:
    text = str(view["text"])
    service = shell_quote(f"service={_name(view)}")
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


def _name(view: View) -> str:
    """The resource, which names service, context and host in what `onrecord env` writes."""
    name = str(view.get("resource") or "")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise CopyError(f"its resource {clean(name)!r} is no name of one")
    return name


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
    words = ["curl", "--globoff", "-X", method]
    for name, value in detail.get("headers") or ():
        if str(name).lower() in _NOT_REPEATED or _CREDENTIALS.search(str(name)):
            continue
        line = f"{name}: {value}"
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", str(name)) or re.search(r"[\r\n\0]", line):
            continue
        words += ["-H", shell_quote(line)]
    body = detail.get("body")
    note = ""
    if isinstance(body, str) and body:
        words += ["--data-raw", shell_quote(body)]
    elif body not in (None, "", b""):
        note = "  # its body was no text: export the record to have it"
    elif body is None and method in ("POST", "PUT", "PATCH"):
        note = "  # its body was streamed and is not on record as a whole"
    return " ".join([*words, shell_quote(url)]) + note


def _kubectl(view: View) -> str:
    detail: dict[str, Any] = view["detail"]
    verb, resource = str(detail["verb"]), str(detail["resource"])
    sub, name = str(detail.get("subresource") or ""), str(detail.get("name") or "")
    group, space = str(detail.get("group") or ""), str(detail.get("namespace") or "")
    words = ["kubectl", "--context", _word(_name(view), "resource")]
    if space:
        words += ["-n", _word(space, "namespace")]
    what = _word(f"{resource}.{group}" if group else resource, "resource")
    named = [_word(name, "name")] if name else []
    dry = ["--dry-run=server"] if detail.get("dry_run") else []
    if sub == "exec":
        argv = [str(word) for word in detail.get("argv") or ()]
        return " ".join([*words, "exec", *named, "--", *map(shell_quote, argv)])
    if sub == "log":
        return " ".join([*words, "logs", *named])
    if sub == "attach":
        return " ".join([*words, "attach", *named])
    if sub and sub not in ("status", "scale"):
        raise CopyError(f"kubectl has no command for {clean(sub)}")
    if sub:
        words.append(f"--subresource={sub}")
    if verb in ("get", "list"):
        return " ".join([*words, "get", what, *named])
    if verb == "watch":
        return " ".join([*words, "get", what, *named, "--watch"])
    if verb in ("delete", "deletecollection"):
        return " ".join([*words, "delete", what, *(named or ["--all"]), *dry])
    body = detail.get("body")
    if verb == "patch" and body is not None:
        kind = "merge" if isinstance(body, dict) else "json"
        text = json.dumps(body, ensure_ascii=False)
        return " ".join([*words, "patch", what, *named, f"--type={kind}", "-p", shell_quote(text), *dry])
    if verb in ("create", "update") and isinstance(body, dict):
        text = json.dumps(body, ensure_ascii=False)
        command = "create" if verb == "create" else "replace"
        return f"printf %s {shell_quote(text)} | {' '.join([*words, command, *dry, '-f', '-'])}"
    raise CopyError(f"kubectl has no command for {clean(verb)} of {clean(resource)}, or its body is not on record")


def _ssh(view: View) -> str:
    host = _word(_name(view), "resource")
    if (view.get("detail") or {}).get("interactive") or not str(view["text"]).strip():
        return f"ssh -- {host}"
    return f"ssh -- {host} {shell_quote(str(view['text']))}"


_WRITERS: dict[str, Callable[[View], str]] = {
    "psql": _psql,
    "curl": _curl,
    "kubectl": _kubectl,
    "ssh": _ssh,
    "text": lambda view: clean(str(view["text"]), lines=True),
    "id": lambda view: str(view["id"]),
}
