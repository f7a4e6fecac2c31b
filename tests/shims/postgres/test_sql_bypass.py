"""Every attempt of tests/corpora/sql_bypass against the real gateway; see its README."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq

from onrecord.scripts.parts.postgres import PostgresPart
from tests.helpers import Gateway, make_config, postgres_resource, running_gateway

CORPUS = Path(__file__).parents[2] / "corpora" / "sql_bypass"
PROTOCOLS = ("simple", "extended", "binary")
SECRETS = ("qzxjkv", "wvutsrq", "zqxwvkjh", "918273645", "546372819", "4242424242424242", "5555555555554444")
WATCHED = {
    "orders": "SELECT md5(string_agg(o::text, ',' ORDER BY id)) FROM orders o",
    "salaries": "SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM salaries s",
    "customers": "SELECT md5(string_agg(c::text, ',' ORDER BY id)) FROM customers c",
    "objects": "SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'v', 'm', 'f', 'p')"
    " AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(temp|toast)')",
    "functions": "SELECT count(*) FROM pg_proc WHERE oid >= 16384",
    "roles": "SELECT md5(string_agg(rolname || rolsuper, ',' ORDER BY oid)) FROM pg_roles",
    "large objects": "SELECT count(*) FROM pg_largeobject_metadata",
}
REFUSED = "42501"
OWNER = "bypass_owner"
MASKS = [
    {"columns": ["public.customers.email", "public.events.email", "public.members.email"], "strategy": "partial"},
    {"columns": ["public.customers.card", "public.customers.notes", "public.customers.data"], "strategy": "redact"},
]


def attempts() -> Iterator[Any]:
    for path in sorted(CORPUS.glob("*.jsonl")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            case = json.loads(line)
            protocols = (case["protocol"],) if "protocol" in case else PROTOCOLS
            for protocol in protocols:
                yield pytest.param(case, protocol, id=f"{path.stem}-{number}-{protocol}-{case['name'][:60]}")


class Target:
    """The gateway, the database behind it, and what the database looked like before."""

    def __init__(self, gateway: Gateway, server: PostgresPart) -> None:
        self.gateway, self.server = gateway, server
        self.before = self.state()

    def state(self) -> dict[str, str]:
        with self.owner() as connection:
            return {name: str(connection.execute(query).fetchone()) for name, query in WATCHED.items()}

    def owner(self) -> psycopg.Connection:
        return psycopg.connect(self.server.dsn(OWNER, self.gateway.extra["password"], "bypass"), autocommit=True)

    @contextmanager
    def agent(self) -> Iterator[psycopg.Connection]:
        connection = psycopg.connect(
            host="127.0.0.1",
            port=self.gateway.setup.postgres_port,
            dbname="bypass",
            user="agent",
            password=self.gateway.extra["token"],
            sslmode="disable",
            autocommit=True,
        )
        try:
            yield connection
        finally:
            connection.close()


@pytest.fixture(scope="module")
def target(postgres: PostgresPart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    password = secrets.token_urlsafe(18)
    postgres.sql(f"CREATE ROLE {OWNER} LOGIN PASSWORD '{password}'")
    postgres.sql(f"CREATE DATABASE bypass OWNER {OWNER}")
    with psycopg.connect(postgres.dsn(OWNER, password, "bypass"), autocommit=True) as connection:
        connection.execute((CORPUS / "schema.sql").read_text())
        connection.execute("ANALYZE")
    setup = make_config(
        tmp_path_factory.mktemp("bypass"),
        gateway={"http": None},
        policies=[{"file": "library:guard_destructive_sql"}, {"file": str(CORPUS / "policy.py")}],
        masks=MASKS,
        resources={"bypass": postgres_resource(postgres, user=OWNER, database="bypass")},
        env={"SHOP_PASSWORD": password},
    )
    with running_gateway(setup) as gateway:
        gateway.extra |= {"password": password, "token": setup.mint()}
        yield Target(gateway, postgres)
    postgres.sql("DROP DATABASE bypass WITH (FORCE)")
    postgres.sql(f"DROP ROLE {OWNER}")


def ask(
    connection: psycopg.Connection, text: str, protocol: str, parameters: list[str], copy: str, seen: list[bytes]
) -> str:
    """Send one text, put all that comes back into `seen`, return the SQLSTATE ("" where it succeeded)."""
    raw = connection.pgconn
    if protocol == "simple":
        raw.send_query(text.encode())
    else:
        values = [value.encode() for value in parameters]
        raw.send_query_params(text.encode(), values, result_format=int(protocol == "binary"))
    code = ""
    while (result := raw.get_result()) is not None:
        status = result.status
        if status == pq.ExecStatus.COPY_IN:
            raw.put_copy_data(copy.encode())
            raw.put_copy_end()
        elif status == pq.ExecStatus.COPY_OUT:
            while (size := raw.get_copy_data(0))[0] > 0:
                seen.append(bytes(size[1]))
        elif status == pq.ExecStatus.FATAL_ERROR:
            code = code or (result.error_field(pq.DiagnosticField.SQLSTATE) or b"?????").decode()
            seen += [result.error_field(field) or b"" for field in pq.DiagnosticField]
            if raw.status != pq.ConnStatus.OK:
                break
        else:
            seen += [
                result.get_value(row, column) or b""
                for row in range(result.ntuples)
                for column in range(result.nfields)
            ]
    while raw.status == pq.ConnStatus.OK and (notification := raw.notifies()) is not None:
        seen.append(notification.extra)
    return code


def revealed(seen: list[bytes]) -> list[str]:
    """The secrets that `seen` shows, in whatever plain disguise."""
    whole = b"\n".join(seen)
    squeezed = whole.replace(b" ", b"").replace(b"\0", b"").lower()
    found = []
    for secret in SECRETS:
        plain = secret.encode()
        tails = [base64.b64encode(plain[shift:])[:-4].rstrip(b"=") for shift in range(3)]
        disguises = [plain, plain[::-1], plain.hex().encode(), *[tail.lower() for tail in tails if len(tail) >= 8]]
        if any(disguise in squeezed for disguise in disguises):
            found.append(secret)
    return found


@pytest.mark.parametrize(("case", "protocol"), list(attempts()))
def test_nothing_forbidden_happens_and_nothing_masked_is_seen(
    target: Target, case: dict[str, Any], protocol: str
) -> None:
    texts = [case["sql"]] if isinstance(case["sql"], str) else case["sql"]
    seen: list[bytes] = []
    with target.agent() as connection:
        connection.add_notice_handler(
            lambda notice: seen.append(f"{notice.message_primary} {notice.message_detail} {notice.context}".encode())
        )
        codes = []
        for text in texts:
            parameters = case.get("parameters", []) if protocol != "simple" else []
            codes.append(ask(connection, text, protocol, parameters, case.get("copy", ""), seen))
            if connection.pgconn.status != pq.ConnStatus.OK:
                break
    assert not revealed(seen)
    if case["must"] == "refused":
        assert REFUSED in codes, codes
    elif case["must"] == "masked":
        assert not any(codes), [codes, seen]
    assert target.state() == target.before
