"""A running gateway before a real PostgreSQL, and what a client needs to reach it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onrecord.scripts.parts.postgres import PostgresPart, debian_bindir, embedded_bindir
from tests.helpers import Gateway, make_config, postgres_resource, running_gateway

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
LOGIN = "app"
PASSWORD = "app-login"
STRICT = "app"  # the resource with the strict defaults: nothing unknown, nothing administrative
WIDE = "app_wide"  # the same database with unknown and admin = "allow", for schema tools
PATIENCE = 30.0

READ_AND_WRITE = '''"""Reading and writing is allowed; the rest is left to the resource's rules."""

from onrecord.policies import Allow, Command, Verdict


class ReadAndWrite:
    def command(self, command: Command) -> Verdict | None:
        return Allow() if command.action in {"read", "write"} else None


addons = [ReadAndWrite()]
'''

PSQL = {"15": debian_bindir, "18": embedded_bindir}


@dataclass(frozen=True, slots=True)
class Lab:
    """A gateway and its upstream. `tls` is spoken on both sides, or on neither."""

    server: PostgresPart
    gateway: Gateway
    token: str

    host = "127.0.0.1"

    @property
    def port(self) -> int:
        return self.gateway.setup.postgres_port

    @property
    def tls(self) -> bool:
        return self.server.tls

    @property
    def ca(self) -> Path:
        return self.gateway.proxy_ca

    def env(self, database: str = STRICT, **more: str) -> dict[str, str]:
        """The environment of a libpq program."""
        tls = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.ca)} if self.tls else {"PGSSLMODE": "disable"}
        return {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "LC_ALL": "C.UTF-8",
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": "devin",
            "PGPASSWORD": self.token,
            "PGDATABASE": database,
            "PGCONNECT_TIMEOUT": "20",
            **tls,
            **more,
        }

    def native_env(self) -> dict[str, str]:
        """The same for a program that goes past the gateway, with the gateway's own login."""
        tls = {"PGSSLROOTCERT": str(self.server.ca)} if self.tls else {}
        tls["PGCLIENTENCODING"] = "UTF8"  # which the gateway asks for
        return self.env(PGPORT=str(self.server.port), PGUSER=LOGIN, PGPASSWORD=PASSWORD, PGDATABASE=LOGIN, **tls)

    def dsn(self, database: str = STRICT) -> str:
        tls = f"sslmode=verify-full sslrootcert={self.ca}" if self.tls else "sslmode=disable"
        return f"host={self.host} port={self.port} user=devin password={self.token} dbname={database} {tls}"

    def url(self, scheme: str, database: str = STRICT) -> str:
        """An address with the token, without TLS options."""
        return f"{scheme}://devin:{self.token}@{self.host}:{self.port}/{database}"

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        database: str = STRICT,
        text: str | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = PATIENCE,
    ) -> subprocess.CompletedProcess[str]:
        """A libpq program through the gateway; fails with all that it printed."""
        done = subprocess.run(
            [str(part) for part in argv],
            input=text,
            env={**self.env(database), **(env or {})},
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{argv}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def psql(
        self, script: str, *options: str, version: str = "15", database: str = STRICT, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A script for psql; stops at the first error, prints rows bare."""
        program = PSQL[version]() / "psql"
        argv = [str(program), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *options]
        done = self.run(argv, text=script, database=database, check=check)
        if check:
            assert "ERROR" not in done.stderr, done.stderr
        return done

    def direct(self, sql: str) -> list[list[object]]:
        """What really is in the database, asked past the gateway as superuser."""
        return self.server.sql(sql, database=LOGIN)

    def remove(self, *tables: str) -> None:
        """Drop what a test made, past the gateway."""
        for table in tables:
            self.direct(f"DROP TABLE IF EXISTS {table} CASCADE")


@contextlib.contextmanager
def running_lab(folder: Path, server: PostgresPart) -> Iterator[Lab]:
    """A database `app` whose owner the gateway logs in as, strict and wide, behind a gateway process of its own."""
    server.sql(f"CREATE ROLE {LOGIN} LOGIN PASSWORD '{PASSWORD}'")
    server.sql(f"CREATE DATABASE {LOGIN} OWNER {LOGIN}")
    rules = folder / "read_and_write.py"
    rules.write_text(READ_AND_WRITE)
    rules.chmod(0o600)
    strict = postgres_resource(server, user=LOGIN, database=LOGIN, default="deny")
    setup = make_config(
        folder,
        resources={STRICT: strict, WIDE: strict | {"unknown": "allow", "admin": "allow"}},
        policies=[{"file": str(rules)}],
        gateway={"http": None},
        env={"SHOP_PASSWORD": PASSWORD},
    )
    with running_gateway(setup) as gateway:
        yield Lab(server, gateway, setup.mint())
