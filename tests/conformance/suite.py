"""PostgreSQL's own regression suite, run by its own pg_regress against a server or a gateway.

    python -m tests.conformance.suite [direct|shim] [TEST…]

runs it by hand and keeps its folder (the differences are in regression.diffs).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onrecord.scripts.parts.gateway import Gateway, Setup, make_config, postgres_resource, running_gateway
from onrecord.scripts.parts.postgres import PostgresPart, debian_bindir

ROOT = Path(__file__).resolve().parents[2]
TESTS = 217
TIMEOUT = 1800
PASSED = re.compile(r"^(?:test)?\s+[\w.]+\s+\.\.\. ok\b", re.MULTILINE)
FAILED = re.compile(r"^(?:test)?\s+([\w.]+)\s+\.\.\. (?:FAILED|failed)", re.MULTILINE)
# The server's own default, which the gateway narrows to public where no catalog says what else there is.
PATH = '-c search_path="$user",public'  # the server splits at blanks; quotes would be part of the value
# Without the catalog: thousands of changes to the schema would each have it read again, and nothing here asks it.
CONFORMANCE_RULES = {"default": "allow", "unknown": "allow", "admin": "allow", "catalog": "off"}
DATABASES = ("postgres", "regression")  # where pg_regress makes its database, and that


def suite_folder() -> Path:
    """The suite in the cache, fetched and built where it is not there yet."""
    done = subprocess.run(
        [str(ROOT / "scripts/setup-conformance")], stdout=subprocess.PIPE, text=True, check=True, timeout=TIMEOUT
    )
    return Path(done.stdout.strip())


@dataclass(frozen=True, slots=True)
class Result:
    """What pg_regress found: names of failed tests, how many passed, its output, the differences."""

    passed: int
    failed: tuple[str, ...]
    output: str
    differences: str


class Suite:
    """A copy of the suite in a folder that the server's user may read and write; removed at the end."""

    def __init__(self, server: PostgresPart) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="onrecord-regress-", dir="/tmp"))
        shutil.copytree(suite_folder(), self.folder, dirs_exist_ok=True)
        # The server writes results of COPY TO files here, pg_regress all others.
        results = self.folder / "results"
        results.mkdir()
        self._server = server
        for path in (self.folder, *self.folder.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o755 if path.suffix == ".so" else 0o644)
        self._regress = self._server.bindir.parent / "lib/pgxs/src/test/regress/pg_regress"

    def run(self, *, port: int, user: str, password: str, tests: Sequence[str] = ()) -> Result:
        """All tests in the suite's own order, or `tests` alone (each one needs test_setup before it)."""
        chosen = list(tests) or [f"--schedule={self.folder / 'parallel_schedule'}"]
        done = subprocess.run(
            [
                str(self._regress),
                *("--host=127.0.0.1", f"--port={port}", f"--user={user}"),
                *(f"--inputdir={self.folder}", f"--outputdir={self.folder}", f"--dlpath={self.folder / 'lib'}"),
                *(f"--bindir={self._server.bindir}", "--max-concurrent-tests=20", *chosen),
            ],
            env={
                "PATH": os.environ["PATH"],
                "PGPASSWORD": password,
                "PGSSLMODE": "disable",
                "PGGSSENCMODE": "disable",
                "PGOPTIONS": PATH,
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
        )
        output = done.stdout + done.stderr
        differences = self.folder / "regression.diffs"
        return Result(
            len(PASSED.findall(output)),
            tuple(FAILED.findall(output)),
            output,
            differences.read_text(errors="replace") if differences.exists() else "",
        )

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def server() -> PostgresPart:
    """Debian's server as the suite wants it: its expected files are of that very version."""
    return PostgresPart(bindir=debian_bindir(), settings={"max_prepared_transactions": "2"})


def permissive(folder: Path, server: PostgresPart) -> Setup:
    """A gateway that allows everything, each database of the suite as a resource of its name."""
    resources = {
        name: postgres_resource(server, user=server.superuser, database=name, **CONFORMANCE_RULES) for name in DATABASES
    }
    return make_config(folder, resources=resources, gateway={"http": None}, env={"SHOP_PASSWORD": server.password})


@contextlib.contextmanager
def gateway(folder: Path, server: PostgresPart) -> Iterator[tuple[Gateway, str]]:
    """A running permissive gateway and a token for it."""
    setup = permissive(folder, server)
    with running_gateway(setup) as running:
        yield running, setup.mint()


def main(way: str = "shim", *tests: str) -> None:
    """Run by hand; the folder stays."""
    with server() as postgres, tempfile.TemporaryDirectory() as folder:
        suite = Suite(postgres)
        if way == "direct":
            result = suite.run(port=postgres.port, user=postgres.superuser, password=postgres.password, tests=tests)
        else:
            with gateway(Path(folder), postgres) as (running, token):
                result = suite.run(
                    port=running.setup.postgres_port, user=postgres.superuser, password=token, tests=tests
                )
                shutil.copy(running.log, suite.folder / "up.log")
        shutil.copy(postgres.folder / "log", suite.folder / "postgres.log")
    sys.stdout.write(f"{result.output}\n{result.passed} passed, failed: {result.failed}\n{suite.folder}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
