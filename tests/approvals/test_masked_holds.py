"""An approved command is masked as any other: by column, and by what its Hold asks for."""

from __future__ import annotations

from pathlib import Path

from tests.approvals.conftest import Desk
from tests.conftest import Shop
from tests.helpers import free_port, make_config, postgres_resource, running_gateway

POLICY = """
from onrecord.policies import Hold


class Holds:
    def sql(self, command):
        if "customers" in command.tables_read:
            return Hold(approvers="dba", reason="people", mask=("payment_card",))
        return None


addons = [Holds()]
"""


def test_rows_of_an_approved_statement_come_masked(shop: Shop, tmp_path: Path) -> None:
    import threading

    policy = tmp_path / "holds.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    setup = make_config(
        tmp_path,
        resources={"orders": postgres_resource(shop.server, user=shop.user)},
        policies=[{"file": str(policy)}],
        masks=[{"columns": ["public.customers.email"], "strategy": "redact"}],
        gateway={"admin": f"127.0.0.1:{free_port()}", "http": None},
        env={"SHOP_PASSWORD": shop.password},
    )
    with running_gateway(setup) as gateway:
        desk = Desk(gateway, "customers", shop)
        with desk.connection() as connection:
            found: list[tuple[str, str]] = []

            def work() -> None:
                text = "SELECT email, '4111 1111 1111 1111' FROM customers ORDER BY id LIMIT 1"
                found.extend(connection.execute(text).fetchall())

            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            (waiting,) = desk.pending()
            desk.onrecord("approve", waiting["id"], token=desk.token())
            thread.join(60)
            ((email, card),) = found
            assert "@" not in email
            assert "4111 1111 1111 1111" not in card
