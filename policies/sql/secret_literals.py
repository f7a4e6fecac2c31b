"""Which constants of a statement are secrets, by its tree: where a name that tells stands elsewhere than just before.

`INSERT INTO users (name, password) VALUES ('bob', 'x')`, `password = crypt('x', …)`, `set_config('app.token', 'x', …)`.
Only texts that mention something secret are looked at, so this costs the ordinary statement nothing.
"""

from __future__ import annotations

import re
from typing import Any

from onrecord.policies.sql.wordlists import words

Node = dict[str, Any]

SECRET = re.compile(
    r"passw|passwd|pwd|secret|token|api[_ ]?key|private_?key|credential|sslkey|passphrase", re.IGNORECASE
)
# Bounded repeats: hostile text must not make the search quadratic.
URL = re.compile(r"://[^\s/'@:]{0,256}:[^\s'@]{1,512}@")
CONNINFO = re.compile(r"(?:passw\w{0,16}|pwd|secret|sslkey|passphrase)\"?\s{0,8}[=:]", re.IGNORECASE)
_KEY = re.compile(r"[\w. -]{0,64}")

_KEYED = words("crypt hmac encrypt decrypt encrypt_iv decrypt_iv digest", prefix="") | words(
    "sym_encrypt sym_encrypt_bytea sym_decrypt sym_decrypt_bytea pub_decrypt pub_decrypt_bytea", prefix="pgp_"
)
_SIDES = ("lexpr", "rexpr")


def secret_literals(tree: Node) -> tuple[set[int], set[int]]:
    """What of a statement `{NodeName: fields}` is secret: constants by location (bytes in the whole text), and
    parameters by number."""
    found: set[int] = set()
    parameters: set[int] = set()
    stack: list[tuple[Any, bool]] = [(tree, False)]
    while stack:
        item, secret = stack.pop()
        if isinstance(item, list):
            stack += zip(item, _after_keys(item, secret), strict=True)
        elif isinstance(item, dict):
            const = item.get("A_Const")
            if const is not None:
                if "sval" in const and (secret or _tells(const["sval"].get("sval", ""))):
                    found.add(const.get("location", 0))
                continue
            if secret and "ParamRef" in item:
                parameters.add(item["ParamRef"].get("number", 0))
            stack += [(value, secret) for value in item.values() if isinstance(value, dict | list)]
            stack += [(part, True) for part in _secret_parts(item)]
    return found, parameters


def _tells(value: str) -> bool:
    return bool(URL.search(value) or CONNINFO.search(value))


def _after_keys(items: list[Any], secret: bool) -> list[bool]:
    """`('smtp_password', 'x')`: what follows a constant that is a secret's name."""
    flags = [secret] * len(items)
    for index, item in enumerate(items[:-1]):
        value = _text(item)
        if value and SECRET.search(value) and _KEY.fullmatch(value):
            flags[index + 1] = True
    return flags


def _text(item: Any) -> str:
    return str(item.get("A_Const", {}).get("sval", {}).get("sval", "")) if isinstance(item, dict) else ""


def _secret_parts(item: Node) -> list[Any]:
    """The parts of a node whose constants are secrets because of a name beside them."""
    parts: list[Any] = []
    for kind, fields in item.items():
        if not isinstance(fields, dict):
            continue
        if kind in {"InsertStmt", "MergeWhenClause"}:
            parts += _inserted(fields)
        elif kind in {"ResTarget", "ColumnDef", "AlterTableCmd"}:
            if SECRET.search(fields.get("name", "") or fields.get("colname", "")):
                parts.append(fields)
        elif kind == "VariableSetStmt":
            if SECRET.search(fields.get("name", "")):  # SET app.token TO x
                parts.append(fields.get("args", []))
        elif kind == "A_Expr":
            if any(_is_secret(fields.get(side), 3) for side in _SIDES):
                parts += [fields[side] for side in _SIDES if side in fields]
        elif kind == "FuncCall":
            name = fields.get("funcname", [{}])[-1].get("String", {}).get("sval", "")
            if name in _KEYED or SECRET.search(name):
                parts.append(fields.get("args", []))
            elif name == "set_config" and len(fields.get("args", [])) > 1 and not _text(fields["args"][0]):
                parts.append(fields["args"][1:])
    return parts


def _inserted(fields: Node) -> list[Any]:
    """The values of secret columns in each row of an INSERT."""
    targets: list[Node] = fields.get("cols") or fields.get("targetList") or []
    columns = [entry.get("ResTarget", {}).get("name", "") for entry in targets]
    secret = [index for index, name in enumerate(columns) if SECRET.search(name)]
    select = fields.get("selectStmt", {}).get("SelectStmt", {})
    rows = [entry.get("List", {}).get("items", []) for entry in select.get("valuesLists", [])]
    rows += [select.get("targetList", []), fields.get("values", [])]
    return [row[index] for row in rows for index in secret if index < len(row)]


def _is_secret(node: Any, depth: int) -> bool:
    """Whether an operand is a secret's column, a call on one, a row with one, or a text that names one."""
    if not isinstance(node, dict) or not depth:
        return False
    for kind, fields in node.items():
        if kind == "ColumnRef":
            return bool(SECRET.search(fields["fields"][-1].get("String", {}).get("sval", "")))
        if kind == "A_Const":
            return bool(SECRET.search(_text(node)))
        if not isinstance(fields, dict):
            return False
        inner: list[Any] = fields.get("args") or [fields.get("arg"), *map(fields.get, _SIDES)]
        return any(_is_secret(part, depth - 1) for part in inner[:16])
    return False
