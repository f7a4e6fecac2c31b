"""Masks delay no row: the first ones come while the statement still runs."""

from __future__ import annotations

import psycopg
from psycopg import pq

from tests.clients.lab import PASSWORD
from tests.helpers import make_config, postgres_resource, running_gateway

LOGIN = "first_row"
KEY = 4711
# Rows over the server's buffer, so that it sends the first when it has it; the third waits for a lock.
SQL = f"""
    SELECT 'devin@example.com ' || repeat('x', 20000), CASE WHEN i = 3 THEN pg_advisory_lock({KEY}) END
    FROM generate_series(1, 4) i
"""


def test_a_masked_row_comes_before_the_statement_has_ended(tmp_path, postgres):
    postgres.sql(f"CREATE ROLE {LOGIN} LOGIN PASSWORD '{PASSWORD}'")
    postgres.sql(f"CREATE DATABASE {LOGIN} OWNER {LOGIN}")
    rules = {"default": "allow", "unknown": "allow", "admin": "allow"}
    setup = make_config(
        tmp_path,
        resources={"app": postgres_resource(postgres, user=LOGIN, database=LOGIN, **rules)},
        masks=[{"detect": ["email", "phone", "payment_card"]}],
        gateway={"http": None},
        env={"SHOP_PASSWORD": PASSWORD},
    )
    direct = f"host=127.0.0.1 port={postgres.port} user={LOGIN} password={PASSWORD} dbname={LOGIN} sslmode=disable"
    with running_gateway(setup) as gateway, psycopg.connect(direct, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (KEY,))
        dsn = f"host=127.0.0.1 port={gateway.setup.postgres_port} user=devin dbname=app sslmode=disable"
        agent = pq.PGconn.connect(f"{dsn} password={setup.mint()}".encode())
        try:
            agent.send_query(SQL.encode())
            agent.set_single_row_mode()
            first = agent.get_result()  # blocks until there is a row: it could only end with the lock if rows waited
            assert first is not None
            assert first.status == pq.ExecStatus.SINGLE_TUPLE, agent.error_message
            assert (first.get_value(0, 0) or b"").startswith(b"[redacted]")
            assert holder.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            ).fetchone() == (1,)
            holder.execute("SELECT pg_advisory_unlock(%s)", (KEY,))
            rows = 1
            while (result := agent.get_result()) is not None:
                rows += result.status == pq.ExecStatus.SINGLE_TUPLE
            assert rows == 4
        finally:
            agent.finish()
