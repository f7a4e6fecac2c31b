"""What both directions of a session share: which answers are expected, and what they settle. No I/O."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from onrecord.policies.errors import OnrecordError
from onrecord.policies.verdict import Hold
from onrecord.recordings.auditor import Auditor, Decision, OpenSession
from onrecord.shims.postgres.commands import Prepared, Template
from onrecord.shims.postgres.cursors import Cursors
from onrecord.shims.postgres.deny import Denial, Trick
from onrecord.shims.postgres.namespace import Change, Namespace
from onrecord.shims.postgres.results import Running
from onrecord.shims.postgres.templates import Templates

if TYPE_CHECKING:
    from onrecord.shims.postgres.analysing import Aside
    from onrecord.shims.postgres.catalog import CatalogSource
    from onrecord.shims.postgres.masking.session import SessionMasking
    from onrecord.shims.postgres.spool import Spool, Spools
    from onrecord.shims.postgres.state import SessionState


class SessionFatal(OnrecordError):  # noqa: N818  # it ends the session, whoever is at fault
    """The session must end; the client reads `sqlstate` and the text, nothing else goes either way.

    `what` is the policy to record the refusal under, empty where it is no refusal.
    """

    def __init__(self, sqlstate: str, text: str, *, what: str = "", hint: str = "") -> None:
        super().__init__(text)
        self.sqlstate, self.what, self.hint = sqlstate, what, hint


class Expect(enum.IntEnum):
    """The client message that an answer is expected for."""

    QUERY = 0
    PARSE = 1
    BIND = 2
    DESCRIBE_STATEMENT = 3
    DESCRIBE_PORTAL = 4
    EXECUTE = 5
    CLOSE = 6
    SYNC = 7


class Portal:
    """A portal made by Bind in `segment`: what runs in it, and what it was decided as.

    `closing`: a Close was sent; `done`: the server ran it to its end. `decided`: its template, with what an EXECUTE in
    it stood for; `cursor`: the serial of its name (see Cursors).
    """

    __slots__ = (
        "closing",
        "cursor",
        "decided",
        "done",
        "name",
        "prepared",
        "resolved",
        "result_formats",
        "running",
        "segment",
        "size",
        "template",
    )

    def __init__(
        self,
        template: Template,
        running: Running,
        prepared: Prepared,
        resolved: Prepared | None,
        result_formats: tuple[int, ...],
        segment: int,
    ) -> None:
        self.template, self.running = template, running
        self.prepared, self.resolved = prepared, resolved
        self.result_formats, self.segment = result_formats, segment
        self.closing = self.done = False
        self.decided = template
        self.cursor = 0
        self.name = ""
        self.size = 0  # bytes of its Bind


class Entry:
    """One expected answer. QUERY has a run a statement, the others at most one; `changes` run alongside.

    `segment` counts where the answer ends with ReadyForQuery. With `target` it is a Describe of the gateway's own: the
    answer is for that command and not for the client. `closes`: the name that a Close closes, and up to which serial of
    Cursors.
    """

    __slots__ = (
        "changes",
        "closes",
        "denial",
        "failed",
        "index",
        "kind",
        "own",
        "portal",
        "prepared",
        "runs",
        "segment",
        "target",
    )

    def __init__(
        self,
        kind: Expect,
        runs: tuple[Running, ...] = (),
        changes: tuple[Change | None, ...] = (),
        prepared: Prepared | None = None,
        denial: Denial | None = None,
        segment: int = 0,
        portal: Portal | None = None,
        target: Running | None = None,
        closes: tuple[str, int] | None = None,
    ) -> None:
        self.closes = closes
        self.segment, self.portal, self.target = segment, portal, target
        self.kind, self.runs, self.changes = kind, runs, changes
        self.prepared, self.denial = prepared, denial
        self.index = 0
        self.failed = False
        self.own = False  # the gateway's own message in place of a Query: the client hears of the statement alone


class Copying:
    """A COPY from the client that is under way, or will be if the server agrees; `left` of them in the message.

    Up to the server's CopyInResponse (`running` is None) nobody knows how it will read what the client sends. `stray`
    is the type of a message that has no place in the data: it costs the connection, if the COPY had not failed before.
    """

    __slots__ = ("entry", "left", "running", "stray")

    def __init__(self, entry: Entry, left: int) -> None:
        self.entry, self.left = entry, left
        self.stray = 0
        self.running: Running | None = None


class Exchange:
    """State of one session in the middle. `to_upstream` and `to_client` fill up until the I/O layer takes them.

    `skipping`: the server has raised an error in the extended protocol and ignores everything up to a Sync that the
    client has not sent yet; so do we.
    """

    __slots__ = (
        "_aside",
        "auditor",
        "backend_pid",
        "catalog",
        "copying",
        "cursors",
        "ended",
        "last",
        "limited",
        "namespace",
        "opened",
        "portals",
        "queue",
        "sample_limit",
        "skipping",
        "spools",
        "stale",
        "state",
        "templates",
        "to_client",
        "to_upstream",
        "trick",
    )

    def __init__(
        self,
        auditor: Auditor,
        opened: OpenSession,
        *,
        role: str,
        sample_limit: int,
        catalog: CatalogSource | None = None,
    ) -> None:
        self.auditor, self.opened, self.catalog = auditor, opened, catalog
        self.templates = Templates(opened.session, role, catalog)
        self.state: SessionState = self.templates.state
        self.cursors = Cursors()
        self.last: Decision | None = None  # the command that ran last
        self.backend_pid = 0  # of the server's process for this session
        self.namespace = Namespace()
        self.portals: dict[str, Portal] = {}
        self.stale: list[Portal] = []
        self.ended: list[Running] = []  # commands whose outcome is not flushed yet
        self.queue: deque[Entry] = deque()
        self.skipping = False
        self.limited: Entry | None = None  # an Execute whose rows are counted before anything else goes up
        self.copying: Copying | None = None
        self.sample_limit = sample_limit
        self.trick = Trick()
        self._aside: Aside | None = None
        self.spools: Spools | None = None  # where messages too large for memory wait
        self.to_upstream: list[bytes | Spool] = []
        self.to_client: list[bytes] = []

    @property
    def masking(self) -> SessionMasking | None:
        """What the session sees masked."""
        return self.templates.masking

    @masking.setter
    def masking(self, masking: SessionMasking | None) -> None:
        self.templates.masking = masking

    @property
    def aside(self) -> Aside | None:
        """Who reads long texts; None where they are read like all others."""
        return self._aside

    @aside.setter
    def aside(self, aside: Aside | None) -> None:
        self._aside = aside
        self.templates.aside = aside is not None

    def run(self, decision: Decision, template: Template) -> Running:
        """A command that was allowed, from here to its outcome."""
        running = Running(decision, self.sample_limit)
        running.copy, running.lineage = template.copy, template.lineage
        verdict = decision.ruling.verdict
        if isinstance(verdict, Hold) and decision.approval is not None:
            running.max_rows = verdict.max_rows
        if self.masking is not None and template.copy == "out":
            running.copy_out = self.masking.copy_mask(decision, template.command.text, template.lineage, running.masked)
        return running

    @property
    def may_alter(self) -> bool:
        """Whether the session goes on when SQL begins to read in another way: all is unknown then, which may pass."""
        permitted = self.opened.session.resource.unknown == "allow" or bool(self.state.altered)
        return permitted and (self.masking is None or self.masking.idle)

    def settle(self, entry: Entry, error: str, code: str = "") -> None:
        """The rest of `entry` will not happen: its commands end as aborted, its changes are taken back."""
        for running in entry.runs[entry.index :]:
            running.finish(self.auditor, "aborted", error=error, code=code)
        self.take_back(entry.changes[entry.index :])
        self.release(entry)

    def release(self, entry: Entry) -> None:
        """The server reads no data of a COPY for `entry` any more."""
        if self.copying is not None and self.copying.entry is entry:
            self.copying = None

    def take_back(self, changes: Iterable[Change | None]) -> None:
        """Cancel changes of the namespace."""
        for change in changes:
            if change is not None:
                self.namespace.cancel(change)

    def put_portal(self, name: str, portal: Portal) -> None:
        """Bind made a portal; one of the same name is gone when the server has come to it."""
        old = self.portals.get(name)
        if old is not None and not old.running.finished:
            self.stale.append(old)
        portal.name = name
        self.portals[name] = portal

    def is_certain(self, portal: Portal) -> bool:
        """Whether the name of `portal` surely is that portal still: CLOSE and DECLARE may have made it another's."""
        return not portal.name or self.cursors.is_last(portal.name, portal.cursor)

    def drop_portal(self, closed: Portal) -> None:
        """The server has closed a portal."""
        if self.portals.get(closed.name) is closed:
            del self.portals[closed.name]
            self.stale.append(closed)

    def end_portals(self, segment: int, *, all_of_them: bool) -> None:
        """The server has answered up to `segment`: what stale portals (or all, with the transaction) ran has ended."""
        if all_of_them and not self.stale and len(self.portals) == 1:
            (only,) = self.portals.values()
            if only.segment <= segment and only.running.finished:
                self.portals.clear()
                return
        if all_of_them:
            self.stale.extend(portal for portal in self.portals.values() if portal.segment <= segment)
            self.portals = {name: portal for name, portal in self.portals.items() if portal.segment > segment}
        later: list[Portal] = []
        for portal in self.stale:
            running = portal.running
            if portal.segment > segment:
                later.append(portal)
            elif not running.finished:
                if running.rows:
                    running.finish(self.auditor, "ok", tag="closed before its end")
                else:
                    running.finish(self.auditor, "aborted", error="it was bound and never executed")
        self.stale = later

    def open_runs(self) -> list[Running]:
        """All commands without an outcome."""
        runs = [running for entry in self.queue for running in entry.runs if not running.finished]
        portals = [*self.portals.values(), *self.stale]
        runs += [portal.running for portal in portals if not portal.running.finished]
        return list({id(running): running for running in runs}.values())
