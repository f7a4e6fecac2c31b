"""Which settings a session may change without harm to others, and which reach further."""

from __future__ import annotations

from typing import Any

from onrecord.policies.model import Action
from onrecord.policies.sql.wordlists import load_names, words

Node = dict[str, Any]

# Any user may SET them, yet they mint rights, load code or hide what happens.
_ADMIN = words(
    "role session_authorization local_preload_libraries createrole_self_grant password_encryption scram_iterations "
    "log_parameter_max_length_on_error session_replication_role"
)
_USER = load_names("settings") - _ADMIN | {"seed"}


# Extensions that log or count statements.
_LOGGING = words("pgaudit auto_explain pg_stat_statements set_user pg_stat_monitor")
# They change how the text of later statements reads; analysis reads them with these values.
_READING = {
    "client_encoding": frozenset({"utf8", "utf-8", "unicode"}),
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1"}),
    "backslash_quote": frozenset({"safe_encoding"}),
    "transform_null_equals": frozenset({"off", "false", "no", "0"}),
}


def classify_setting(name: str, value: str | None = None) -> tuple[Action, str]:
    """Action of changing the setting `name` (lower case) to `value` (None: the default), and why."""
    same = _READING.get(name)
    if same is not None and value is not None and value.strip().strip("'\"").lower() not in same:
        return "unknown", f"SET {name} changes how the text of statements reads"
    if name in _USER:
        return "read", ""
    if name in _ADMIN:
        return "admin", f"SET {name} changes rights or what others rely on"
    if name.partition(".")[0] in _LOGGING:
        return "admin", f"SET {name} changes what the server logs"
    if "." in name:
        return "write", f"SET {name} may steer row security or an extension"
    return "admin", f"SET {name} is no setting for ordinary sessions"


def constant_text(node: Node | None) -> str | None:
    """The text of a constant argument, None where it is none (a parameter, an expression)."""
    if not node:
        return None
    cast = node.get("TypeCast")
    if cast is not None:
        return constant_text(cast.get("arg"))
    const = node.get("A_Const")
    if const is None or const.get("isnull"):
        return None
    if "sval" in const:
        return str(const["sval"].get("sval", ""))
    if "ival" in const:
        return str(const["ival"].get("ival", 0))
    if "fval" in const:
        return str(const["fval"].get("fval", ""))
    if "boolval" in const:
        return "on" if const["boolval"].get("boolval") else "off"
    return None


def changes_of(fields: Node) -> list[tuple[str, str | None]]:
    """(name, value) for each setting that a VariableSetStmt changes; None for DEFAULT and RESET."""
    kind = fields.get("kind", "")
    if kind == "VAR_RESET_ALL":
        return [("*", None)]
    name = str(fields.get("name", "")).lower()
    args: list[Node] = fields.get("args", [])
    if kind == "VAR_SET_MULTI":
        if name == "transaction snapshot":
            return [("transaction_snapshot", constant_text(args[0]) if args else None)]
        prefix = "default_" if name == "session characteristics" else ""
        options = [argument["DefElem"] for argument in args if "DefElem" in argument]
        return [
            (prefix + str(option.get("defname", "")).lower(), constant_text(option.get("arg"))) for option in options
        ]
    if kind == "VAR_SET_CURRENT":
        return [(name, "?")]
    if kind != "VAR_SET_VALUE":
        return [(name, None)]
    return [(name, ", ".join(constant_text(argument) or "?" for argument in args))]
