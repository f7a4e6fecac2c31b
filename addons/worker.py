"""One gateway worker as `up` starts it: `python -m onrecord.addons.worker CONFIG [--index N]`.

The same gateway.py under mitmdump as by hand, with options that are safe from the first moment, and with a port that
several workers may share.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
from pathlib import Path

from mitmproxy.tools.main import mitmdump

from onrecord.addons import assembly  # a gateway that cannot be imported must not become a bare mitmdump
from onrecord.addons.gateway_ca import make_ca
from onrecord.policies.config import load_config
from onrecord.policies.errors import OnrecordError

SCRIPT = Path(__file__).resolve().parent / "gateway.py"


def main(arguments: list[str] | None = None) -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="onrecord.addons.worker", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--index", type=int, default=0)
    options = parser.parse_args(arguments)
    assembly.refuse_key_log()
    try:
        config = load_config(options.config)
    except OnrecordError as error:
        assembly.end(str(error))
    listener = config.gateway.http
    if listener is None:
        assembly.end(f"{options.config}: gateway.http: the HTTP gateway has no listener")
    make_ca(config.gateway.state / "ca")
    if config.gateway.workers > 1:
        # Inside a script it would be too late: mitmproxy holds the original by then.
        asyncio.start_server = functools.partial(asyncio.start_server, reuse_port=True)
    settings = {
        "onrecord_config": str(options.config.resolve()),
        "onrecord_index": str(options.index),
        "confdir": str(config.gateway.state / "ca"),
        "server": "false",
        "rawtcp": "false",
        "connection_strategy": "lazy",
        "onboarding": "false",
        "http3": "false",
        "flow_detail": "0",
        "listen_host": listener.host,
        "listen_port": str(listener.port),
    }
    pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    mitmdump(["-s", str(SCRIPT), *pairs])


if __name__ == "__main__":
    main()
