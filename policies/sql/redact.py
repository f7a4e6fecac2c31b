"""Password literals out of SQL text, by tokens: the text keeps its meaning, the secret is gone.

Replaced by `'[redacted]'`: the literal after a word that names a secret (`PASSWORD 'x'`, `password = 'x'`,
`OPTIONS (password 'x')`, `SET a.token TO 'x'`); the literal after CONNECTION; any literal that holds a connection
string with a password; every unknown option of a user mapping or foreign server; what secret_literals.py finds.
In a dollar-quoted body (DO, CREATE FUNCTION) the same is done to the body's own text.

Not found, for no name tells: `INSERT INTO users VALUES ('bob', 'x')` without columns, arguments of a function with a
plain name (`login('bob', 'x')`), and what a program of COPY is given (`curl -u user:x`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from onrecord.policies.sql.lexer import Token, tokens
from onrecord.policies.sql.secret_literals import CONNINFO, SECRET, URL, secret_literals
from onrecord.policies.sql.wordlists import words

Node = dict[str, Any]

REDACTED = "'[redacted]'"

# What a text must hold for a literal in it to be secret; substring tests settle the ordinary statement in 1 µs.
_WORTH_A_LOOK = (
    *("passw", "pwd", "secret", "token", "apikey", "api_key", "private_key", "privatekey", "credential", "sslkey"),
    *("passphrase", "connection", "mapping", "server", "://", "u&", "api key", "crypt", "hmac", "\\"),
)
_BETWEEN = frozenset({"=", ":", ">", "(", "to", "encrypted", "||", "|", "is"})
_OPTION_STATEMENTS = frozenset({"mapping", "server"})
_PLAIN_OPTIONS = words(
    "user host port dbname sslmode hostaddr application_name use_remote_estimate fetch_size batch_size updatable "
    "truncatable async_capable keep_connections extensions schema_name table_name column_name connect_timeout"
)
_DEPTH = 4


def redact(text: str, tree: Node | None = None, offset: int = 0) -> str:
    """The text of a statement that parses, without its password literals; the same object where there is none.

    `tree` is the statement's node, `offset` where `text` begins in the text that they were parsed from, in bytes.
    """
    if not worth_a_look(text):
        return text
    marks: set[int] = set() if tree is None else secret_literals(tree)[0]
    if marks and not text.isascii():
        data = text.encode()
        marks = {len(data[: mark - offset].decode(errors="replace")) for mark in marks if mark >= offset}
    elif offset:
        marks = {mark - offset for mark in marks}
    return _redact(text, everything=False, depth=0, marks=marks)


def secret_parameters(text: str, tree: Node) -> tuple[int, ...]:
    """The numbers of the parameters whose values are secrets: `INSERT INTO users (password) VALUES ($1)`."""
    return tuple(sorted(secret_literals(tree)[1])) if worth_a_look(text) else ()


def worth_a_look(text: str) -> bool:
    """Whether a literal of `text` may be secret."""
    lowered = text.lower()
    for mark in _WORTH_A_LOOK:  # noqa: SIM110 - any() with a generator costs thrice as much, once for every statement
        if mark in lowered:
            return True
    return False


def redact_unparsed(sql: str) -> str:
    """Text that does not parse, fit for a log: if it mentions anything secret, every literal in it is blanked."""
    return _redact(sql, everything=worth_a_look(sql), depth=0)


def blank_literals(sql: str) -> str:
    """The text with every string literal blanked: `EXECUTE p('bob', 'x')` where `p` takes a secret."""
    return _redact(sql, everything=True, depth=0)


def _redact(text: str, *, everything: bool, depth: int, marks: Collection[int] = ()) -> str:
    pieces: list[str] = []
    done = 0
    secret_ahead = False
    option_values = _has_option_values(text)
    in_options = False
    previous_option = False
    for token in tokens(text):
        if marks and (token.start in marks or (token.kind == "string" and token.start + 1 in marks)):
            pieces += (text[done : token.start], REDACTED)  # + 1: the tree has N'…' without its N
            done, secret_ahead = token.end, False
            continue
        if token.kind == "string":
            if everything or secret_ahead or (in_options and not previous_option):
                replacement: str | None = REDACTED
            else:
                replacement = _literal(text, token, depth)
            if replacement is not None:
                pieces += (text[done : token.start], replacement)
                done = token.end
            secret_ahead = False
            continue
        word = text[token.start : token.end]
        lowered = word.lower()
        if token.kind in {"word", "quoted"}:
            if option_values and lowered == "options":
                in_options = True
            previous_option = lowered.strip('"') in _PLAIN_OPTIONS
        if token.kind in {"word", "quoted"} and (SECRET.search(word) or lowered == "connection"):
            secret_ahead = True
        elif lowered not in _BETWEEN:
            secret_ahead = False
    pieces.append(text[done:])
    return "".join(pieces)


def _builds_secrets(code: str) -> bool:
    """Whether a body's literals talk of secrets (`format('ALTER ROLE x PASSWORD %L', 'x')`): any may be one then."""
    return any(
        SECRET.search(code, token.start, token.end)
        for token in tokens(code)
        if token.kind == "string" and code[token.start] != "$"
    )


def _has_option_values(text: str) -> bool:
    """Whether the statement is one whose OPTIONS hold credentials: USER MAPPING or SERVER."""
    for index, token in enumerate(tokens(text)):
        if index > 6:
            return False
        if token.kind == "word" and text[token.start : token.end].lower() in _OPTION_STATEMENTS:
            return True
    return False


def _literal(text: str, token: Token, depth: int) -> str | None:
    """What stands for a literal by its own content; None to keep it."""
    literal = text[token.start : token.end]
    if literal.startswith("$"):
        tag = literal[: literal.index("$", 1) + 1]
        if depth >= _DEPTH:
            return REDACTED
        if len(literal) >= 2 * len(tag) and literal.endswith(tag):
            inner = literal[len(tag) : -len(tag)]
            clean = _redact(inner, everything=_builds_secrets(inner), depth=depth + 1)
            if URL.search(clean) or (CONNINFO.search(clean) and "'" not in clean):
                return REDACTED
            return None if clean == inner else tag + clean + tag
        return REDACTED if SECRET.search(literal) else None
    if URL.search(literal) or CONNINFO.search(literal):
        return REDACTED
    if SECRET.search(literal) and re.search(r"''|\\'", literal):
        return REDACTED  # SQL in a string that talks of a secret: EXECUTE 'ALTER ROLE … PASSWORD ''x'''
    return None
