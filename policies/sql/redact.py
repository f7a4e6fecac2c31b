"""Password literals out of SQL text, by tokens: the text keeps its meaning, the secret is gone.

Replaced by `'[redacted]'`: the literal after a word that names a secret (`PASSWORD 'x'`, `password = 'x'`,
`OPTIONS (password 'x')`, `SET a.token TO 'x'`); the literal after CONNECTION; any literal that holds a connection
string with a password; every unknown option of a user mapping or foreign server. In a dollar-quoted body (DO, CREATE
FUNCTION) the same is done to the body's own text.
"""

from __future__ import annotations

import re

from onrecord.policies.sql.lexer import Token, tokens
from onrecord.policies.sql.wordlists import words

REDACTED = "'[redacted]'"

_SECRET = re.compile(r"passw|passwd|pwd|secret|token|api_?key|private_?key|credential|sslkey|passphrase", re.IGNORECASE)
# What a text must hold for a literal in it to be secret; substring tests settle the ordinary statement in 1 µs.
_WORTH_A_LOOK = (
    *("passw", "pwd", "secret", "token", "apikey", "api_key", "private_key", "privatekey", "credential", "sslkey"),
    *("passphrase", "connection", "mapping", "server", "://", "u&"),
)
# Bounded repeats: hostile text must not make the search quadratic.
_URL = re.compile(r"://[^\s/'@:]{0,256}:[^\s'@]{1,512}@")
_CONNINFO = re.compile(r"(?:passw\w{0,16}|pwd|secret|sslkey|passphrase)\s{0,8}[=:]", re.IGNORECASE)
_BETWEEN = frozenset({"=", ":", ">", "(", "to", "encrypted", "||", "|", "is"})
_OPTION_STATEMENTS = frozenset({"mapping", "server"})
_PLAIN_OPTIONS = words(
    "user host port dbname sslmode hostaddr application_name use_remote_estimate fetch_size batch_size updatable "
    "truncatable async_capable keep_connections extensions schema_name table_name column_name connect_timeout"
)
_DEPTH = 4


def redact(text: str) -> str:
    """The text of a statement that parses, without its password literals; the same object where there is none."""
    if not _worth_a_look(text):
        return text
    return _redact(text, everything=False, depth=0)


def _worth_a_look(text: str) -> bool:
    lowered = text.lower()
    for mark in _WORTH_A_LOOK:  # noqa: SIM110 - any() with a generator costs thrice as much, once for every statement
        if mark in lowered:
            return True
    return False


def redact_unparsed(sql: str) -> str:
    """Text that does not parse, fit for a log: if it mentions anything secret, every literal in it is blanked."""
    return _redact(sql, everything=_worth_a_look(sql), depth=0)


def _redact(text: str, *, everything: bool, depth: int) -> str:
    pieces: list[str] = []
    done = 0
    secret_ahead = False
    option_values = _has_option_values(text)
    in_options = False
    previous_option = False
    for token in tokens(text):
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
        if token.kind in {"word", "quoted"} and (_SECRET.search(word) or lowered == "connection"):
            secret_ahead = True
        elif lowered not in _BETWEEN:
            secret_ahead = False
    pieces.append(text[done:])
    return "".join(pieces)


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
            clean = _redact(inner, everything=False, depth=depth + 1)
            if _URL.search(clean) or (_CONNINFO.search(clean) and "'" not in clean):
                return REDACTED
            return None if clean == inner else tag + clean + tag
        return REDACTED if _SECRET.search(literal) else None
    if _URL.search(literal) or _CONNINFO.search(literal):
        return REDACTED
    if _SECRET.search(literal) and re.search(r"''|\\'", literal):
        return REDACTED  # SQL in a string that talks of a secret: EXECUTE 'ALTER ROLE … PASSWORD ''x'''
    return None
