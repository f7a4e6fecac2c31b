"""`onrecord demo --attack`: what an attacker sees beside what is on record."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from onrecord.scripts.demonstration.agent import Agent
from onrecord.scripts.demonstration.screen import Screen
from onrecord.scripts.demonstration.stage import API_NAME, Stage
from onrecord.scripts.parts.oidc import OidcIssuer
from onrecord.scripts.parts.postgres import PartError

PATIENCE = 20.0
DELETE = "DELETE FROM payments WHERE order_id = 21;"


def attack(screen: Screen, stage: Stage) -> None:
    """All attacks in turn. Raises PartError where one gets through."""
    screen.chapter("Under attack", "Each attack is real: first what the attacker sees, then what is on record.")
    _forged_token(screen, stage)
    _expired_token(screen, stage)
    _stolen_token(screen, stage)
    _direct_connection(screen, stage)
    _kill_in_mid_delete(screen, stage)
    _edited_byte(screen, stage)


def _forged_token(screen: Screen, stage: Stage) -> None:
    screen.chapter("A forged token", "Right issuer, right audience, right groups; signed with the attacker's own key.")
    other = OidcIssuer()
    token = stage.issuer.token("mallory", key=other.keys[0], groups=["agents", "dba"])
    _try_token(screen, stage, token, "mallory: psql with a forged token")


def _expired_token(screen: Screen, stage: Stage) -> None:
    screen.chapter("An old token, replayed", "A genuine token, found in a log an hour after it expired.")
    now = int(time.time())
    token = stage.issuer.token("devin", groups=["agents"], iat=now - 7200, nbf=now - 7200, exp=now - 3600)
    _try_token(screen, stage, token, "mallory: psql with an expired token")


def _try_token(screen: Screen, stage: Stage, token: str, title: str) -> None:
    before = len(_refusals(stage))
    thief = Agent({**stage.agent.variables, "PGPASSWORD": token}, stage.agent.psql, stage.agent.curl)
    shown = thief.run(thief.psql, "-X", "-d", "orders", "-U", "mallory", "-c", "SELECT * FROM customers")
    screen.terminal(title, shown, bad=True)
    _expect("FATAL" in shown and "@example.com" not in shown, shown)
    _show_refusal(screen, stage, before)


def _stolen_token(screen: Screen, stage: Stage) -> None:
    screen.chapter(
        "A stolen token, still valid", "Used from 127.0.0.2, where this issuer's tokens may not come from (clients)."
    )
    before = len(_refusals(stage))
    url = f"https://{API_NAME}/v1/invoices"
    shown = stage.agent.run(stage.agent.curl, "-sS", "--interface", "127.0.0.2", url)
    screen.terminal("mallory: curl from another address with a stolen token", f"$ curl -sS {url}\n{shown}", bad=True)
    _expect("inv_" not in shown, shown)
    _show_refusal(screen, stage, before)


def _direct_connection(screen: Screen, stage: Stage) -> None:
    screen.chapter("Around the gateway", "The agent finds the real addresses. It has no credential that they take.")
    token = stage.agent.variables["PGPASSWORD"]
    around = {"PGHOST": "127.0.0.1", "PGPORT": str(stage.postgres.port), "PGPASSWORD": token, "PGSSLMODE": "disable"}
    direct = Agent(around, stage.agent.psql, stage.agent.curl)
    text = direct.run(direct.psql, "-X", "-d", "shop", "-U", "svc_agent", "-c", "SELECT 1")
    resolve = f"{API_NAME}:{stage.api.port}:127.0.0.1"
    url = f"https://{API_NAME}:{stage.api.port}/v1/invoices"
    ca = str(stage.api.ca)
    answer = direct.run(
        direct.curl, "-sS", "--cacert", ca, "--resolve", resolve, "-H", f"Authorization: Bearer {token}", url
    )
    screen.terminal("the agent, past the gateway", f"{text}\n$ curl {url}\n{answer}", bad=True)
    _expect("password authentication failed" in text and "inv_" not in answer, text + answer)
    screen.note("what keeps agents on the path (no credential of their own, no route around): docs/threat-model.md")


def _kill_in_mid_delete(screen: Screen, stage: Stage) -> None:
    screen.chapter("kill -9 in mid-DELETE", "The shim dies while a DELETE runs. Is there a DELETE without a record?")
    shim = _child(stage.gateway.process.pid, "onrecord.shims.postgres")
    before = {view["id"] for view in stage.log("--kind", "sql")}
    with _row_locked(stage):
        agent = stage.agent
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(agent.run, agent.psql, "-X", "-d", "orders", "-U", "devin", "-c", DELETE)
            _wait(lambda: _waiting_deletes(stage) == 1, "the DELETE to reach the database")
            os.kill(shim, signal.SIGKILL)
            shown = running.result()
    screen.terminal("devin: psql, while the shim is killed", f"$ psql -d orders -c '{DELETE}'\n{shown}", bad=True)
    _wait(lambda: _child(stage.gateway.process.pid, "onrecord.shims.postgres") != shim, "the shim to come back")
    view = _wait(lambda: _fresh(stage, before), "the record")
    outcome = view["outcome"] or {}
    screen.done(
        f"on record all the same: [bold]{view['text']}[/bold] by {view['identity']['subject']}, "
        f"outcome [yellow]{outcome.get('status', 'open')}[/yellow] ({outcome.get('error') or ''})"
    )
    _expect(view["text"].startswith("DELETE FROM payments"), str(view))
    screen.done("the supervisor has started the shim again")


def _edited_byte(screen: Screen, stage: Stage) -> None:
    screen.chapter("One edited byte", "Someone who can write the database makes the record say another order.")
    edited = _edit_one_byte(stage.gateway.setup.store)
    screen.terminal("mallory: recordings.db, one byte changed", edited, bad=True)
    status = screen.command(stage.config.parent, "verify")
    _expect(status == 1, f"verify ended with status {status}")
    screen.done("verify names the record")


# ---------------------------------------------------------------------- helpers


def _refusals(stage: Stage) -> list[dict[str, Any]]:
    return stage.log("--kind", "refusal")


def _show_refusal(screen: Screen, stage: Stage, before: int) -> None:
    found = _wait(lambda: found if len(found := _refusals(stage)) > before else None, "the refusal's record")
    last = found[-1]
    verdict = last.get("verdict") or {}
    detail = (last.get("detail") or {}).get("detail") or verdict.get("reason", "")
    screen.done(f"on record: refused by [bold]{verdict.get('policy', '')}[/bold]: {detail}")


def _fresh(stage: Stage, before: set[str]) -> dict[str, Any] | None:
    """The new command, when it has an outcome."""
    fresh = [view for view in stage.log("--kind", "sql") if view["id"] not in before]
    return fresh[-1] if fresh and fresh[-1].get("outcome") else None


def _child(parent: int, module: str) -> int:
    """The pid of the child of `parent` that runs `module`; 0 where there is none."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                ppid = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if ppid == parent and module in words:
                    return int(entry.name)
    return 0


