"""OCSF 1.5 events (https://schema.ocsf.io), one JSON object a line, for a SIEM. Pure.

A statement is a Datastore Activity (6005), everything else an API Activity (6003), a tunnel or file transfer over SSH
too: what was asked of an API, by whom, and what became of it. A refusal of what never became a command is an API
Activity with disposition Blocked. Whatever has no place in the schema stands in `unmapped`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from onrecord import __version__
from onrecord.recordings.display.neutral import json_line
from onrecord.recordings.views import View

VERSION = "1.5.0"
_API, _DATASTORE = 6003, 6005
_OTHER = 99
_ACTIVITIES = {  # activity_id by class
    _API: {"create": 1, "read": 2, "update": 3, "delete": 4},
    _DATASTORE: {"read": 1, "update": 2, "connect": 3, "query": 4, "write": 5, "create": 6, "delete": 7},
}
_NAMES = {
    _API: {1: "Create", 2: "Read", 3: "Update", 4: "Delete", _OTHER: "Other"},
    _DATASTORE: {
        1: "Read", 2: "Update", 3: "Connect", 4: "Query", 5: "Write", 6: "Create", 7: "Delete", _OTHER: "Other",
    },
}  # fmt: skip
_SQL = {
    "SELECT": "query", "INSERT": "write", "UPDATE": "update", "DELETE": "delete", "TRUNCATE": "delete",
    "MERGE": "update", "DROP": "delete", "CREATE": "create", "COPY": "read", "ALTER": "update",
}  # fmt: skip
_METHODS = {
    "GET": "read", "HEAD": "read", "OPTIONS": "read", "POST": "create", "PUT": "update", "PATCH": "update",
    "DELETE": "delete", "get": "read", "list": "read", "watch": "read", "create": "create", "update": "update",
    "patch": "update", "delete": "delete", "deletecollection": "delete",
}  # fmt: skip


def write(commands: Iterable[View]) -> Iterator[str]:
    """One event a line."""
    for command in commands:
        yield json_line(event_of(command))


def event_of(command: View) -> dict[str, Any]:
    """The event of one command or refusal."""
    detail = command.get("detail") if isinstance(command.get("detail"), dict) else {}
    verdict, outcome = command.get("verdict") or {}, command.get("outcome") or {}
    class_uid = _DATASTORE if command["kind"] == "sql" else _API
    activity = _activity(class_uid, command, detail or {})
    blocked = outcome.get("status") == "refused"
    good = outcome.get("status") == "ok"
    severity, severity_id = ("Medium", 3) if blocked else ("Informational", 1) if good else ("Low", 2)
    event: dict[str, Any] = {
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": class_uid,
        "class_name": "Datastore Activity" if class_uid == _DATASTORE else "API Activity",
        "activity_id": activity,
        "activity_name": _NAMES[class_uid][activity],
        "type_uid": class_uid * 100 + activity,
        "type_name": f"{'Datastore' if class_uid == _DATASTORE else 'API'} Activity: {_NAMES[class_uid][activity]}",
        "time": _milliseconds(command["at"]),
        "duration": round(float(outcome.get("duration_ms") or 0.0)),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1 if good else 2 if outcome else 0,
        "status": "Success" if good else "Failure" if outcome else "Unknown",
        "status_code": str(outcome.get("code") or ""),
        "status_detail": str(outcome.get("error") or ""),
        "action_id": 2 if blocked else 1,
        "action": "Denied" if blocked else "Allowed",
        "disposition_id": 2 if blocked else 1,
        "disposition": "Blocked" if blocked else "Allowed",
        "message": str(command.get("text") or ""),
        "metadata": {
            "version": VERSION,
            "uid": command["id"],
            "product": {"name": "onrecord", "vendor_name": "onrecord", "version": __version__},
            "profiles": ["security_control"],
            "correlation_uid": str(command.get("run") or ""),
            "original_time": command["at"],
        },
        "actor": _actor(command),
        "src_endpoint": _endpoint(command.get("client")),
        "api": _api(command, detail or {}, outcome),
        "firewall_rule": {"name": str(verdict.get("policy") or ""), "desc": str(verdict.get("reason") or "")},
        "unmapped": {
            "action": command.get("action"), "verdict": verdict or None, "approval": command.get("approval"),
            "cause": command.get("cause"), "masked": outcome.get("masked") or {}, "rows": outcome.get("rows", 0),
            "bytes": outcome.get("bytes", 0), "detail": detail,
        },
    }  # fmt: skip
    resource = command.get("resource")
    if class_uid == _DATASTORE:
        event["database"] = {"name": str(resource or ""), "type": "Relational", "type_id": 1}
        event["query_info"] = {"query_string": str(command.get("text") or ""), "uid": command["id"]}
        tables = [*(detail or {}).get("tables_read", []), *(detail or {}).get("tables_written", [])]
        if tables:
            event["table"] = {"name": str(tables[0])}
    else:
        event["resources"] = [{"name": str(resource or ""), "type": str(command.get("protocol") or "")}]
        http = _http(detail or {}, outcome)
        if http:
            event |= http
    if not outcome:
        event["status_id"] = 0
    return event


def _activity(class_uid: int, command: View, detail: dict[str, Any]) -> int:
    known = _ACTIVITIES[class_uid]
    if class_uid == _DATASTORE:
        words = str(detail.get("kind") or command.get("text") or "").split(None, 1)
        word = _SQL.get(words[0].upper(), "") if words else ""
    else:
        word = _METHODS.get(str(detail.get("verb") or detail.get("method") or ""), "")
        word = word or {"read": "read", "write": "update"}.get(str(command.get("action")), "")
    return known.get(word, _OTHER)


def _actor(command: View) -> dict[str, Any]:
    identity = command.get("identity") or {}
    actor: dict[str, Any] = {
        "user": {
            "name": str(identity.get("subject") or ""),
            "uid": f"{identity.get('issuer') or ''}#{identity.get('subject') or ''}",
            "type_id": _OTHER if identity.get("kind", "agent") == "agent" else 1,
            "type": str(identity.get("kind") or "agent"),
            "groups": [{"name": str(name)} for name in identity.get("groups") or ()],
        },
        "session": {"uid": str(command.get("session") or ""), "issuer": str(identity.get("issuer") or "")},
    }
    if identity.get("on_behalf_of"):
        actor["invoked_by"] = str(identity["on_behalf_of"])
    if identity.get("agent"):
        actor["app_name"] = str(identity["agent"])
    return actor


def _endpoint(client: object) -> dict[str, Any]:
    address, _, port = str(client or "").rpartition(":")
    if not address or not port.isdigit():
        return {"ip": str(client or "")}
    return {"ip": address.strip("[]"), "port": int(port)}


def _api(command: View, detail: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
    operation = str(detail.get("verb") or detail.get("method") or detail.get("operation") or command["kind"])
    api: dict[str, Any] = {
        "operation": operation,
        "service": {"name": str(command.get("resource") or "")},
        "request": {"uid": command["id"]},
        "response": {"code": _number(outcome.get("code")), "error": str(outcome.get("error") or "")},
    }
    if detail.get("version"):
        api["version"] = str(detail["version"])
    return api


def _http(detail: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
    if not {"method", "scheme", "host", "path"} <= detail.keys():
        return {}
    return {
        "http_request": {
            "http_method": str(detail["method"]),
            "url": {
                "scheme": str(detail["scheme"]), "hostname": str(detail["host"]), "path": str(detail["path"]),
                "port": detail.get("port") or 0,
            },
        },
        "http_response": {"code": _number(outcome.get("code"))},
    }  # fmt: skip


def _number(code: object) -> int:
    text = str(code or "")
    return int(text) if text.isdigit() and len(text) <= 9 else 0


def _milliseconds(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1000)
