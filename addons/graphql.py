"""GraphQL requests: which operations a body holds. Pure; a small lexer, no schema.

A document whose operations are all queries reads; a mutation writes; what cannot be read (persisted queries, batches,
several operations of which one is named) is unknown.
"""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl

from onrecord.policies.model import Action

_TOKEN = re.compile(
    r'(?P<skip>[\s,\ufeff]+|#[^\r\n]*|"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\\r\n]|\\.)*")'
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<punct>\.\.\.|[!$&()\[\]{}:=@|])|(?P<number>-?[0-9][0-9.eE+-]*)",
    re.DOTALL,
)
_STORED = frozenset({"id", "documentid", "doc_id", "docid", "queryid", "query_id", "operationid", "hash", "sha256hash"})
_ACTIONS: dict[str, Action] = {"query": "read", "subscription": "read", "mutation": "write"}


def is_graphql(path: str, content_type: str) -> bool:
    """Whether a request is one to a GraphQL endpoint, as far as can be told without its body."""
    last = path.rstrip("/").rpartition("/")[2].lower()
    return last in ("graphql", "gql", "graphiql") or content_type.lower().startswith("application/graphql")


def graphql_action(method: str, path: str, content_type: str, query: str, body: bytes) -> Action | None:
    """What a GraphQL request does; None where it is no GraphQL request."""
    if not is_graphql(path, content_type):
        return None
    named = _documents_in_query(query)
    if method in ("GET", "HEAD"):
        if body:
            return "unknown"  # servers disagree about which of the two counts
        if not named:
            return "unknown" if query else None
        return document_action(named[0]) if len(named) == 1 else "unknown"
    if method != "POST":
        return None
    if named:
        return "unknown"
    if content_type.lower().partition(";")[0].strip() == "application/graphql":
        return document_action(body.decode("utf-8", "replace"))
    document = _document_in_json(body)
    return "unknown" if document is None else document_action(document)


def _documents_in_query(query: str) -> list[str]:
    fields = parse_qsl(query, keep_blank_values=True)
    if ";" in query:  # which some servers take for a separator
        fields += parse_qsl(query.replace("&", ";"), separator=";", keep_blank_values=True)
    return list(dict.fromkeys(value for name, value in fields if name.strip().lower() == "query"))


def _document_in_json(body: bytes) -> str | None:
    """The one document of a request; None where servers could take another one, or none, from it.

    Keys are compared without case, as Go does, and none may stand there twice; a request that also names a stored
    document may run that one.
    """
    try:
        request = json.loads(body.decode(), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, _Pairs):
        return None
    names = [name.strip().lower() for name, _ in request]
    if len(set(names)) < len(names) or _STORED & set(names):
        return None
    document = dict(zip(names, (value for _, value in request), strict=True)).get("query")
    return document if isinstance(document, str) else None


class _Pairs(list[tuple[str, object]]):
    """A JSON object with all its fields, in order."""


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
