"""HTTPS through nothing, nginx, stock mitmdump and onrecord: requests per second and latency.

300 bytes of JSON, TLS on both sides, 16 keep-alive connections from one load process; then one connection. nginx is a
reverse proxy; mitmdump and onrecord are asked by CONNECT. onrecord checks identity, asks one policy and records whole
requests and answers before it forwards.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from onrecord.scripts.benchmarks.load import Load
from onrecord.scripts.benchmarks.processes import Meter, descendants
from onrecord.scripts.benchmarks.report import Result, in_turns
from onrecord.scripts.benchmarks.servers import mitmdump, nginx_origin, nginx_proxy, own_certificates
from onrecord.scripts.parts.gateway import make_config, running_gateway
from onrecord.scripts.parts.ports import free_ports
from onrecord.scripts.parts.postgres import PartError

NAME = "billing.internal"
CONNECTIONS = 16
POLICY = '''
from onrecord.policies import Deny, HttpCommand, Verdict


class NoDeletes:
    """One ordinary policy: no DELETE."""

    def http(self, command: HttpCommand) -> Verdict | None:
        return Deny("no deletes") if command.method == "DELETE" else None


addons = [NoDeletes()]
'''


def measure(rounds: int, seconds: float) -> Result:
    """Start all servers, then measure them in turns."""
    with tempfile.TemporaryDirectory(prefix="onrecord-bench-") as temp, contextlib.ExitStack() as stack:
        folder = Path(temp)
        authority, pair = own_certificates(folder, NAME)
        origin_port, nginx_port, stock_port = free_ports(3)
        stack.enter_context(nginx_origin(folder, pair, origin_port))
        nginx = stack.enter_context(nginx_proxy(folder, pair, nginx_port, (NAME, origin_port), authority.cert))
        stock = stack.enter_context(mitmdump(folder, stock_port, authority.cert))
        policy = folder / "policy.py"
        policy.write_text(POLICY)
        setup = make_config(
            folder,
            gateway={"postgres": None},
            resources={
                "billing": {
                    "type": "http",
                    "hosts": [NAME],
                    "upstream": f"https://127.0.0.1:{origin_port}",
                    "ca": f"file:{authority.cert}",
                    "groups": ["agents"],
                    "default": "allow",
                }
            },
            policies=[{"file": str(policy)}],
        )
        gateway = stack.enter_context(running_gateway(setup))
        direct = Load(NAME, "127.0.0.1", origin_port, str(authority.cert), CONNECTIONS, seconds)
        stock_ca = folder / "mitmproxy" / "mitmproxy-ca-cert.pem"
        # the proxies are asked for port 443 of a name that only they can resolve, so that the host matches a resource
        loads = {
            "direct": direct,
            "nginx (TLS proxy)": replace(direct, port=nginx_port),
            "mitmdump (stock)": replace(direct, ca=str(stock_ca), proxy=f"127.0.0.1:{stock_port}"),
            "onrecord": replace(
                direct,
                port=443,
                ca=str(gateway.proxy_ca),
                proxy=f"127.0.0.1:{setup.http_port}",
                token=setup.mint("bench"),
            ),
        }
        # stock mitmdump resolves the name itself: give it the address, and verify that name's certificate instead
        loads["mitmdump (stock)"] = replace(loads["mitmdump (stock)"], host="127.0.0.1")
        meters = {
            "direct": Meter(),
            "nginx (TLS proxy)": Meter(*descendants(nginx.pid)),
            "mitmdump (stock)": Meter(stock.pid),
            "onrecord": Meter(*descendants(gateway.process.pid)),
        }
        busy = {
            name: meters[name].wrap(partial(run, load, "rps"), seconds + load.warmup) for name, load in loads.items()
        }
        many = in_turns(busy, rounds, say="16 connections,")
        single = {name: replace(load, connections=1, seconds=min(seconds, 2.0)) for name, load in loads.items()}
        one = in_turns(
            {name: partial(run, load, "p50_ms") for name, load in single.items()}, rounds, say="1 connection,"
        )
    result = Result(
        "HTTPS, 300 B JSON, TLS on both sides",
        ["requests/s, 16 conn.", "x stock", "CPU µs/request", "p50 ms, 1 conn.", "/ stock"],
    )
    for name in loads:
        result.rows[name] = {
            "requests/s, 16 conn.": many[name],
            "x stock": many[name] / many["mitmdump (stock)"],
            "CPU µs/request": meters[name].median,
            "p50 ms, 1 conn.": one[name],
            "/ stock": one[name] / one["mitmdump (stock)"],
        }
    result.notes = [
        "bars: onrecord at least 1.6 x stock (aim 2), p50 at most 0.5 of stock's; one worker",
        "onrecord: identity, one policy, whole requests and answers in the journal before they pass",
        "CPU: all processes of the proxy together, onrecord's recorder included",
        "direct and nginx are limited by the load process",
    ]
    return result


def run(load: Load, figure: str) -> float:
    """One measurement in a process of its own; the named figure of it."""
    done = subprocess.run(
        [sys.executable, "-m", "onrecord.scripts.benchmarks.load"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=False,
        timeout=load.seconds + load.warmup + 60,
    )
    if done.returncode:
        raise PartError(f"the load process failed: {done.stderr.strip().splitlines()[-1:]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures[figure]
