"""mitmproxy's options, off an allow-list refused: at start, and at any later moment.

Many of them open the gateway (`ssl_insecure`, `ignore_hosts`, `map_remote`, other modes): what is not known to be
harmless must have its default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mitmproxy.optmanager import unset

# What the gateway itself decides.
FORCED: dict[str, Any] = {
    "rawtcp": False,
    "connection_strategy": "lazy",
    "onboarding": False,
    "http3": False,
    "websocket": True,
    "http2": True,
    "flow_detail": 0,
}
# What the gateway sets unless somebody chose otherwise: a watch may be silent for as long as an API server lets it live
# (an hour at most, as it is delivered). Who has no token is cut off much earlier.
PREFERRED: dict[str, Any] = {"tcp_timeout": 2 * 3600}
# What may have any value: it changes no traffic.
FREE = frozenset(
    {
        "onrecord_config",
        "onrecord_index",
        "termlog_verbosity",
        "dumper_default_contentview",
        "content_view_lines_cutoff",
        "readfile_filter",
        "dumper_filter",
        "keepserving",
        "tcp_timeout",
        "command_history",
        "http2_ping_keepalive",
    }
)
# What the gateway sets from mitm.toml.
OWN = frozenset({"confdir", "listen_host", "listen_port", "server", "scripts"})
MODES = ("regular",)


def listening(modes: Sequence[str]) -> dict[str, Any]:
    """The options of a gateway that listens in `modes` beside the proxy's. At a cluster's own listener what the client
    named is checked, so mitmproxy must not rewrite it before."""
    return {"mode": [*MODES, *modes], **({"keep_host_header": True} if modes else {})}


def forbidden(options: Any, chosen: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
    """One line for each option that may not stand as it does. `options` is mitmproxy's OptManager, `chosen` what the
    gateway itself has set of `listening`."""
    problems = []
    for name, option in sorted(options.items()):
        value = option.current()
        if name in chosen:
            if value != chosen[name]:
                problems.append(f"{name}={value!r}: the gateway chooses this itself, from mitm.toml")
        elif name in FORCED:
            if value != FORCED[name]:
                problems.append(f"{name}={value!r}: the gateway needs {FORCED[name]!r}")
        elif name not in FREE and name not in OWN and value != option.default:
            problems.append(f"{name}={value!r}: this option is not on the gateway's allow-list")
    problems += [f"{name}: no addon that may run here knows this option" for name in sorted(options.deferred)]
    return problems


def force(options: Any) -> None:
    """Set what the gateway decides or prefers, where an option still has mitmproxy's default. A contrary choice is
    left; what was not free to choose is refused by name."""
    known = dict(options.items())
    untouched = {
        name: value
        for name, value in (FORCED | PREFERRED).items()
        if name in known and known[name].value is unset and known[name].default != value
    }
    options.update(**untouched)
