"""An admin process without sockets: the application before a real desk of the recorder, in one event loop."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec

from onrecord.policies import dev_issuer
from onrecord.policies.approvals import Request
from onrecord.policies.config import load_config
from onrecord.policies.config.approvals import approval_rules
from onrecord.policies.identity import Authenticator
from onrecord.policies.model import Identity
from onrecord.policies.secrets import Secrets
from onrecord.recordings.admin.__main__ import look_of, make_site, refusal_of
from onrecord.recordings.admin.api import api_routes
from onrecord.recordings.admin.app import build_app
from onrecord.recordings.admin.notify.slack import SlackRequests
from onrecord.recordings.admin.site import Site
from onrecord.recordings.approvals.desk import Desk
from onrecord.recordings.approvals.state import ApprovalState
from onrecord.recordings.control.admin import AdminChannel
from onrecord.recordings.control.messages import HoldAnswer, HoldRequest, Watch
from onrecord.recordings.evidence.checkpoint import Signer
from onrecord.recordings.frames import FILE_HEADER_SIZE, decode_frames, id_text, new_id, read_file_header
from onrecord.recordings.store import StoreWriter

ORIGIN = "http://127.0.0.1:8088"
AGENT = Identity(issuer="onrecord:dev", subject="devin", groups=("agents",), on_behalf_of="alice@example.com")

CONFIG = """
[gateway]
admin = "127.0.0.1:8088"
state = "state"
{gateway}
[[issuers]]
issuer = "onrecord:dev"
audience = "onrecord"
{more}
"""


class Channel(AdminChannel):
    """The admin process's end, wired to a desk in the same loop; `silent` is a recorder that does not answer."""

    silent = False

    @property
    def alive(self) -> bool:
        return not self.silent


@dataclass(eq=False)
class Peer:
    """One end of the desk's channel."""

    process: str
    role: str
    got: list[Any] = field(default_factory=list)
    pass_on: Any = None

    def send(self, message: Any) -> None:
        self.got.append(message)
        if self.pass_on is not None:
            self.pass_on(message)


class _Wire:
    def __init__(self, desk: Desk, peer: Peer) -> None:
        self._desk, self._peer = desk, peer

    def send(self, message: Any) -> bool:
        self._desk.received(self._peer, message)
        return True

    def abort(self) -> None:
        pass


class Office:
    """The parts; `client()` is a browser without a screen."""

    def __init__(
        self,
        folder: Path,
        *,
        more: str = "",
        gateway: str = "",
        env: Mapping[str, str] | None = None,
        slack: tuple[str, ...] = (),
    ) -> None:
        path = folder / "mitm.toml"
        path.write_text(CONFIG.format(gateway=gateway, more=more))
        self.config = load_config(path)
        self.state = self.config.gateway.state
        for name in ("", "journal", "evidence"):
            (self.state / name).mkdir(mode=0o700, exist_ok=True)
        self.recorded: list[Any] = []
        self.participants: list[Any] = []
        signer = Signer("onrecord/test", b"k" * 32)
        (self.state / "evidence.vkey").write_text(signer.vkey + "\n")
        self.store = StoreWriter(self.config.recordings.store, signer)
        self.kept = ApprovalState(self.state / "approvals.db")
        self.desk = Desk(
            self.kept,
            lambda kind, record, session: self.recorded.append(record),
            approval_rules(self.config),
            participants=lambda run: self.participants,
            key=b"k" * 32,
        )
        self.channel = Channel(self.state / "control.sock")
        peer = Peer("admin", "admin")
        wire = _Wire(self.desk, peer)
        peer.pass_on = partial(self.channel.received, wire)  # type: ignore[arg-type]
        self.channel._channel = wire  # type: ignore[assignment]
        self.desk.connected(peer)
        self.desk.received(peer, Watch())
        authenticator = Authenticator(self.config.issuers, self.state)
        self.site: Site = make_site(self.config, Secrets(env or {}), self.channel, authenticator)
        look, refusal = look_of(self.site), refusal_of(self.site)
        api = api_routes(self.channel, authenticator, self.config, on_look=look, on_refusal=refusal)
        self.app = build_app(self.site, api=api, slack=SlackRequests(slack))
        self.gateway = Peer("postgres-0", "datapath")
        self.desk.connected(self.gateway)

    def close(self) -> None:
        self.site.looks.close()
        self.store.close()
        self.kept.close()

    def hold(
        self,
        text: str = "DELETE FROM orders",
        *,
        identity: Identity = AGENT,
        approvers: tuple[str, ...] = ("dba",),
        detail: dict[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """A command waits; its approval's id."""
        command = {"kind": "sql", "action": "write", "text": text, "detail": detail or {}, "cause": None}
        request = Request(
            id=id_text(new_id()),
            identity=identity,
            run=more.pop("run", "run-1"),
            session=id_text(new_id()),
            resource="orders",
            protocol="postgres",
            client="127.0.0.1:50000",
            command=msgspec.Raw(msgspec.json.encode(command)),
            policy="guard_orders",
            reason=more.pop("reason", "unfiltered DELETE on orders"),
            policies="sha256:00",
            digest="sha256:" + str(time.monotonic_ns()),
            approvers=approvers,
            **more,
        )
        self.desk.received(self.gateway, HoldRequest(request))
        answer = self.gateway.got[-1]
        assert isinstance(answer, HoldAnswer), answer
        assert answer.state == "pending", answer
        return answer.approval

    def state_of(self, id: str) -> str:
        return str(self.channel.approval(id).approval.state)

    def token(self, subject: str, *groups: str, human: bool = True, **more: Any) -> str:
        return dev_issuer.mint(self.state, subject=subject, groups=groups, audience="onrecord", human=human, **more)

    def client(self, **more: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, client=("127.0.0.1", 40000)), base_url=ORIGIN, **more
        )

    @contextlib.asynccontextmanager
    async def log_in(self, subject: str, *groups: str, next: str = "/approvals") -> AsyncIterator[httpx.AsyncClient]:
        """A browser in which somebody has logged in."""
        async with self.client() as client:
            token = form_token((await client.get("/login")).text)
            fields = {"form_token": token, "token": self.token(subject, *groups), "next": next}
            answer = await client.post("/login/token", data=fields, headers={"Origin": ORIGIN})
            assert (answer.status_code, answer.headers["location"]) == (303, next), answer.text
            yield client

    def journal(self) -> list[dict[str, Any]]:
        """What the admin process put on record so far."""
        return [dict(record) for record in read_journals(self.state / "journal")]


def read_journals(folder: Path) -> list[dict[str, Any]]:
    """The payloads of all frames in the admin's journals."""
    found = []
    for path in sorted(folder.glob("admin-*.journal")):
        data = path.read_bytes()
        frames = decode_frames(data[FILE_HEADER_SIZE:], read_file_header(data))
        found += [{"kind": frame.kind.name, **msgspec.json.decode(frame.payload)} for frame in frames]
    return found


def form_token(html: str) -> str:
    """The token in the page's forms."""
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', html)
    assert found, html
    return found[1]


def field_of(html: str, name: str) -> str:
    """A hidden field's value; "" where it is not on the page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    return found[1] if found else ""
