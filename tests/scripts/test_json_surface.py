"""The fixed JSON surface (design, "Fixed surface: JSON"), field by field, from a real gateway's record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from onrecord.scripts.parts.https_api import HttpsApi
from tests.conftest import Shop
from tests.helpers import Gateway, http_resource, make_config, postgres_resource, running_gateway, wait_until

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NONE = type(None)
NUMBER = (int, float)

COMMAND: dict[str, Any] = {
    "id": UUID, "at": TIME, "kind": str, "run": str, "session": UUID, "identity": dict, "resource": str,
    "protocol": str, "client": re.compile(r"127\.0\.0\.1:\d+"), "action": re.compile("read|write|admin|unknown"),
    "text": str, "detail": dict, "verdict": dict, "approval": NONE, "cause": (str, NONE), "outcome": dict,
}  # fmt: skip
IDENTITY: dict[str, Any] = {"issuer": str, "subject": str, "groups": list, "on_behalf_of": (str, NONE)}
VERDICT: dict[str, Any] = {
    "type": re.compile("allow|deny|hold"), "policy": str, "reason": str, "policies": re.compile("sha256:[0-9a-f]{64}"),
}  # fmt: skip
OUTCOME: dict[str, Any] = {
    "status": re.compile("ok|error|refused|aborted"), "code": str, "rows": int, "bytes": int, "duration_ms": NUMBER,
    "error": (str, NONE), "masked": dict, "sample": object, "digest": (str, NONE), "size": int,
}  # fmt: skip
SQL: dict[str, Any] = {
    "kind": str, "tables_read": list, "tables_written": list, "columns_read": list, "functions": list,
    "has_where": bool, "parameters": (list, NONE), "role": str,
}  # fmt: skip
HTTP: dict[str, Any] = {
    "method": str, "scheme": str, "host": str, "port": int, "path": str, "query": object, "headers": list,
    "content_type": str, "body": object,
}  # fmt: skip
SESSION: dict[str, Any] = {
    "id": UUID, "at": TIME, "ended": (str, NONE), "run": str, "identity": dict, "resource": (str, NONE),
    "protocol": str, "client": str, "commands": int,
}  # fmt: skip
RUN: dict[str, Any] = {
    "id": str, "run": str, "at": TIME, "last": TIME, "identity": dict, "resources": list, "sessions": int,
    "commands": int, "denied": int,
}  # fmt: skip


def fits(value: dict[str, Any], shape: dict[str, Any], *, only: bool = False) -> None:
    """Every field of `shape` is in `value` with its type; fields may be added, none may go."""
    assert not set(shape) - set(value), value
    for name, expected in shape.items():
        found = value[name]
        if isinstance(expected, re.Pattern):
            assert isinstance(found, str), (name, found)
            assert expected.fullmatch(found), (name, found)
        else:
            assert isinstance(found, expected), (name, found)
            assert expected is bool or not isinstance(found, bool), (name, found)
    if only:
        assert set(value) == set(shape)


@pytest.fixture(scope="module")
def gateway(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway through which one agent did a little of everything."""
    with HttpsApi("billing.internal") as api:
        setup = make_config(
            tmp_path_factory.mktemp("surface"),
            resources={"orders": postgres_resource(shop.server, user=shop.user), "billing": http_resource(api)},
            policies=[{"file": "library:guard_destructive_sql", "resources": ["orders"]}],
            env={"SHOP_PASSWORD": shop.password},
        )
        with running_gateway(setup) as running:
            use(running)
            wait_until(lambda: len(lines(running, "log")) >= 6, what="all records")
            yield running


def use(gateway: Gateway) -> None:
    token = gateway.setup.mint("devin", on_behalf_of="alice@example.com")
    with psycopg.connect(
        host="127.0.0.1", port=gateway.setup.postgres_port, user="devin", password=token, dbname="orders",
        sslmode="disable", autocommit=True,
    ) as connection:  # fmt: skip
        connection.execute("SELECT id, status FROM orders WHERE id < %s ORDER BY id", (4,)).fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM orders")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM no_such_table")
    import ssl

    context = ssl.create_default_context(cafile=gateway.proxy_ca)
    with httpx.Client(proxy=gateway.proxy(token), verify=context, trust_env=False) as client:
        assert client.get("https://billing.internal/v1/invoices?page=1").status_code == 200
        client.post("https://billing.internal/v1/invoices", json={"amount": 5})
        with pytest.raises(httpx.ProxyError):
            client.get("https://elsewhere.example/")


def lines(gateway: Gateway, *arguments: str) -> list[dict[str, Any]]:
    printed = gateway.onrecord(*arguments, "--json").stdout
    assert printed.isascii() or "\x1b" not in printed
    return [json.loads(line) for line in printed.splitlines()]


def command(gateway: Gateway, beginning: str) -> dict[str, Any]:
    (found,) = [line for line in lines(gateway, "log") if line["text"].startswith(beginning)]
    return found


def fits_command(line: dict[str, Any]) -> None:
    fits(line, COMMAND)
    fits(line["identity"], IDENTITY)
    fits(line["verdict"], VERDICT)
    fits(line["outcome"], OUTCOME)
    assert line["identity"]["subject"] == "devin"
    assert line["identity"]["groups"] == ["agents"]
    assert line["identity"]["on_behalf_of"] == "alice@example.com"


