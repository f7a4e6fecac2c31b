"""GraphQL requests: which operations a body holds. Pure; a small lexer, no schema.

A document whose operations are all queries reads; a mutation writes; what cannot be read (persisted queries, batches,
several operations of which one is named) is unknown.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs

import msgspec

from onrecord.policies.model import Action

_TOKEN = re.compile(
    r'(?P<skip>[\s,\ufeff]+|#[^\r\n]*|"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\\r\n]|\\.)*")'
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<punct>\.\.\.|[!$&()\[\]{}:=@|])|(?P<number>-?[0-9][0-9.eE+-]*)",
    re.DOTALL,
)
_ACTIONS: dict[str, Action] = {"query": "read", "subscription": "read", "mutation": "write"}


def is_graphql(path: str, content_type: str) -> bool:
    """Whether a request is one to a GraphQL endpoint, as far as can be told without its body."""
    last = path.rstrip("/").rpartition("/")[2].lower()
    return last in ("graphql", "gql", "graphiql") or content_type.lower().startswith("application/graphql")


def graphql_action(method: str, path: str, content_type: str, query: str, body: bytes) -> Action | None:
    """What a GraphQL request does; None where it is no GraphQL request."""
    if not is_graphql(path, content_type):
        return None
    if method in ("GET", "HEAD"):
        documents = parse_qs(query).get("query", [])
        if not documents:
            return "unknown" if query else None
        return document_action(documents[0]) if len(documents) == 1 else "unknown"
    if method != "POST":
        return None
    if content_type.lower().partition(";")[0].strip() == "application/graphql":
        return document_action(body.decode("utf-8", "replace"))
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return "unknown"
    document = request.get("query") if isinstance(request, dict) else None
    return document_action(document) if isinstance(document, str) else "unknown"


def document_action(document: str) -> Action:
    """The strictest action of a document's operations; unknown where it does not lex or holds none."""
    depth = position = 0
    expecting = True
    found: set[Action] = set()
    while position < len(document):
        match = _TOKEN.match(document, position)
        if match is None:
            return "unknown"
        position = match.end()
        symbol = match.group("punct") or match.group("name")
        if symbol is None:
            continue
        if symbol in ("{", "(", "["):
            if depth == 0 and expecting and symbol == "{":
                found.add("read")
            depth += 1
            expecting = False
        elif symbol in ("}", ")", "]"):
            depth -= 1
            if depth < 0:
                return "unknown"
            expecting = depth == 0 and symbol == "}"
        elif depth == 0 and expecting:
            if symbol not in _ACTIONS and symbol != "fragment":
                return "unknown"
            if symbol in _ACTIONS:
                found.add(_ACTIONS[symbol])
            expecting = False
    if depth or not found:
        return "unknown"
    return "write" if "write" in found else "read"
