"""psql 15 and 18 through the gateway."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.clients.lab import PATIENCE, PSQL, Lab
from tests.helpers import wait_until

TABLES = """
DROP TABLE IF EXISTS psql_lines; DROP TABLE IF EXISTS psql_orders CASCADE; DROP TYPE IF EXISTS psql_mood;
CREATE TYPE psql_mood AS ENUM ('sad', 'ok');
CREATE TABLE psql_orders (id int PRIMARY KEY, note text, total numeric(10,2), mood psql_mood,
  at timestamptz DEFAULT now());
CREATE TABLE psql_lines (id serial PRIMARY KEY, order_id int REFERENCES psql_orders, what text);
CREATE INDEX ON psql_lines (order_id) WHERE what IS NOT NULL;
CREATE VIEW psql_open AS SELECT id, note FROM psql_orders WHERE total > 1;
INSERT INTO psql_orders SELECT n, 'note ' || n, n * 1.5, 'ok' FROM generate_series(1, 9) n;
"""


@pytest.mark.parametrize("version", ["15", "18"])
def test_copy_goes_both_ways_in_text_csv_and_binary(lab: Lab, tmp_path: Path, version: str):
    lab.psql(TABLES)
    for options in ("", "(FORMAT csv, HEADER)", "(FORMAT binary)"):
        file = tmp_path / "orders.data"
        lab.psql(f"\\copy psql_orders TO '{file}' {options}\n", version=version)
        lab.psql("TRUNCATE psql_orders CASCADE;")
        lab.psql(f"\\copy psql_orders FROM '{file}' {options}\n", version=version)
        assert lab.direct("SELECT count(*), sum(total) FROM psql_orders")[0][0] == 9
    done = lab.psql(
        "COPY (SELECT id, note FROM psql_orders ORDER BY id LIMIT 2) TO STDOUT (FORMAT csv);", version=version
    )
    assert done.stdout == "1,note 1\n2,note 2\n"
    lab.psql("COPY psql_lines (order_id, what) FROM STDIN;\n1\ta\n2\t\\N\n\\.\n", version=version)
    assert lab.direct("SELECT count(*) FROM psql_lines") == [[2]]


def test_copy_over_tls(tls_lab: Lab, tmp_path: Path):
    tls_lab.psql(TABLES)
    file = tmp_path / "orders.csv"
    tls_lab.psql(
        f"\\copy psql_orders TO '{file}' CSV\nTRUNCATE psql_orders CASCADE;\n\\copy psql_orders FROM '{file}' CSV\n"
    )
    assert tls_lab.direct("SELECT count(*) FROM psql_orders") == [[9]]


# Every \d command that both psqls have; those for roles' rights and settings read the catalog as the others do.
DESCRIBE = r"""
\d \d+ \dS \da \dA \dA+ \dAc \dAf \dAo \dAp \db \db+ \dc \dC \dd \dD \dD+ \ddp \dE \des \det \deu \dew \df \df+
\dF \dFd \dFp \dFt \dg \dg+ \di \di+ \dl \dL \dL+ \dm \dn \dn+ \do \dO \dp \dP \dP+ \drds \dRp \dRs \ds \ds+ \dt
\dt+ \dT \dT+ \du \du+ \dv \dv+ \dx \dx+ \dX \dy \l \l+ \z
"""
NAMED = r"""
\d psql_orders | \d+ psql_orders | \d psql_lines | \d+ psql_open | \d psql_orders_pkey | \d+ psql_lines_id_seq
| \dt+ psql_* | \dT+ psql_mood | \df+ pg_catalog.lower | \sf pg_catalog.lower(text) | \sv psql_open | \d *.psql_orders
| \dp psql_orders | \dn+ public | \do pg_catalog.= | \dC int | \encoding
"""


def describe(lab: Lab, version: str) -> None:
    """What psql prints through the gateway is what it prints without it, its own errors included."""
    script = "\n".join(
        [f"\\echo == {command}\n{command}" for command in (*DESCRIBE.split(), *map(str.strip, NAMED.split("|")))]
    )
    argv = [str(PSQL[version]() / "psql"), "-X", "-A", "-t"]
    done = lab.run(argv, text=script, check=False)
    native = lab.run(argv, text=script, check=False, env=lab.native_env())
    assert done.stderr == native.stderr
    assert done.stdout == native.stdout
    assert "psql_orders" in done.stdout
    assert "onrecord" not in done.stderr


@pytest.mark.parametrize("version", ["15", "18"])
def test_describing_commands_work_under_the_strict_defaults(lab: Lab, version: str):
    lab.psql(TABLES)
    describe(lab, version)


def test_describing_commands_work_over_tls(tls_lab: Lab):
    tls_lab.psql(TABLES)
    describe(tls_lab, "15")


@pytest.mark.parametrize("version", ["15", "18"])
def test_gset_gexec_crosstabview_gdesc_and_fetch_count(lab: Lab, version: str):
    lab.psql(TABLES)
    done = lab.psql(
        """SELECT count(*) AS orders, min(note) AS first FROM psql_orders \\gset
