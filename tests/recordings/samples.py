"""Journals and stores with real content, for the tests of what reads them."""

from __future__ import annotations

from pathlib import Path

from onrecord.policies.model import Identity, Outcome
from onrecord.recordings.evidence.custody import checkpoints_path, vkey_path
from onrecord.recordings.evidence.verify import Report, verify
from onrecord.recordings.frames import Kind, id_text, new_id
from onrecord.recordings.ingest import Ingest
from onrecord.recordings.journal import Journal
from onrecord.recordings.records import (
    ChunkRecord,
    CommandRecord,
    ProcessRecord,
    RefusalRecord,
    SessionEndRecord,
    SessionRecord,
    VerdictRecord,
)

DEVIN = Identity(issuer="https://idp", subject="devin", groups=("agents",), on_behalf_of="alice@example.com")


class Writer:
    """A data-path process as its journal sees it."""

    def __init__(self, state: Path, name: str = "gateway-0", **options: object) -> None:
        self.journal = Journal(state / "journal", name, **options)  # type: ignore[arg-type]
        self.journal.append(Kind.PROCESS, ProcessRecord(process=name, pid=1, version="0"))
        self.journal.flush()

    def session(self, *, run: str = "run-1", identity: Identity = DEVIN, resource: str = "orders") -> bytes:
        session = new_id()
        record = SessionRecord(
            run=run,
            identity=identity,
            resource=resource,
            protocol="postgres",
            client="127.0.0.1:5",
            digest_key="00" * 32,
        )
        self.journal.append(Kind.SESSION, record, id=session, session=session)
        self.journal.flush()
        return session

    def command(
        self,
        session: bytes,
        text: str,
        *,
        verdict: str = "allow",
        status: str | None = "ok",
        sample: object = None,
        chunks: tuple[object, ...] = (),
        error: str | None = None,
        kind: str = "sql",
    ) -> bytes:
        command = new_id()
        ruling = VerdictRecord(
            type=verdict,  # type: ignore[arg-type]
            policy="guard",
            reason="" if verdict == "allow" else "not for agents",
            policies="sha256:0",
        )
        record = CommandRecord(kind=kind, action="read", text=text, detail={"has_where": True}, verdict=ruling)
        self.journal.append(Kind.COMMAND, record, id=command, session=session, command=command)
        for data in chunks:
            chunk = ChunkRecord(direction="to_client", size=4, data=data)
            self.journal.append(Kind.CHUNK, chunk, session=session, command=command)
        if status:
            outcome = Outcome(status=status, rows=1, sample=sample, error=error)  # type: ignore[arg-type]
            self.journal.append(Kind.OUTCOME, outcome, session=session, command=command)
        self.journal.flush()
        return command

    def end(self, session: bytes) -> None:
        self.journal.append(Kind.SESSION_END, SessionEndRecord(reason="closed"), session=session)
        self.journal.flush()

    def refusal(self, text: str) -> bytes:
        record = RefusalRecord(
            what="onrecord:identity",
            reason="the token was not accepted",
            protocol="http",
            client="127.0.0.1:7",
            text=text,
        )
        return self.journal.refuse(Kind.REFUSAL, record)


def drain(ingest: Ingest, *, publish: bool = True) -> None:
    """Take in all there is; with `publish` the newest checkpoint goes outside at once."""
    while ingest.step():
        pass
    if publish:
        ingest._publish()
        ingest._finish()


class Recorded:
    """A closed store with two processes' records, its evidence beside it."""

    def __init__(self, folder: Path, commands: int = 30) -> None:
        self.state, self.path = folder / "state", folder / "recordings.db"
        self.commands: list[str] = []
        ingest = Ingest(self.state, self.path)
        try:
            writer, other = Writer(self.state), Writer(self.state, "postgres-0")
            session, second = writer.session(), other.session(run="run-2", resource="billing")
            for number in range(commands):
                raw = writer.command(session, f"SELECT {number} FROM orders WHERE word{number} = 1", sample=[["x"]])
                self.commands.append(id_text(raw))
                if number % 10 == 0:
                    other.command(second, f"DROP TABLE t{number}", verdict="deny", status="refused", chunks=("part",))
                    writer.refusal(f"junk {number}")
                if number % 3 == 0:
                    drain(ingest)
            writer.end(session)
            drain(ingest)
            writer.journal.close()
            other.journal.close()
            drain(ingest)
            drain(ingest)
        finally:
            ingest.close()

    @property
    def checkpoints(self) -> Path:
        return checkpoints_path(self.state)

    @property
    def vkey(self) -> str:
        return vkey_path(self.state).read_text()

    def verify(self, **more: object) -> Report:
        return verify(self.path, self.checkpoints, self.vkey, journal_folder=self.state / "journal", **more)  # type: ignore[arg-type]
