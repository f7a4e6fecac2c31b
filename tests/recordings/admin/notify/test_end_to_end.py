"""A statement waits in a running gateway: a webhook hears of it, and of what was decided on the page."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import psycopg

from onrecord.recordings.admin.notify.webhook import check
from onrecord.scripts.parts.admin_page import AdminPage
from tests.conftest import Shop
from tests.helpers import free_port, make_config, postgres_resource, running_gateway, wait_until
from tests.recordings.admin.notify.test_webhook import Receiver

POLICY = """
from onrecord.policies import Hold


class HoldAll:
    def sql(self, command):
        return Hold(approvers="dba", reason="because of " + command.text) if "secret_text" in command.text else None


addons = [HoldAll()]
"""


def test_a_webhook_hears_that_something_waits_and_what_was_decided(shop: Shop, tmp_path: Path) -> None:
    policy = tmp_path / "hold_all.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    receiver = Receiver()
    port = free_port()
    setup = make_config(
        tmp_path,
        resources={"orders": postgres_resource(shop.server, user=shop.user)},
        policies=[{"file": str(policy)}],
        gateway={"admin": f"127.0.0.1:{port}", "http": None},
        tables={
            "notify": [
                {
                    "type": "webhook",
                    "url": f"http://127.0.0.1:{receiver.port}/hook",
                    "secret": "env:HOOK_SECRET",
                    "private": True,
                    "events": ["pending", "decided"],
                }
            ]
        },
        env={"SHOP_PASSWORD": shop.password, "HOOK_SECRET": "the-hook-secret"},
    )
    rows: list[Any] = []

    def ask() -> None:
        dsn = f"host=127.0.0.1 port={setup.postgres_port} dbname=orders user=agent sslmode=disable"
        with psycopg.connect(dsn, password=setup.mint("devin"), autocommit=True) as connection:
            rows.append(connection.execute("SELECT 'secret_text'").fetchone())

    origin = f"http://127.0.0.1:{port}"
    try:
        with running_gateway(setup):
            asking = threading.Thread(target=ask)
            asking.start()
            wait_until(lambda: receiver.got, what="the first notification")
            headers, body = receiver.got[0]
            now = float(headers["onrecord-timestamp"])
            stamp, signature = headers["onrecord-timestamp"], headers["onrecord-signature"]
            assert check("the-hook-secret", stamp, body, signature, now=now)
            told = json.loads(body)
            assert (told["event"], told["subject"], told["resource"]) == ("pending", "devin", "orders")
            assert b"secret_text" not in body
            id = told["approval"]
            assert told["url"] == f"{origin}/approvals/{id}"
            with AdminPage(origin, lambda: setup.mint("dana", groups=("dba",), human=True)) as page:
                assert page.waiting() == [id]
                page.review(id)("fine")
            asking.join(60)
            wait_until(lambda: len(receiver.got) == 2, what="the second notification")
    finally:
        receiver.close()
    assert rows == [("secret_text",)]
    told = json.loads(receiver.got[1][1])
    assert (told["event"], told["state"]) == ("decided", "granted")