\\echo :orders :first
SELECT format('UPDATE psql_orders SET note = %L WHERE id = %s', 'n' || id, id) FROM psql_orders WHERE id < 3 \\gexec
SELECT note FROM psql_orders WHERE id < 3 ORDER BY id;
SELECT id % 2 AS odd, id % 3 AS rest, count(*) FROM psql_orders GROUP BY 1, 2 ORDER BY 2, 1 \\crosstabview
SELECT id, note FROM psql_orders \\gdesc
\\set FETCH_COUNT 2
SELECT id FROM psql_orders ORDER BY id;
""",
        version=version,
    )
    assert done.stdout.splitlines() == [
        "9 note 1", "n1", "n2", "0|1|1|2", "1|2|2|1", "id|integer", "note|text",
        *[str(number) for number in range(1, 10)],
    ]  # fmt: skip


def test_bind_and_named_statements_of_newer_psql(lab: Lab):
    lab.psql(TABLES)
    done = lab.psql(
        """SELECT note FROM psql_orders WHERE id = $1 \\bind 3 \\g
SELECT $1::int + 1 \\parse plus
\\bind_named plus 41 \\g
\\close_prepared plus
\\startpipeline
SELECT $1 \\bind 7 \\sendpipeline
SELECT 8 \\bind \\sendpipeline
\\endpipeline
""",
        version="18",
    )
    assert done.stdout.split("\n") == ["note 3", "42", "7", "8", ""]


@pytest.mark.parametrize("version", ["15", "18"])
def test_watch_runs_the_statement_again_until_interrupted(lab: Lab, version: str):
    program = PSQL[version]() / "psql"
    argv = [str(program), "-X", "-A", "-t", "-f", "/dev/stdin"]
    with subprocess.Popen(
        argv, env=lab.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("SELECT 'tick' \\watch 0.1\n")
        process.stdin.close()
        seen: list[str] = []
        while seen.count("tick") < 3:
            line = process.stdout.readline()
            assert line, seen
            seen.append(line.strip())
        process.send_signal(signal.SIGINT)
        process.stdout.read()


@pytest.mark.parametrize("sleep", ["SELECT pg_sleep(60)", "SELECT count(*) FROM generate_series(1, 1000000000000) g"])
def test_ctrl_c_cancels_the_running_statement_and_the_session_lives(each_lab: Lab, sleep: str):
    running = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND state = 'active' AND query LIKE "
    terminal, inner = pty.openpty()  # at a terminal psql goes on after a cancel
    argv = [str(PSQL["15"]() / "psql"), "-X", "-n", "-A", "-t", "-P", "pager=off"]
    with subprocess.Popen(argv, env=each_lab.env(), stdin=inner, stdout=inner, stderr=inner) as process:
        os.close(inner)
        try:
            os.write(terminal, f"{sleep};\n".encode())
            pattern = sleep.replace("'", "''")[:40] + "%"
            wait_until(lambda: each_lab.direct(f"{running} '{pattern}'") == [[1]], what="the statement to run")
            process.send_signal(signal.SIGINT)
            _read_until(terminal, "canceling statement due to user request")
            os.write(terminal, b"SELECT 'still ' || 'here';\n")
            _read_until(terminal, "still here")
            os.write(terminal, b"\\q\n")
            process.wait(PATIENCE)
        finally:
            process.kill()
            os.close(terminal)


def _read_until(terminal: int, text: str) -> None:
    shown = ""
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], PATIENCE)
        assert ready, shown
        shown += os.read(terminal, 65536).decode()


def test_errors_look_as_the_servers_own_with_the_place_in_the_text(each_lab: Lab):
    done = each_lab.psql("SELECT 1,\n  no_such_column FROM pg_class;\n", check=False)
    assert 'ERROR:  column "no_such_column" does not exist' in done.stderr
    assert "LINE 2:   no_such_column FROM pg_class;" in done.stderr


def test_transactions_savepoints_and_on_error_rollback(each_lab: Lab):
    done = each_lab.run(
        [PSQL["15"]() / "psql", "-X", "-q", "-A", "-t"],
        text="\\set ON_ERROR_ROLLBACK on\nBEGIN;\nSELECT 1/0;\nSELECT 'alive';\nCOMMIT;\nSELECT 'after';\n",
    )
    assert done.stdout.split() == ["alive", "after"]
    assert "division by zero" in done.stderr


def test_several_statements_in_one_message_and_combined_output(each_lab: Lab):
    done = each_lab.psql("SELECT 1 \\; SELECT 2 \\; SELECT 3;\n")
    assert done.stdout.split() == ["1", "2", "3"]


def test_listen_and_notify_between_sessions(each_lab: Lab):
    done = each_lab.psql("LISTEN deploys;\nNOTIFY deploys, 'v2';\nSELECT 1;\n")
    assert 'Asynchronous notification "deploys" with payload "v2" received' in done.stdout


def test_what_the_policy_forbids_looks_native(each_lab: Lab):
    done = each_lab.psql("\\set VERBOSITY verbose\nCREATE ROLE mallory SUPERUSER;\n", check=False)
    assert "ERROR:  42501: onrecord:" in done.stderr
    assert each_lab.server.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'mallory'") == [[0]]
