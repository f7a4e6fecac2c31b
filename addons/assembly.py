"""The gateway as one mitmproxy addon: it takes over dispatch, opens the data path, and only then listens."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

from mitmproxy.addonmanager import Loader
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig

from onrecord.addons import early_answer, gateway_core, options_guard, websocket_layer
from onrecord.addons.connections import Connections
from onrecord.addons.direct import DirectListeners
from onrecord.addons.egress import Destinations
from onrecord.addons.http_audit import HttpRequests
from onrecord.addons.http_response import HttpResponses
from onrecord.addons.kubernetes_api.streams import layer as stream_layer
from onrecord.addons.kubernetes_api.streams.hooks import KubeStreams
from onrecord.addons.listener_tls import ListenerTls
from onrecord.addons.next_layer import NextLayers
from onrecord.addons.peers import Peers
from onrecord.addons.proxy_identity import ProxyIdentity
from onrecord.addons.response_masks import ResponseMasks
from onrecord.addons.strict_dispatch import StrictDispatch
from onrecord.addons.tls_upstream import UpstreamTls
from onrecord.addons.websocket_audit import WebSockets
from onrecord.policies.config import Config, load_config
from onrecord.policies.errors import OnrecordError
from onrecord.recordings.datapath import DataPath, open_datapath
from onrecord.recordings.process import SUPERVISED, notify_ready
from onrecord.recordings.refusals import Refusals

log = logging.getLogger(__name__)


class Gateway:
    """Loaded once by gateway.py. Whatever goes wrong here ends the process: without it mitmproxy would let all pass."""

    name = "onrecord"

    def __init__(self) -> None:
        self._master: Any = None
        self._setting = False
        self._listening: dict[str, Any] = {}
        self._datapath: DataPath | None = None
        self._refusals: Refusals | None = None
        self._peers: Peers | None = None
        self._start: asyncio.Task[None] | None = None
        self._supervisor: subprocess.Popen[bytes] | None = None

    def load(self, loader: Loader) -> None:
        """Take over: dispatch, script watcher, options. Called by mitmproxy, before anything may pass."""
        try:
            self._load(loader)
        except BaseException as error:  # noqa: BLE001  mitmproxy would log it and go on without us
            end(f"cannot start: {error}")

    def _load(self, loader: Loader) -> None:
        loader.add_option("onrecord_config", str, "mitm.toml", "onrecord's configuration file.")
        loader.add_option("onrecord_index", int, 0, "The number of this worker.")
        self._master = loader.master
        refuse_key_log()
        self._stop_watching()
        self._stop_listening()
        # Nothing is served before all is in place; `_open` listens at its end.
        self._dispatch = StrictDispatch([], is_blocked=lambda _: True, block=lambda _id, _why: None)
        gateway_core.replace_manager(self._master.addons, self._dispatch, end)
        options = self._master.options
        options.process_deferred()
        options_guard.force(options)
        options.update(server=False)
        self._check_options()
        options.changed.connect(self._options_changed)
        self._start = asyncio.get_running_loop().create_task(self._open())

    def _stop_watching(self) -> None:
        """mitmproxy polls the -s file and would reload or unload it: no edit of a file reaches a running gateway."""
        loader = self._master.addons.get("scriptloader")
        for script in loader.addons if loader is not None else ():
            if script.reloadtask is not None:
                script.reloadtask.cancel()

    def _stop_listening(self) -> None:
        """By hand mitmproxy has already begun to listen where its own defaults say, on every address; a port that is
        taken there would end the process."""
        for task in asyncio.all_tasks():
            if task.get_name().startswith("setup_servers"):
                task.cancel()
        proxyserver = self._master.addons.get("proxyserver")
        proxyserver.servers._instances.clear()  # noqa: SLF001  none of them has started

    def _options_changed(self, updated: set[str]) -> None:
        if not self._setting:
            self._check_options()
            if updated & options_guard.OWN:
                end(f"an option was changed while the gateway ran: {', '.join(sorted(updated & options_guard.OWN))}")

    def _check_options(self) -> None:
        problems = options_guard.forbidden(self._master.options, self._listening)
        if problems:
            end("mitmproxy options that are refused:\n  " + "\n  ".join(problems))

    async def _open(self) -> None:
        try:
            await self._serve()
        except OnrecordError as error:
            end(f"cannot start: {error}")
        except TimeoutError:
            end("cannot start: the recorder does not answer")
        except BaseException as error:
            log.debug("failed", exc_info=True)
            end(f"cannot start: {type(error).__name__}: {error}")

    async def _serve(self) -> None:
        options, manager = self._master.options, self._master.addons
        config = load_config(Path(options.onrecord_config))
        listener = config.gateway.http
        if listener is None:
            end("mitm.toml: gateway.http: the HTTP gateway has no listener")
        self._supervise(config)
        name, types = f"gateway-{options.onrecord_index}", {"http", "kubernetes"}
        datapath = self._datapath = await open_datapath(config, name, types)
        proxyserver: Proxyserver = manager.get("proxyserver")
        tls: TlsConfig = manager.get("tlsconfig")
        refusals = self._refusals = Refusals(datapath.auditor)
        peers = self._peers = Peers(
            lambda: proxyserver.connections,
            limit=config.gateway.max_connections,
            handshake_timeout=config.gateway.handshake_timeout,
            grace=config.gateway.session_grace,
            refusals=refusals,
        )
        destinations = Destinations(config)
        directs = DirectListeners(config, destinations)
        addons = self._assemble(config, datapath, peers, refusals, proxyserver, tls, destinations, directs)
        dispatch = StrictDispatch(
            addons, is_blocked=lambda connection: _is_blocked(peers, connection), block=peers.refuse
        )
        gateway_core.replace_manager(manager, dispatch, end)
        gateway_core.install(dispatch, lambda connection: _partial(peers, connection), peers)
        early_answer.install()
        websocket_layer.install()
        stream_layer.install()
        self._setting = True
        self._listening = options_guard.listening(directs.modes)
        options.update(
            confdir=str(config.gateway.state / "ca"),
            listen_host=listener.host,
            listen_port=listener.port,
            server=True,
            **self._listening,
        )
        tls.configure({"confdir"})  # type: ignore[no-untyped-call]
        await proxyserver.servers.update([])  # by hand it may have begun to listen where mitmproxy's defaults say
        if not await proxyserver.setup_servers():
            end("cannot listen on " + ", ".join(map(str, (listener, *directs.addresses))))
        self._setting = False
        log.info("listening on %s", ", ".join(map(str, (listener, *directs.addresses))))
        notify_ready()

    def _assemble(
        self,
        config: Config,
        datapath: DataPath,
        peers: Peers,
        refusals: Refusals,
        proxyserver: Proxyserver,
        tls: TlsConfig,
        destinations: Destinations,
        directs: DirectListeners,
    ) -> list[object]:
        auditor, limits = datapath.auditor, config.recordings
        identity = ProxyIdentity(peers, datapath.authenticator, auditor, refusals)
        masks = ResponseMasks(config)
        requests = HttpRequests(
            peers, destinations, identity, auditor, datapath.secrets, masks, body_limit=limits.body_limit
        )
        responses = HttpResponses(
            peers, auditor, requests.credential, masks, body_limit=limits.body_limit, sample_limit=limits.sample_limit
        )
        handlers: Any = proxyserver.connections
        return [
            Connections(peers, destinations, identity, auditor, handlers, directs),
            NextLayers(peers, tls=config.gateway.tls is not None),
            ListenerTls(peers, config.gateway.tls, lambda: tls.certstore),
            UpstreamTls(peers, datapath.secrets),
            _Only(tls, "tls_start_client"),
            requests,
            KubeStreams(auditor, masks, body_limit=limits.body_limit),
            responses,
            WebSockets(auditor, requests.credential, masks, body_limit=limits.body_limit),
            _Only(proxyserver, "running"),
            self,
        ]

    def _supervise(self, config: Config) -> None:
        """By hand (`mitmdump -s`) the recorder must run too: start the supervisor unless one holds the state."""
        if os.environ.get(SUPERVISED) or _is_held(config.gateway.state / "lock"):
            return
        self._supervisor = subprocess.Popen(
            [sys.executable, "-m", "onrecord.scripts.main", "up", "--without-gateway", "-c", str(config.path)],
            env={**os.environ, SUPERVISED: str(os.getpid())},
            stdin=subprocess.DEVNULL,
        )

    async def done(self) -> None:
        """The process is asked to end."""
        if self._start is not None and not self._start.done():
            self._start.cancel()
        if self._peers is not None and self._datapath is not None:
            await self._peers.drain("the gateway was stopped", self._datapath.auditor)
        if self._refusals is not None:
            self._refusals.close()
        if self._datapath is not None:
            await self._datapath.close()
        if self._supervisor is not None:
            self._supervisor.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._supervisor.wait, 20)


class _Only:
    """One hook of a mitmproxy addon, and no other of its hooks."""

    def __init__(self, addon: object, *hooks: str) -> None:
        for hook in hooks:
            setattr(self, hook, getattr(addon, hook))


def _is_blocked(peers: Peers, id: str) -> bool:
    peer = peers.get(id)
    return peer is not None and bool(peer.blocked)


def _partial(peers: Peers, id: str) -> None:
    peer = peers.get(id)
    if peer is not None:
        peers.expect_head(peer)


def _is_held(path: Path) -> bool:
    """Whether a supervisor holds the lock of `state/`."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def refuse_key_log() -> None:
    """SSLKEYLOGFILE would write the keys of every connection to a file."""
    if os.environ.get("SSLKEYLOGFILE") or os.environ.get("MITMPROXY_SSLKEYLOGFILE"):
        end("SSLKEYLOGFILE is set: the gateway does not log TLS keys")


def end(reason: str) -> NoReturn:
    """End the process at once: from here on nothing may pass."""
    sys.stderr.write(f"onrecord: gateway: {reason}\n")
    sys.stderr.flush()
    os._exit(1)
