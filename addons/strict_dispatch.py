"""Hook dispatch that fails closed, and fast.

mitmproxy logs an addon's exception and lets the traffic pass, and walks some 35 addons a hook. Here each hook has a
fixed list of handlers; an exception in one blocks what the hook was about: a request gets a problem response or its
connection is closed, a WebSocket message is dropped, a connection is not made. A blocked connection stays blocked:
later hooks of it reach no handler, so nothing that would be needed to go on (a TLS context, a layer) is supplied.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mitmproxy import flow as mitmproxy_flow
from mitmproxy import hooks, http
from mitmproxy.connection import Client
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from onrecord.addons.early_answer import answer
from onrecord.addons.problem import problem

log = logging.getLogger(__name__)

Handler = Callable[..., Awaitable[None] | None]
POLICY = "onrecord:gateway"
REASON = "the gateway failed while it handled this; nothing was let through"

_AFTERMATH = frozenset(
    {"client_disconnected", "server_disconnected", "server_connect_error", "http_connect_error", "tls_failed_client"}
    | {"tls_failed_server", "websocket_end", "error", "tcp_end", "tcp_error", "udp_end", "udp_error", "dns_error"}
)


class StrictDispatch:
    """Calls the handlers of `addons`, in that order, for every hook; nothing else is ever called.

    `is_blocked` and `block` are asked and told by connection id.
    """

    def __init__(
        self, addons: Sequence[object], *, is_blocked: Callable[[str], bool], block: Callable[[str, str], None]
    ) -> None:
        self._addons = tuple(addons)
        self._table: dict[str, tuple[Handler, ...]] = {}
        self._is_blocked, self._block = is_blocked, block

    def handlers(self, name: str) -> tuple[Handler, ...]:
        """The handlers of a hook; looked up once."""
        found = self._table.get(name)
        if found is None:
            candidates = (getattr(addon, name, None) for addon in self._addons)
            found = self._table[name] = tuple(handler for handler in candidates if callable(handler))
        return found

    async def dispatch(self, event: hooks.Hook) -> None:
        """Call the handlers of one hook; never raises but for the end of the process."""
        pending = self.start(event)
        if pending is not None:
            await pending

    def start(self, event: hooks.Hook) -> Awaitable[None] | None:
        """Call the handlers; an awaitable where one of them must wait, None where all is done."""
        name = event.name
        handlers = self._table.get(name)
        if handlers is None:
            handlers = self.handlers(name)
        arguments = _arguments(event)
        data = arguments[0] if arguments else None
        id = client_id(data)
        if id and name not in _AFTERMATH and self._is_blocked(id):
            self._refuse(name, data, id)
            return None
        for index, handler in enumerate(handlers):
            try:
                result = handler(*arguments)
                if result is not None:
                    if inspect.isawaitable(result):
                        return self._continue(name, data, id, result, arguments, handlers[index + 1 :])
                    raise TypeError(f"{name} returned {type(result).__name__}")
            except BaseException as error:
                self._fail(name, data, id, error)
                if not isinstance(error, Exception):
                    raise
                return None
        return None

    async def _continue(
        self,
        name: str,
        data: Any,
        id: str,
        first: Awaitable[None],
        arguments: tuple[Any, ...],
        rest: tuple[Handler, ...],
    ) -> None:
        try:
            await first
            for handler in rest:
                result = handler(*arguments)
                if result is not None:
                    await result
        except BaseException as error:
            self._fail(name, data, id, error)
            if not isinstance(error, Exception):
                raise

    def _fail(self, name: str, data: Any, id: str, error: BaseException) -> None:
        # The text of an exception may hold what a client sent: type and place are enough to mend it.
        log.error("%s failed with %s at %s; blocked", name, type(error).__name__, place_of(error))
        self._refuse(name, data, id)

    def _refuse(self, name: str, data: Any, id: str) -> None:
        """Block what the hook is about, and with it the connection unless a response says so."""
        if isinstance(data, http.HTTPFlow) and name in ("requestheaders", "request", "responseheaders", "response"):
            status = 502 if name.startswith("response") else 503
            answer(data, problem(status, policy=POLICY, reason=REASON, head=data.request.method == "HEAD"))
            if id and self._is_blocked(id):
                kill_flow(data)
            return
        if isinstance(data, http.HTTPFlow) and name == "http_connect":
            data.response = problem(503, policy=POLICY, reason=REASON)
            return
        if isinstance(data, http.HTTPFlow) and data.websocket is not None and data.websocket.messages:
            data.websocket.messages[-1].content = b""
            data.websocket.messages[-1].drop()  # type: ignore[no-untyped-call]
        if isinstance(data, mitmproxy_flow.Flow):
            _blank(data)
            kill_flow(data)
        elif isinstance(data, Client):
            data.error = REASON
        elif isinstance(data, ServerConnectionHookData):
            data.server.error = REASON
        elif isinstance(data, TlsData):
            data.ssl_conn = None
        elif isinstance(data, NextLayer):
            data.layer = None
        elif hasattr(data, "settings"):  # QUIC's TlsData
            data.settings = None
        if id:
            self._block(id, REASON)


_argument_names: dict[type, tuple[str, ...]] = {}


def _arguments(event: hooks.Hook) -> tuple[Any, ...]:
    """`event.args()`, with the field names looked up once a class."""
    names = _argument_names.get(type(event))
    if names is None:
        names = _argument_names[type(event)] = tuple(field.name for field in dataclasses.fields(event))  # type: ignore[arg-type]
        names = _argument_names[type(event)] = tuple(name for name in names if name != "blocking")
    return tuple([getattr(event, name) for name in names])


def client_id(data: Any) -> str:
    """The id of the client connection that a hook's argument belongs to; empty where there is none."""
    if isinstance(data, mitmproxy_flow.Flow):
        return data.client_conn.id
    if isinstance(data, Client):
        return data.id
    if isinstance(data, ServerConnectionHookData):
        return data.client.id
    context = getattr(data, "context", None)
    client = getattr(context, "client", None)
    return client.id if isinstance(client, Client) else ""


def kill_flow(flow: mitmproxy_flow.Flow) -> None:
    """Mark a flow as killed, whatever state it is in."""
    flow.error = mitmproxy_flow.Error(mitmproxy_flow.Error.KILLED_MESSAGE)


def _blank(flow: mitmproxy_flow.Flow) -> None:
    messages = getattr(flow, "messages", None)
    if isinstance(messages, list) and messages:
        messages[-1].content = b""


def place_of(error: BaseException) -> str:
    """File and line where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
