"""How long an approval takes: from the click on the page (or the call of the API) until a real psql has its answer, and
from the statement until an open page hears of it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from onrecord.scripts.admin_client import AdminClient
from onrecord.scripts.benchmarks.report import Result, progress
from onrecord.scripts.parts.admin_page import AdminPage
from onrecord.scripts.parts.gateway import Setup, make_config, postgres_resource, running_gateway
from onrecord.scripts.parts.ports import free_port
from onrecord.scripts.parts.postgres import PartError, PostgresPart

USER = "svc_agent"
EACH_ROUND = 10
PATIENCE = 60.0
FRESH = 200.0
POLICY = """
from onrecord.policies import Hold


class HoldUpdates:
    def sql(self, command):
        return Hold(approvers="dba", reason="a benchmark") if command.kind == "UPDATE" else None


addons = [HoldUpdates()]
"""


def measure(rounds: int, seconds: float) -> Result:
    """One psql that waits again and again; ten decisions a round by each way. `seconds` is not used."""
    del seconds
    result = Result("Approvals (ms)", ["p50", "p95", "worst", "count"])
    taken: dict[str, list[float]] = {"page to psql": [], "API to psql": [], "statement to page": []}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onrecord-bench-")))
        server = stack.enter_context(PostgresPart())
        password = server.create_shop()
        policy = folder / "hold_updates.py"
        policy.write_text(POLICY)
        policy.chmod(0o600)
        setup = make_config(
            folder,
            resources={"orders": postgres_resource(server, user=USER)},
            policies=[{"file": str(policy)}],
            gateway={"admin": f"127.0.0.1:{free_port()}", "http": None},
            env={"SHOP_PASSWORD": password},
        )
        stack.enter_context(running_gateway(setup))
        psql = stack.enter_context(Psql(setup))
        page = stack.enter_context(Page(setup))
        heard = stack.enter_context(page.events())
        for number in range(rounds * EACH_ROUND):
            progress(f"decision {number + 1} of {rounds * EACH_ROUND}")
            for case, decide in (("page to psql", page.approve), ("API to psql", page.approve_by_api)):
                began = time.perf_counter()
                psql.send("UPDATE orders SET status = status WHERE id = 1;")
                id = heard.get(timeout=PATIENCE)
                taken["statement to page"].append((time.perf_counter() - began) * 1000)
                click = decide(id)
                began = time.perf_counter()
                click()
                psql.wait("UPDATE")
                taken[case].append((time.perf_counter() - began) * 1000)
        progress("")
    for case, times in taken.items():
        ordered = sorted(times)
        result.rows[case] = {
            "p50": statistics.median(ordered),
            "p95": ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
            "worst": ordered[-1],
            "count": float(len(ordered)),
        }
    result.notes = ["bar: a decision reaches a waiting psql within 1,000 ms at p95"]
    return result


class Psql:
    """A real psql that reads statements from a pipe."""

    def __init__(self, setup: Setup) -> None:
        program = shutil.which("psql")
        if program is None:
            raise PartError("psql is missing: apt-get install postgresql-client")
        self._process = subprocess.Popen(
            [program, "-X", "-q", "-v", "QUIET=0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ
            | {
                "PGHOST": "127.0.0.1",
                "PGPORT": str(setup.postgres_port),
                "PGDATABASE": "orders",
                "PGUSER": "agent",
                "PGPASSWORD": setup.mint("devin"),
                "PGSSLMODE": "disable",
            },
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Psql:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def send(self, statement: str) -> None:
        """Have psql run `statement`."""
        assert self._process.stdin is not None  # noqa: S101  # PIPE above
        self._process.stdin.write(statement + "\n")
        self._process.stdin.flush()

    def wait(self, word: str) -> None:
        """Until psql prints a line that begins with `word`."""
        while not self._lines.get(timeout=PATIENCE).startswith(word):
            pass

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        for line in self._process.stdout:
            self._lines.put(line)


class Page(AdminPage):
    """An open page that hears of changes, and logs in anew before a decision would need it."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(
            f"http://127.0.0.1:{setup.admin_port}", lambda: setup.mint("dana", groups=("dba",), human=True)
        )
        self._setup = setup
        self._since = float("-inf")

    def approve(self, id: str) -> Callable[[], None]:
        """Open the approval; what is returned sends its form."""
        if time.monotonic() - self._since > FRESH:
            self.log_in()
            self._since = time.monotonic()
        send = self.review(id)
        return lambda: send("")

    def approve_by_api(self, id: str) -> Callable[[], None]:
        """What is returned calls the API."""
        token = self._setup.mint("dana", groups=("dba",), human=True)

        def call() -> None:
            with AdminClient(self.origin, token) as client:
                client.decide(id, "approve", "")

        return call

    @contextlib.contextmanager
    def events(self) -> Iterator[queue.Queue[str]]:
        """The ids of approvals that begin to wait, as an open page hears of them."""
        heard: queue.Queue[str] = queue.Queue()
        known: set[str] = set()
        ready = threading.Event()

        def listen() -> None:
            with (
                contextlib.suppress(httpx.HTTPError),
                AdminPage(self.origin, self._mint) as page,
                page.client.stream("GET", "/events") as stream,
            ):
                for line in stream.iter_lines():
                    ready.set()
                    match = re.search(r'"id":"([0-9a-f-]{36})","state":"pending"', line)
                    if match and match[1] not in known:
                        known.add(match[1])
                        heard.put(match[1])

        threading.Thread(target=listen, daemon=True).start()
        if not ready.wait(PATIENCE):
            raise PartError("the page's events do not begin")
        yield heard
