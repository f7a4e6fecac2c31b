"""`onrecord login` at a real OpenID provider; the kept login approves a held command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.approvals.conftest import POLICY, Desk, Running
from tests.conftest import Shop
from tests.helpers import AUDIENCE, free_port, make_config, postgres_resource, running_gateway
from tests.policies.identity.provider import Provider, install, new_key


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    folder = tmp_path / "provider"
    folder.mkdir()
    (folder / "node_modules").symlink_to(install(tmp_path / "npm") / "node_modules")
    found = Provider(folder)
    yield found
    found.stop()


def test_a_human_logs_in_in_the_browser_and_approves_with_the_kept_login(
    shop: Shop, provider: Provider, tmp_path: Path
) -> None:
    back = free_port()
    people = {"dana": {"groups": ["dba"], "email": "dana@example.com"}}
    provider.start(new_key(), accounts=people, redirect_uris=[f"http://127.0.0.1:{back}/callback"])
    policy = tmp_path / "holds.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    setup = make_config(
        tmp_path,
        resources={"orders": postgres_resource(shop.server, user=shop.user)},
        policies=[{"file": str(policy)}],
        issuers=[
            {"issuer": "onrecord:dev", "audience": AUDIENCE},
            {"issuer": provider.issuer, "audience": AUDIENCE, "kind": "human", "client_id": "onrecord-page",
             "client_secret": "env:PAGE_SECRET", "scopes": ["openid", "groups"]},
        ],
        gateway={"admin": f"127.0.0.1:{free_port()}", "http": None},
        env={"SHOP_PASSWORD": shop.password, "PAGE_SECRET": "only-for-tests"},
    )  # fmt: skip
    shop.server.sql("CREATE TABLE logged_in (id int)", database="shop")
    shop.server.sql("INSERT INTO logged_in VALUES (1)", database="shop")
    shop.server.sql(f"GRANT ALL ON logged_in TO {shop.user}", database="shop")
    environment = {**os.environ, **setup.env, "XDG_STATE_HOME": str(tmp_path / "kept")}
    environment.pop("ONRECORD_TOKEN", None)

    def onrecord(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "onrecord.scripts.main", *arguments, "-c", str(setup.path)],
            capture_output=True, text=True, env=environment, timeout=60,
        )  # fmt: skip

    try:
        with running_gateway(setup) as gateway:
            desk = Desk(gateway, "logged_in", shop)
            early = onrecord("approvals")
            assert early.returncode == 2
            assert "run `onrecord login`" in early.stderr
            logging_in = subprocess.Popen(
                [sys.executable, "-m", "onrecord.scripts.main", "login", "--no-browser", "--port", str(back),
                 "-c", str(setup.path)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
            )  # fmt: skip
            assert logging_in.stdout is not None
            address = re.sub(r"^log in here: ", "", logging_in.stdout.readline().strip())
            with httpx.Client(follow_redirects=True, timeout=30, trust_env=False) as browser:
                form = browser.get(address)
                answer = browser.post(form.url, data={"name": "dana"})
                assert "Back to the terminal" in answer.text, answer.text
            said, _ = logging_in.communicate(timeout=60)
            assert "logged in as dana" in said, said
            kept = next((tmp_path / "kept" / "onrecord").iterdir())
            assert kept.stat().st_mode & 0o777 == 0o600
            with desk.connection() as connection:
                held = Running(connection, "DELETE FROM logged_in")
                (waiting,) = desk.pending()
                done = onrecord("approve", waiting["id"])
                assert done.returncode == 0, done.stderr
                assert held.join().count == 1
    finally:
        shop.server.sql("DROP TABLE logged_in", database="shop")
