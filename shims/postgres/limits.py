"""How much one session may hold open at a time: portals, their parameters, prepared statements and their texts."""

from __future__ import annotations

from onrecord.shims.postgres.commands import PROTOCOL
from onrecord.shims.postgres.exchange import Exchange, SessionFatal
from onrecord.shims.postgres.messages import FLUSH
from onrecord.shims.postgres.wire import MIB

LARGE = 4096  # bytes of a message from which on it counts as held
MAX_HELD = 64 * MIB  # bytes of parameters, and of prepared texts
MAX_PORTALS = 10_000
MAX_PREPARED = 10_000


class Stall(Exception):  # noqa: N818  # a signal, not an error
    """Upstream's answers must come first."""


def check_bind(exchange: Exchange, size: int) -> None:
    """Before a Bind of `size` bytes. Raises Stall where answers may make room, else SessionFatal."""
    if len(exchange.portals) >= MAX_PORTALS:
        _wait_or_end(exchange, f"the session has {MAX_PORTALS} open portals", "close some first")
    if size < LARGE:
        return
    portals = [*exchange.portals.values(), *exchange.stale]
    if size + sum(portal.size for portal in portals if not portal.running.finished) > MAX_HELD:
        _wait_or_end(exchange, "the open portals hold too many bytes", "close some first")


def check_prepared(exchange: Exchange, name: str, size: int) -> None:
    """Before `name` is prepared with a text of `size` bytes. Raises Stall or SessionFatal."""
    namespace = exchange.namespace
    if name and namespace.count() >= MAX_PREPARED and not namespace.knows(name):
        _wait_or_end(exchange, f"the session has {MAX_PREPARED} prepared statements", "deallocate some first")
    if size >= LARGE and size + namespace.held() > MAX_HELD:
        _wait_or_end(exchange, "the prepared statements hold too many bytes", "deallocate some first")


def _wait_or_end(exchange: Exchange, text: str, hint: str) -> None:
    if exchange.queue:
        exchange.to_upstream.append(FLUSH)  # else the server may keep its answers to itself
        raise Stall
    raise SessionFatal("53200", text, what=PROTOCOL, hint=hint)
