"""`onrecord up`: the launcher and supervisor.

Starts the recorder first and stops it last; starts the gateway's workers and the shims; restarts what dies; drains on
SIGTERM. Exactly one supervisor may run on a state folder (flock on `state/lock`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from onrecord.policies.config import Config, load_config
from onrecord.policies.config.listeners import direct_listeners
from onrecord.policies.config.ownership import admin_refs, check_files, weak_places
from onrecord.policies.errors import ConfigError, OnrecordError, Problem
from onrecord.recordings.datapath import secret_references, state_paths
from onrecord.recordings.process import READY_FD, SUPERVISED, harden

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "TERM")
ADMIN = "onrecord.recordings.admin"
START_TIMEOUT = 60.0
DRAIN_TIMEOUT = 10.0
FIRST_BACKOFF, LAST_BACKOFF = 0.2, 5.0


HTTP_TYPES = frozenset({"http", "kubernetes"})


@dataclass(frozen=True, slots=True)
class Service:
    """One child: its name, what `python -m` runs, and the resource types whose secrets it may read."""

    name: str
    module: str
    types: frozenset[str]
    arguments: tuple[str, ...] = ()


@dataclass(slots=True)
class Child:
    """A service and the process that runs it now."""

    service: Service
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    restarts: int = 0


def services(config: Config, *, gateway: bool = True) -> list[Service]:
    """The children in the order in which they start; the recorder is first."""
    found = [Service("recorder", "onrecord.recordings.recorder", frozenset())]
    if config.gateway.http is not None and gateway:
        found += [
            Service(f"gateway-{index}", "onrecord.addons.worker", HTTP_TYPES, ("--index", str(index)))
            for index in range(config.gateway.workers)
        ]
    if config.gateway.postgres is not None:
        found += [
            Service(f"postgres-{index}", "onrecord.shims.postgres", frozenset({"postgres"}), ("--index", str(index)))
            for index in range(config.gateway.postgres_workers)
        ]
    if config.gateway.ssh is not None:
        found.append(Service("ssh-0", "onrecord.shims.ssh", frozenset({"ssh"})))
    if config.gateway.admin is not None:
        found.append(Service("admin", ADMIN, frozenset()))
    return found


def child_environment(config: Config, service: Service, environ: Mapping[str, str]) -> dict[str, str]:
    """What a child may see: a few harmless variables and the `env:` secrets of its own resources."""
    passed = {name: environ[name] for name in PASSED_ON if name in environ}
    for resource in config.resources.values():
        if resource.type in service.types:
            for reference in secret_references(resource):
                if reference.scheme == "env" and reference.target in environ:
                    passed[reference.target] = environ[reference.target]
    if service.module == ADMIN:
        for _, reference in admin_refs(config):
            if reference.scheme == "env" and reference.target in environ:
                passed[reference.target] = environ[reference.target]
    passed[SUPERVISED] = str(os.getpid())
    return passed


class Supervisor:
    """Keeps the services of one configuration alive until it is told to stop."""

    def __init__(self, config: Config, wanted: list[Service]) -> None:
        self._config = config
        self._children = [Child(service) for service in wanted]
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def stop(self) -> None:
        """Begin to drain."""
        self._stopping.set()

    async def run(self, *, on_ready: str = "") -> int:
        """Start all, keep them, drain on `stop`. Returns the exit status."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.stop)
        status = 0
        try:
            for child in self._children:
                self._tasks.append(loop.create_task(self._keep(child), name=child.service.name))
                if not await self._started(child):
                    status = 1
                    break
            else:
                _say(on_ready or "ready")
                await self._stopping.wait()
        finally:
            self._stopping.set()
            await self._drain()
        return status

    async def _started(self, child: Child) -> bool:
        """Wait until `child` serves. False where it does not, or where we are to stop."""
        waits = [asyncio.create_task(child.ready.wait()), asyncio.create_task(self._stopping.wait())]
        done, pending = await asyncio.wait(waits, timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if not done:
            _say(f"{child.service.name} did not start within {START_TIMEOUT:.0f} s")
        return child.ready.is_set() and not self._stopping.is_set()

    async def _keep(self, child: Child) -> None:
        """Run the service again and again, with growing pauses while it keeps dying young."""
        backoff = FIRST_BACKOFF
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                process = await self._spawn(child)
                end = f"ended with status {await process.wait()}"
            except OSError as error:  # no memory, no descriptors, no processes: that passes
                end = f"cannot be started: {error.strerror}"
            if self._stopping.is_set():
                return
            if not child.ready.is_set() and child.restarts >= 3:
                _say(f"{child.service.name} does not start ({end}); giving up")
                self._stopping.set()
                return
            child.restarts += 1
            backoff = FIRST_BACKOFF if time.monotonic() - began > 10 else min(backoff * 2, LAST_BACKOFF)
            _say(f"{child.service.name} {end}; starting it again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff)

    async def _spawn(self, child: Child) -> asyncio.subprocess.Process:
        service = child.service
        reader, writer = os.pipe()
        environment = child_environment(self._config, service, os.environ)
        environment[READY_FD] = str(writer)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                service.module,
                str(self._config.path),
                *service.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                env=environment,
                pass_fds=(writer,),
                start_new_session=True,  # a Ctrl-C goes to the supervisor, which drains
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        child.process = process
        loop = asyncio.get_running_loop()

        def on_readable() -> None:
            loop.remove_reader(reader)
            if os.read(reader, 1):
                child.ready.set()
            os.close(reader)

        loop.add_reader(reader, on_readable)
        return process

    async def _drain(self) -> None:
        """End the data path first, so that the recorder sees its last records; then the recorder."""
        await self._end(self._children[1:])
        await self._end(self._children[:1])
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self, children: list[Child]) -> None:
        alive = [child.process for child in children if child.process and child.process.returncode is None]
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        waits = [asyncio.create_task(process.wait()) for process in alive]
        if waits:
            await asyncio.wait(waits, timeout=DRAIN_TIMEOUT)
        for process in alive:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if waits:
            await asyncio.wait(waits, timeout=DRAIN_TIMEOUT)


def hold_lock(state: Path) -> int:
    """Take the supervisor's lock; the descriptor holds it. Raises OnrecordError where another one runs."""
    try:
        fd = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise OnrecordError(f"{state / 'lock'}: cannot be opened: {error.strerror} (remove it)") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise OnrecordError(f"{state / 'lock'}: another onrecord runs on this state folder (stop it first)") from None
    return fd


def prepare_state(state: Path, *, trusted: bool = True) -> None:
    """Create what is missing of the state folder, private to this user. Raises OnrecordError.

    Unless it is `trusted`, one that others can write is refused: what they left there would become ours.
    """
    os.umask(0o077)
    place = state
    try:
        if _is_foreign(state):
            fix = "give gateway.state a folder of its own"
            raise OnrecordError(f"{state}: others use this folder, and it is no state folder of onrecord ({fix})")
        for place in state_paths(state):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not trusted:
            refuse_weak("gateway.state", *state_paths(state))
        for place in state_paths(state):
            place.chmod(0o700)
    except OSError as error:
        raise OnrecordError(f"{place}: cannot be a folder of the gateway's state: {error.strerror}") from None


def _is_foreign(state: Path) -> bool:
    """Whether `state` is a folder with a purpose of its own (/, /etc), which must not become private to the gateway."""
    if not state.is_dir() or not state.stat().st_mode & 0o077:
        return False
    names = {entry.name for entry in state.iterdir()}
    return bool(names) and names.isdisjoint({"lock", "dev-issuer", *(path.name for path in state_paths(state)[1:])})


def refuse_weak(what: str, *paths: Path) -> None:
    """Raise ConfigError where others can write one of `paths`."""
    weak = {str(place): (reason, fix) for path in paths for place, reason, fix in weak_places(path)}
    if weak:
        raise ConfigError([Problem(what, f"{place!r} {reason}", fix) for place, (reason, fix) in weak.items()])


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # whoever read it is gone: that ends nobody's supervision
        sys.stderr.write(f"onrecord: {text}\n")
        sys.stderr.flush()


def _listening(config: Config) -> str:
    gateway = config.gateway
    served = [(name, getattr(gateway, name)) for name in ("http", "postgres", "ssh", "admin")]
    served += [(resource.name, address) for resource, address in direct_listeners(config)]
    return "ready: " + ", ".join(f"{name} on {address}" for name, address in served if address is not None)


def up(
    config_path: Annotated[Path, typer.Option("--config", "-c", help="The configuration.")] = Path("mitm.toml"),
    without_gateway: Annotated[bool, typer.Option(hidden=True, help="mitmdump runs already.")] = False,
    trust_files: Annotated[
        bool, typer.Option(help="Skip the check that nobody else can write configuration, policies and state.")
    ] = False,
) -> None:
    """Run the gateway: recorder, HTTP gateway, PostgreSQL and SSH shims, approval page. Ctrl-C or SIGTERM drains it.

    Example: onrecord up -c mitm.toml
    """
    if not without_gateway:
        os.environ.pop(SUPERVISED, None)  # left over from elsewhere: nobody supervises us
    harden()  # it holds the secrets of all children
    config = load_config(config_path)
    if not trust_files:
        refuse_weak(f"{config.path.name}: (the file itself)", config.path)  # before any folder that it names is touched
    prepare_state(config.gateway.state, trusted=trust_files)
    if not trust_files and (problems := check_files(config)):
        raise ConfigError(problems)
    lock = hold_lock(config.gateway.state)
    try:
        supervisor = Supervisor(config, services(config, gateway=not without_gateway))
        status = asyncio.run(supervisor.run(on_ready=_listening(config)))
    finally:
        os.close(lock)
    raise typer.Exit(status)


def register(app: typer.Typer) -> None:
    """Add `up`."""
    app.command()(up)
