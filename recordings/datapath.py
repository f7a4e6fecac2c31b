"""What a data-path process consists of: journal, engine, control channel, identity, its own secrets; nothing else's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onrecord import __version__
from onrecord.policies.config import Config, ResourceConfig, SecretRef
from onrecord.policies.errors import ControlError
from onrecord.policies.redaction import RedactingFilter, Redactor
from onrecord.policies.secrets import Secrets
from onrecord.recordings.approvals.holds import Holds
from onrecord.recordings.auditor import Auditor
from onrecord.recordings.control import ControlClient
from onrecord.recordings.frames import Kind
from onrecord.recordings.journal import Journal
from onrecord.recordings.process import harden
from onrecord.recordings.quotas import Quotas
from onrecord.recordings.records import PolicyRecord, ProcessRecord

if TYPE_CHECKING:
    from onrecord.policies.engine import PolicyEngine
    from onrecord.policies.identity import Authenticator

CONTROL_SOCKET = "control.sock"
JOURNALS = "journal"


@dataclass(slots=True)
class DataPath:
    """The assembled parts of one process. `close` puts the last records on disk."""

    config: Config
    process: str
    auditor: Auditor
    authenticator: Authenticator
    engine: PolicyEngine
    control: ControlClient
    secrets: Secrets
    redactor: Redactor
    control_task: asyncio.Task[None]

    async def close(self) -> None:
        """Stop listening to the recorder and close the journal."""
        self.control_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.control_task
        self.auditor.journal.close()


async def open_datapath(config: Config, process: str, types: set[str]) -> DataPath:
    """Assemble the process named `process`, which serves the resources of `types`, and wait for its policies.

    Raises SecretError, StoreError, PolicyError where the policies cannot be used, or ControlError where the recorder
    does not answer in 30 s.
    """
    from onrecord.policies.engine import PolicyEngine  # here: `onrecord log` needs neither, and they are slow to import
    from onrecord.policies.identity import Authenticator

    harden()
    redactor = Redactor()
    secrets = Secrets()
    secrets.on_new = redactor.add
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactingFilter(redactor))
    for resource in config.resources.values():
        if resource.type in types:
            for reference in secret_references(resource):
                secrets.resolve(reference)
    gateway = config.gateway
    engine = PolicyEngine(timeout=gateway.policy_timeout, stale_after=gateway.stale_policy)
    journal = Journal(gateway.state / JOURNALS, process, durability=config.recordings.durability)
    journal.append(
        Kind.PROCESS, ProcessRecord(process=process, pid=os.getpid(), version=__version__, host=os.uname().nodename)
    )
    journal.flush()

    def on_policy(record: PolicyRecord) -> None:
        journal.refuse(Kind.POLICY, record)

    control = ControlClient(gateway.state / CONTROL_SOCKET, process=process, engine=engine, on_policy=on_policy)
    control.holds = holds = Holds(control.send)
    auditor = Auditor(
        journal,
        engine,
        control,
        redact=redactor.clean,
        observing=lambda: gateway.mode == "observe" and time.time() < gateway.observe_until,
        grace=gateway.session_grace,
        quotas=Quotas(config.quotas),
        holds=holds,
    )
    task = asyncio.get_running_loop().create_task(control.run(), name="control")
    try:
        async with asyncio.timeout(30):
            await control.ready()
    except BaseException as error:
        task.cancel()
        journal.close()
        if isinstance(error, TimeoutError):
            raise ControlError(f"{gateway.state / CONTROL_SOCKET}: the recorder does not answer") from None
        raise
    authenticator = Authenticator(config.issuers, gateway.state)
    return DataPath(config, process, auditor, authenticator, engine, control, secrets, redactor, task)


def secret_references(resource: ResourceConfig) -> Iterator[SecretRef]:
    """All secret references of a resource, whatever their field."""
    for value in msgspec.structs.asdict(resource).values():
        if isinstance(value, SecretRef):
            yield value
        elif isinstance(value, dict):
            yield from (item for item in value.values() if isinstance(item, SecretRef))


def state_paths(state: Path) -> tuple[Path, ...]:
    """The folders below `state` that must exist, private to the gateway's user."""
    return state, state / JOURNALS, state / "evidence", state / "ca"
