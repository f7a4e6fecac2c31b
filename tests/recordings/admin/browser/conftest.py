"""A real browser (Debian's Chromium), a real OpenID provider, a running gateway before a real PostgreSQL, and psql."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, sync_playwright

from tests.conftest import Shop
from tests.helpers import Gateway, free_port, make_config, postgres_resource, running_gateway, wait_until
from tests.policies.identity.provider import Provider, install, new_key

POLICY = """
from onrecord.policies import Hold


class GuardOrders:
    def sql(self, command):
        if "/*soon over*/" in command.text:
            return Hold(approvers="dba", reason="DELETE on the shop", timeout=15)
        if command.kind == "DELETE" or "/*held*/" in command.text:
            return Hold(approvers="dba", reason="DELETE on the shop", timeout=600)
        return None


addons = [GuardOrders()]
"""

ACCOUNTS: dict[str, dict[str, Any]] = {
    "dana": {"groups": ["dba"]},
    "dora": {"groups": ["dba"]},
    "ada": {"groups": ["security"]},
    "olga": {"groups": ["sre"]},
    "eve": {"groups": ["staff"]},
}
ROLES = {"viewer": ["staff"], "approver": ["dba"], "auditor": ["security"], "operator": ["sre"]}
PATIENCE = 30_000  # milliseconds: a loaded machine is the norm


@dataclass
class Lab:
    """All of it. `pictures` is where screenshots go."""

    gateway: Gateway
    provider: Provider
    shop: Shop
    browser: Browser
    pictures: Path
    odd: list[str] = field(default_factory=list)
    """What no page may do: dialogs, and errors in the console."""
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.gateway.setup.admin_port}"

    def visit(self, **options: Any) -> Page:
        """A page in a browser of its own: no cookie is shared."""
        context = self.browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        self._contexts.append(context)
        page = context.new_page()
        page.on("dialog", self._on_dialog)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.odd.append(f"page error: {error}"))
        return page

    def log_in(self, name: str, *, path: str = "/approvals", **options: Any) -> Page:
        """Log `name` in at the provider; the page at `path` afterwards."""
        page = self.visit(**options)
        page.goto(self.origin + path)
        page.get_by_role("link", name="Log in with").click()
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(self.origin + path)
        return page

    def psql(self, text: str, *, subject: str = "devin") -> subprocess.Popen[str]:
        """psql with one statement, as an agent runs it."""
        psql = shutil.which("psql")
        assert psql, "psql is missing: apt-get install postgresql-client"
        setup = self.gateway.setup
        process = subprocess.Popen(
            [psql, "-X", "-c", text],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "PGHOST": "127.0.0.1",
                "PGPORT": str(setup.postgres_port),
                "PGDATABASE": "orders",
                "PGUSER": "agent",
                "PGPASSWORD": setup.mint(subject, on_behalf_of="alice@example.com"),
                "PGSSLMODE": "disable",
            },
        )
        self._processes.append(process)
        return process

    def picture(self, page: Page, name: str) -> None:
        """A screenshot for the documentation."""
        page.screenshot(path=str(self.pictures / f"{name}.png"), animations="disabled")

    def close_pages(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            if process.stdout is not None and not process.stdout.closed:
                process.communicate()
        self._processes.clear()

    def _on_dialog(self, dialog: Dialog) -> None:
        self.odd.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            self.odd.append(message.text)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. Of the module only: while it runs, no asyncio test can."""
    found = shutil.which("chromium")
    assert found, "Chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=found, args=[*sandbox, "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def running(chromium: Browser, shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("browser")
    port = free_port()
    provider = Provider(folder)
    (folder / "node_modules").symlink_to(install(tmp_path_factory.mktemp("npm")) / "node_modules")
    redirect = f"http://127.0.0.1:{port}/login/callback"
    provider.start(new_key(), accounts=ACCOUNTS, redirect_uris=[redirect])
    policy = folder / "guard_orders.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    pictures = Path(os.environ.get("ONRECORD_PICTURES") or tmp_path_factory.mktemp("pictures"))
    issuer = {
        "issuer": provider.issuer,
        "audience": "onrecord",
        "kind": "human",
        "client_id": "onrecord-page",
        "client_secret": "env:PAGE_SECRET",
        "scopes": ["openid", "groups"],
    }
    setup = make_config(
        folder,
        resources={"orders": postgres_resource(shop.server, user=shop.user)},
        policies=[{"file": str(policy)}],
        issuers=[{"issuer": "onrecord:dev", "audience": "onrecord"}, issuer],
        gateway={"admin": f"127.0.0.1:{port}", "http": None},
        tables={"admin": {"roles": ROLES}},
        env={"SHOP_PASSWORD": shop.password, "PAGE_SECRET": "only-for-tests"},
    )
    try:
        with running_gateway(setup) as gateway:
            yield Lab(gateway, provider, shop, chromium, pictures)
    finally:
        provider.stop()


@pytest.fixture
def lab(running: Lab) -> Iterator[Lab]:
    """The lab; afterwards nothing odd may have happened on any page."""
    running.odd.clear()
    yield running
    running.close_pages()
    assert running.odd == []


@pytest.fixture
def table(lab: Lab) -> Iterator[str]:
    """A table of ten rows of its own."""
    name = f"page_{os.urandom(4).hex()}"
    for statement in (
        f"CREATE TABLE {name} (id int PRIMARY KEY)",
        f"INSERT INTO {name} SELECT generate_series(1, 10)",
        f"GRANT ALL ON {name} TO {lab.shop.user}",
    ):
        lab.shop.server.sql(statement, database="shop")
    yield name
    lab.shop.server.sql(f"DROP TABLE {name}", database="shop")


def rows(lab: Lab, table: str) -> int:
    return int(lab.shop.server.sql(f"SELECT count(*) FROM {table}", database="shop")[0][0])


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Status, output and errors of psql."""
    out, err = process.communicate(timeout=40)
    return process.returncode, out.strip(), err


@contextlib.contextmanager
def other_site(html: str) -> Iterator[int]:
    """Another site's page, on every path; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = html.encode()
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


__all__ = ["PATIENCE", "Lab", "ended", "other_site", "rows", "wait_until"]
