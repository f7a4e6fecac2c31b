"""A request as an HttpCommand: what policies see and the record says. Pure.

The path is decoded once and has one reading: dot segments, encoded separators that hide them, double encoding,
backslashes and path parameters are refused, because servers disagree about them.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote, unquote_plus, unquote_to_bytes

import msgspec

from onrecord.addons.graphql import graphql_action
from onrecord.addons.http_head import HeadError
from onrecord.policies.model import Action, HttpCommand, Session, body_text

REDACTED = "[redacted]"
MAX_FIELDS = 1000

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TWICE = re.compile(r"%[0-9A-Fa-f]{2}")
_NAME_TRICKS = str.maketrans(" .[-", "____")  # PHP reads the first three in a field's name as `_`
_METHOD_FIELDS = frozenset(
    {"_method", "x_http_method_override", "x_http_method", "x_method_override", "$httpmethod", "_httpmethod"}
)
_METHOD_PART = re.compile(
    rb"(?i)\bname(?:\*\d|\*?\s*=\s*(?:[\w-]*'[\w-]*')?[\"']?\s*(?:[ ._\[]method|x-http-method|x-method-override)\b)"
)
_JSON_SPACE = b" \t\r\n\x00\xef\xbb\xbf\xff\xfe"  # white space, NUL and byte order marks of any UTF
_SEPARATORS = re.compile("[&;]")
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[-_.])(?:authorization|cookie|token|secret|password|passwd|pwd|api[-_]?key|apikey|access[-_]?key|"
    r"private[-_]?key|credentials?|signature|sig|session|jwt|auth|key)(?:$|[-_.\d])"
)
_URL_FIELD = re.compile(r"""([?&;#]([^=?&;#\s<>"']{1,100})=)[^&;#\s<>"']+""")
_PLAIN_NAMES = frozenset({"idempotency-key", "x-idempotency-key", "sec-websocket-key", "authority", "sec-fetch-site"})
_encode = msgspec.json.Encoder().encode
_RPC_KEYS = frozenset({"jsonrpc", "method"})


def is_secret_name(name: str) -> bool:
    """Whether a header or a query field of this name usually carries a credential."""
    return bool(_SECRET_NAME.search(name)) and name not in _PLAIN_NAMES


def read_path(raw: str) -> str:
    """The decoded path with single slashes. Raises HeadError where servers could read it in two ways."""
    if "%" not in raw and ";" not in raw and "//" not in raw and "/." not in raw and "\\" not in raw:
        return raw  # the usual case, and nothing to refuse
    if _PERCENT.search(raw):
        raise HeadError(400, "the path holds a percent sign that begins no escape")
    if ";" in raw:
        raise HeadError(400, "path parameters (;) are not supported", "encode the semicolon as %3B")
    try:
        path = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise HeadError(400, "the path does not decode as UTF-8") from None
    if "\\" in path or _CONTROL.search(path):
        raise HeadError(400, "the path holds a backslash or a control character")
    if _TWICE.search(path):
        raise HeadError(400, "the path is percent-encoded twice")
    segments = {segment.partition(";")[0].strip() for segment in path.split("/")}  # `..;` is `..` to some
    if "." in segments or ".." in segments:
        raise HeadError(400, "the path holds dot segments", "send the path that is meant")
    while "//" in path:
        path = path.replace("//", "/")
    return path


def read_query(raw: str) -> tuple[tuple[str, str], ...]:
    """The fields of a query string in order, decoded; credentials are replaced. Raises HeadError."""
    if not raw:
        return ()
    parts = raw.split("&")
    if len(parts) > MAX_FIELDS:
        raise HeadError(400, f"a query of {len(parts)} fields is over the limit of {MAX_FIELDS}")
    fields: list[tuple[str, str]] = []
    for part in parts:
        name, _, value = part.partition("=")
        name = unquote_plus(name)
        names = [name] if ";" not in part else [unquote_plus(p.partition("=")[0]) for p in part.split(";")]
        if any(map(_is_method_field, names)):  # some servers split fields at semicolons, too
            raise HeadError(400, f"the query field {name[:60]} asks for another request than the one decided on")
        fields.append((name, REDACTED if any(map(is_secret_name, names)) else unquote_plus(value)))
    return tuple(fields)


def read_headers(fields: list[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Header fields as policies see them: lower-case names, no credentials.

    Without `host`, which HTTP/2 does not have: the command's own `host` was checked against it, and a request repeated
    over another version of HTTP is the same command, with the same digest.
    """
    seen: list[tuple[str, str]] = []
    for raw, value in fields:
        name = raw.decode("latin-1").lower()
        if name == "host":
            continue
        if name == "cookie":
            seen.append((name, _cookie_names(value)))
        else:
            seen.append((name, REDACTED if is_secret_name(name) else _without_tokens(value.decode("utf-8", "replace"))))
    return tuple(seen)


def _without_tokens(value: str) -> str:
    """A header field without what the URLs in it carry as credentials (Referer, Location, Link)."""
    if "=" not in value or ("?" not in value and "#" not in value):
        return value
    return _URL_FIELD.sub(
        lambda match: match[1] + REDACTED if is_secret_name(unquote_plus(match[2])) else match[0], value
    )


def _cookie_names(value: bytes) -> str:
    names = [part.partition(b"=")[0].strip().decode("utf-8", "replace") for part in value.split(b";")]
    return "; ".join(f"{name}={REDACTED}" for name in names)


def read_action(method: str, path: str, content_type: str, query: str, body: bytes | None) -> Action:
    """What a request does, as far as its method and a readable body say. `body` None: it was not read."""
    if body is None:
        return "unknown"
    graphql = graphql_action(method, path, content_type, query, body)
    if graphql is not None:
        return graphql
    if method in _READS:
        return "read"
    if method not in _WRITES:
        return "unknown"
    if body.lstrip(_JSON_SPACE)[:1] == b"[" and _is_rpc_batch(body):
        return "unknown"
    return "write"


def _is_rpc_batch(body: bytes) -> bool:
    text = body.decode(json.detect_encoding(body), "replace")  # as servers in Python guess it: UTF-8, 16 or 32
    try:
        items = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return '"jsonrpc"' in text
    return isinstance(items, list) and any(isinstance(item, dict) and _RPC_KEYS & item.keys() for item in items)


def check_form(content_type: str, body: bytes) -> None:
    """A form field, or a member of JSON, that overrides the method is refused. Raises HeadError.

    A body without a type is read as a form by some (Rack).
    """
    kind = content_type.lower().lstrip()
    if "json" in kind:
        found = _names_method(body)
    elif not kind or kind.startswith("application/x-www-form-urlencoded"):
        parts = _SEPARATORS.split(body.decode("utf-8", "replace"))
        found = any(_is_method_field(unquote_plus(part.partition("=")[0])) for part in parts)
    else:
        plain = unquote_to_bytes(body.replace(b"\\", b""))
        found = kind.startswith("multipart/") and _METHOD_PART.search(plain) is not None
    if found:
        raise HeadError(
            400, "a field of the body asks for another method than the one decided on", "use that method itself"
        )


def _names_method(body: bytes) -> bool:
    """Whether JSON has a member by which frameworks (Laravel) let a body choose another method."""
    if b"ethod" not in body.lower() and b"\\u" not in body:
        return False
    try:
        pairs = json.loads(body, object_pairs_hook=_Members)
    except (ValueError, RecursionError):
        return False
    return isinstance(pairs, _Members) and any(
        _is_method_field(name) and isinstance(value, str) and value.strip().upper() in _READS | _WRITES
        for name, value in pairs
    )


class _Members(list[tuple[str, object]]):
    """A JSON object with all its members, in order."""


def _is_method_field(name: str) -> bool:
    """Whether a field's name is one by which frameworks let a form choose another method."""
    return name.partition("\0")[0].lstrip().lower().translate(_NAME_TRICKS) in _METHOD_FIELDS


def build_command(
    session: Session,
    *,
    method: str,
    scheme: str,
    host: str,
    port: int,
    target: str,
    fields: list[tuple[bytes, bytes]],
    content_type: str,
    body: bytes | None,
    action: Action | None = None,
) -> tuple[HttpCommand, bytes]:
    """The command and its detail as JSON. Raises HeadError where path or query have no single reading.

    `body` is decoded from its content coding; None where it is streamed. `action` overrides what the method says.
    """
    raw_path, mark, raw_query = target.partition("?")
    path = read_path(raw_path) if raw_path != "*" else "*"
    query = read_query(raw_query)
    default = 443 if scheme in ("https", "wss") else 80
    authority = f"[{host}]" if ":" in host else host
    where = authority if port == default else f"{authority}:{port}"
    shown = "&".join(f"{quote(n)}={quote(v, safe='[]/:,@')}" for n, v in query) if _redacts(query) else raw_query
    command = HttpCommand(
        session=session,
        action=action or read_action(method, path, content_type, raw_query, body),
        text=f"{method} {scheme}://{where}{raw_path}{mark}{shown}",
        method=method,
        scheme=scheme,
        host=host,
        port=port,
        path=path,
        query=query,
        headers=read_headers(fields),
        content_type=content_type,
        body=body,
    )
    return command, detail(command)


def detail(command: HttpCommand) -> bytes:
    """The command's detail as JSON, as `command.detail()` would have it."""
    return _encode(
        {
            "method": command.method,
            "scheme": command.scheme,
            "host": command.host,
            "port": command.port,
            "path": command.path,
            "query": command.query,
            "headers": command.headers,
            "content_type": command.content_type,
            "body": None if command.body is None else body_text(command.body),
        }
    )


def _redacts(query: tuple[tuple[str, str], ...]) -> bool:
    return any(value == REDACTED for _, value in query)