@contextlib.contextmanager
def _row_locked(stage: Stage) -> Any:
    """Hold the rows' lock, so that the DELETE is in the database and waits."""
    import pg8000.native

    driver: Any = pg8000.native
    server = stage.postgres
    holder = driver.Connection(
        server.superuser, host=server.host, port=server.port, database="shop", password=server.password
    )
    try:
        holder.run("BEGIN")
        holder.run("SELECT 1 FROM payments WHERE order_id = 21 FOR UPDATE")
        yield
        holder.run("ROLLBACK")
    finally:
        holder.close()


def _waiting_deletes(stage: Stage) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DELETE FROM payments%' AND state = 'active'"
    return int(stage.postgres.sql(query)[0][0])


def _edit_one_byte(store: Path) -> str:
    """Change one digit in the record of the UPDATE; what was done, in words."""
    old, new = b"WHERE id = 17", b"WHERE id = 18"
    connection = sqlite3.connect(store)
    try:
        query = "SELECT seq, leaf FROM records WHERE instr(leaf, ?) AND instr(leaf, ?)"
        seq, leaf = connection.execute(query, (b"UPDATE orders", old)).fetchone()
        connection.execute("UPDATE records SET leaf = ? WHERE seq = ?", (leaf.replace(old, new, 1), seq))
        connection.commit()
    finally:
        connection.close()
    return f"-- record {seq} said  … {old.decode()}\n-- now it says … {new.decode()}"


def _wait[T](check: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + PATIENCE
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise PartError(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.05)
    return answer


def _expect(holds: bool, shown: str) -> None:
    if not holds:
        raise PartError(f"the attack did not end as it must; it showed:\n{shown}")
