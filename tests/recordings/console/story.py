"""A store whose ids and times are always the same, and what a screen shows as plain text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from textual.app import App
from textual.pilot import Pilot

from onrecord.policies.model import Identity, Outcome
from onrecord.recordings.console.app import ConsoleApp
from onrecord.recordings.console.screens.timeline import TimelineScreen
from onrecord.recordings.frames import Kind
from onrecord.recordings.ingest import Ingest
from onrecord.recordings.journal import Journal
from onrecord.recordings.records import (
    ChunkRecord,
    CommandRecord,
    Record,
    RefusalRecord,
    SessionEndRecord,
    SessionRecord,
    VerdictRecord,
)
from tests.recordings.samples import drain

BEGAN = 1_795_372_514_000_000_000  # 2026-11-22T18:35:14Z
SNAPSHOTS = Path(__file__).parent / "snapshots"
EVIL = (
    "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2066 [bold red]markup[/] [@click=app.quit]x[/] :boom: \r\x7f \u200b"
)
DEVIN = Identity(issuer="https://idp", subject="devin", groups=("agents",), on_behalf_of="alice@example.com")
MALLORY = Identity(issuer="https://idp", subject="mallory" + EVIL, groups=("agents", EVIL))


class Story:
    """Writes records with ids 1, 2, 3, … a second apart."""

    def __init__(self, folder: Path) -> None:
        self.state, self.path = folder / "state", folder / "recordings.db"
        self._number = 0
        self.ingest = Ingest(self.state, self.path)
        self.journal = Journal(self.state / "journal", "gateway-0")

    def _next(self) -> tuple[bytes, int]:
        self._number += 1
        at = BEGAN + self._number * 1_000_000_000
        return ((at // 1_000_000) << 80 | 7 << 76 | 2 << 62 | self._number).to_bytes(16), at

    def _put(self, kind: Kind, record: Record, *, session: bytes = bytes(16), command: bytes = bytes(16)) -> bytes:
        id, at = self._next()
        named = {Kind.SESSION: {"session": id}, Kind.COMMAND: {"command": id}}.get(kind, {})
        ids = {"session": session, "command": command} | named
        self.journal.append(kind, record, id=id, at=at, **ids)
        self.journal.flush()
        return id

    def session(
        self, *, run: str = "fix-invoices", identity: Identity = DEVIN, on: str = "orders", protocol: str = "postgres"
    ) -> bytes:
        record = SessionRecord(
            run=run, identity=identity, resource=on, protocol=protocol, client="10.0.0.7:50412", digest_key="00" * 32
        )
        return self._put(Kind.SESSION, record)

    def command(
        self,
        session: bytes,
        text: str,
        *,
        kind: str = "sql",
        action: str = "read",
        verdict: str = "allow",
        reason: str = "",
        hint: str = "",
        detail: dict[str, object] | None = None,
        chunks: tuple[ChunkRecord, ...] = (),
        outcome: Outcome | None = Outcome(status="ok", code="00000", rows=1, bytes=24, duration_ms=0.4),  # noqa: B008
    ) -> bytes:
        ruling = VerdictRecord(
            type=verdict,  # type: ignore[arg-type]
            policy="guard_orders" if reason else "onrecord:default",
            reason=reason,
            hint=hint,
            policies="sha256:" + "ab" * 32,
        )
        record = CommandRecord(kind=kind, action=action, text=text, detail=detail or {}, verdict=ruling)
        command = self._put(Kind.COMMAND, record, session=session)
        for chunk in chunks:
            self._put(Kind.CHUNK, chunk, session=session, command=command)
        if outcome is not None:
            self.finish(session, command, outcome)
        return command

    def finish(self, session: bytes, command: bytes, outcome: Outcome) -> None:
        self._put(Kind.OUTCOME, outcome, session=session, command=command)

    def end(self, session: bytes) -> None:
        self._put(Kind.SESSION_END, SessionEndRecord(reason="the client left"), session=session)

    def refusal(self, text: str) -> bytes:
        record = RefusalRecord(
            what="onrecord:identity",
            reason="the token was not accepted",
            protocol="http",
            client="10.0.0.9:1",
            text=text,
        )
        return self._put(Kind.REFUSAL, record)

    def store(self) -> None:
        """Take all of it in."""
        drain(self.ingest)

    def close(self) -> None:
        self.journal.close()
        drain(self.ingest)
        self.ingest.close()


REFUSED = Outcome(status="refused", code="42501", error="onrecord: guard_orders: unfiltered DELETE on orders")


def shop_story(folder: Path) -> Story:
    """An agent at work over SQL, HTTP and a shell: one denial, one error, one refusal, one command still running."""
    story = Story(folder)
    orders = story.session()
    sample = {"columns": ["id", "email"], "rows": [["7", "a***@e***.com"], ["8", None]]}
    story.command(
        orders,
        "SELECT id, email FROM customers WHERE id > $1",
        detail={"kind": "SELECT", "tables_read": ["public.customers"], "parameters": ["6"]},
        outcome=Outcome(
            status="ok", code="00000", rows=2, bytes=48, duration_ms=0.7, masked={"public.customers.email": 1},
            sample=sample,
        ),
    )  # fmt: skip
    story.command(
        orders, "DELETE FROM orders", action="write", verdict="deny", reason="unfiltered DELETE on orders",
        hint="add a WHERE that names the rows", outcome=REFUSED,
    )  # fmt: skip
    billing = story.session(on="billing", protocol="http")
    story.command(
        billing, "POST https://billing.internal/v1/invoices?draft=1", kind="http", action="write",
        detail={
            "method": "POST", "scheme": "https", "host": "billing.internal", "port": 443, "path": "/v1/invoices",
            "query": [["draft", "1"]], "content_type": "application/json", "body": '{"it\'s": 1}',
            "headers": [["accept", "application/json"], ["authorization", "Bearer sesame"]],
        },
        outcome=Outcome(status="ok", code="201", bytes=9, duration_ms=12.5, sample={"body": '{"id": 7}'}),
    )  # fmt: skip
    story.command(
        orders, "SELECT 1/0",
        outcome=Outcome(status="error", code="22012", error="division by zero", duration_ms=0.2),
    )  # fmt: skip
    shell = story.session(run="restart-app", on="app1", protocol="ssh")
    story.command(
        shell, "", kind="ssh", action="admin", detail={"interactive": True, "user": "deploy"},
        chunks=(
            ChunkRecord(direction="to_upstream", size=0, data={"columns": 60, "rows": 8}, channel="resize"),
            ChunkRecord(direction="to_client", size=14, data="\x1b[1mdeploy@app1\x1b[0m$ ", channel="terminal"),
            ChunkRecord(direction="to_upstream", size=3, data="ls\r", channel="terminal"),
            ChunkRecord(direction="to_client", size=30, data="ls\r\n\x1b[34mbin\x1b[0m  etc\r\n$ ", channel="terminal"),
        ),
        outcome=Outcome(status="ok", code="0", bytes=44, duration_ms=3000.0),
    )  # fmt: skip
    story.end(shell)
    story.refusal("CONNECT elsewhere.example:443")
    story.command(orders, "SELECT pg_sleep(60)", outcome=None)
    return story


def screen_text(app: App[None]) -> str:
    """What is on the screen, without colours."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


async def settle(pilot: Pilot[None]) -> None:
    """Until all is loaded, counted and drawn."""
    for _ in range(3):
        await pilot.pause(0.06)
        if isinstance(screen := cast("object", pilot.app.screen), TimelineScreen):
            await screen.settled()
    await pilot.pause()


def console(story: Story, *, filter: str = "", settings: Path | None = None, proofs: bool = False) -> ConsoleApp:
    """The application over a story."""
    return ConsoleApp(story.path, state=story.state if proofs else None, filter=filter, settings=settings)


def check_snapshot(name: str, text: str) -> None:
    """`text` is the snapshot's. ONRECORD_SNAPSHOTS=write makes it so: look at the difference before you commit it."""
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("ONRECORD_SNAPSHOTS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