def test_a_sql_command_that_was_allowed(gateway: Gateway) -> None:
    line = command(gateway, "SELECT id")
    fits_command(line)
    fits(line["detail"], SQL)
    assert (line["kind"], line["protocol"], line["resource"], line["action"]) == ("sql", "postgres", "orders", "read")
    assert line["detail"]["kind"] == "SELECT"
    assert line["detail"]["tables_read"] == ["public.orders"]
    assert line["detail"]["has_where"] is True
    assert line["verdict"]["type"] == "allow"
    assert (line["outcome"]["status"], line["outcome"]["rows"]) == ("ok", 3)
    assert len(line["outcome"]["sample"]["rows"]) == 3


def test_a_sql_command_that_was_refused(gateway: Gateway) -> None:
    line = command(gateway, "DELETE")
    fits_command(line)
    fits(line["detail"], SQL)
    assert line["action"] == "write"
    assert line["verdict"]["type"] == "deny"
    assert line["verdict"]["policy"] == "guard_destructive_sql"
    assert line["verdict"]["reason"]
    assert (line["outcome"]["status"], line["outcome"]["code"]) == ("refused", "42501")
    assert line["outcome"]["error"]
    assert line["outcome"]["rows"] == 0


def test_a_sql_command_that_failed_upstream(gateway: Gateway) -> None:
    line = command(gateway, "SELECT * FROM no_such_table")
    fits_command(line)
    assert (line["outcome"]["status"], line["outcome"]["code"]) == ("error", "42P01")
    assert "no_such_table" in line["outcome"]["error"]


def test_http_commands(gateway: Gateway) -> None:
    get, post = command(gateway, "GET https://billing"), command(gateway, "POST https://billing")
    for line in (get, post):
        fits_command(line)
        fits(line["detail"], HTTP)
        assert (line["kind"], line["protocol"], line["resource"]) == ("http", "http", "billing")
        assert line["detail"]["host"] == "billing.internal"
        assert line["detail"]["path"] == "/v1/invoices"
        assert not {name.lower() for name, _ in line["detail"]["headers"]} & {"authorization", "proxy-authorization"}
    assert (get["action"], get["outcome"]["status"], get["outcome"]["code"]) == ("read", "ok", "200")
    assert post["action"] == "write"
    assert post["detail"]["content_type"] == "application/json"


def test_a_refusal_of_what_never_became_a_command(gateway: Gateway) -> None:
    (line,) = [line for line in lines(gateway, "log") if line["kind"] == "refusal"]
    shape = COMMAND | {"run": (str, NONE), "session": (str, NONE), "identity": (dict, NONE), "resource": (str, NONE)}
    fits(line, shape)
    fits(line["verdict"], VERDICT | {"policies": str})
    fits(line["outcome"], OUTCOME)
    assert "elsewhere.example" in line["text"]
    assert line["verdict"]["type"] == "deny"
    assert line["verdict"]["policy"] == "onrecord:egress"
    assert line["outcome"]["status"] == "refused"


def test_show_is_the_object_of_log(gateway: Gateway) -> None:
    for line in lines(gateway, "log"):
        (shown,) = lines(gateway, "show", line["id"])
        for name in COMMAND:
            assert shown[name] == line[name] or name == "outcome"
        fits(shown["outcome"], OUTCOME)


def test_filters_of_log(gateway: Gateway) -> None:
    everything = lines(gateway, "log")
    line = command(gateway, "DELETE")
    for name, value in (("kind", "sql"), ("run", line["run"]), ("session", line["session"]), ("resource", "orders")):
        expected = [other for other in everything if other[name] == value]
        assert lines(gateway, "log", f"--{name}", value) == expected
        assert expected
    assert [other["id"] for other in lines(gateway, "log", "--verdict", "deny")] == [
        other["id"] for other in everything if other["verdict"]["type"] == "deny"
    ]
    named = [other for other in everything if other["identity"] is not None]
    assert lines(gateway, "log", "--identity", "devin") == named
    assert lines(gateway, "log", "--identity", "alice@example.com") == named
    assert lines(gateway, "log", "--limit", "2") == everything[-2:]
    assert lines(gateway, "log", "--since", "1h") == everything
    assert lines(gateway, "log", "--since", everything[2]["at"]) == everything[2:]


def test_sessions_and_runs(gateway: Gateway) -> None:
    sessions, runs = lines(gateway, "sessions"), lines(gateway, "runs")
    for session in sessions:
        fits(session, SESSION)
        fits(session["identity"], IDENTITY)
    assert {session["protocol"] for session in sessions} >= {"postgres", "http"}
    for run in runs:
        fits(run, RUN)
        fits(run["identity"], IDENTITY)
    assert sum(run["sessions"] for run in runs) == len(sessions)
    assert {session["run"] for session in sessions} == {run["id"] for run in runs}


def test_search(gateway: Gateway) -> None:
    (line,) = lines(gateway, "search", "no_such_table")
    fits(line, COMMAND)
    assert line["text"] == "SELECT * FROM no_such_table"
    assert lines(gateway, "search", "neverheardof") == []


def test_verify(gateway: Gateway, tmp_path: Path) -> None:
    (report,) = lines(gateway, "verify")
    fits(report, {"ok": bool, "records": int, "checkpoint": str})
    assert report["ok"] is True
    assert report["records"] > 6
    forged = tmp_path / "forged"
    forged.write_text("onrecord/0+00000000+AAAA\n")
    failed = gateway.onrecord("verify", "--json", "--vkey", str(forged), check=False)
    assert failed.returncode == 2
    altered = tmp_path / "cut"
    altered.write_bytes(b"")
    failed = gateway.onrecord("verify", "--json", "--checkpoints", str(altered), check=False)
    assert failed.returncode == 1
    told = json.loads(failed.stdout)
    fits(told, {"ok": bool, "first_bad": str, "damage": str})
    assert told["ok"] is False
    assert told["damage"]
