"""SSH: OpenSSH direct, through a ProxyJump, and through the gateway, with recording and masks on where it says so.

`exec` is `true` over one shared connection, `echo` a key on a terminal until it shows, the rates one file each way by
exec, sftp and scp. ONRECORD_BENCH_MIB is the file's size (1024). Memory is the shim's RSS behind each transfer.
"""

from __future__ import annotations

import contextlib
import os
import select
import statistics
import subprocess
import tempfile
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from onrecord.scripts.benchmarks.processes import descendants
from onrecord.scripts.benchmarks.report import Result, in_turns
from onrecord.scripts.parts.gateway import make_config, running_gateway, wait_until
from onrecord.scripts.parts.openssh import OpenSshPart, SshClient, ssh_resource
from onrecord.scripts.parts.ports import free_port
from onrecord.scripts.parts.postgres import PartError

MIB = 1024 * 1024
EXECS = 60
KEYS = 300
PATIENCE = 900.0
MASKS = [{"detect": ["payment_card", "email"], "strategy": "redact"}]


@dataclass
class Way:
    """One way to the host: a client, and the name that it calls it."""

    client: SshClient
    name: str

    def check(self, *arguments: str, tool: str = "ssh", stdin: Path | None = None) -> None:
        """Run a tool to its end; its output is thrown away. Raises PartError."""
        with (stdin or Path(os.devnull)).open("rb") as source:
            done = subprocess.run(
                self.client.command(*arguments, tool=tool),
                check=False,
                stdin=source,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=self.client.env,
                timeout=PATIENCE,
            )
        if done.returncode:
            raise PartError(f"{tool} {arguments}: status {done.returncode}: {done.stderr.decode(errors='replace')}")


def measure(rounds: int, seconds: float) -> Result:
    """`seconds` is not used: the file's size says how long it takes."""
    del seconds
    size = int(os.environ.get("ONRECORD_BENCH_MIB", "1024")) * MIB
    result = Result("SSH", ["direct", "ProxyJump", "onrecord", "onrecord, masks", "onrecord / direct"])
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onrecord-bench-")))
        host = stack.enter_context(OpenSshPart())
        jump = stack.enter_context(OpenSshPart())
        ways, shims = _ways(stack, folder, host, jump)
        file = folder / "file"
        with file.open("wb") as out:
            block = os.urandom(MIB)
            for _ in range(size // MIB):
                out.write(block)
        _add(
            result, "exec of true, p50 ms", in_turns({n: _exec(w, folder) for n, w in ways.items()}, rounds), lower=True
        )
        _add(result, "echo of a key, p99 ms", in_turns({n: _echo(w) for n, w in ways.items()}, rounds), lower=True)
        plain = {name: way for name, way in ways.items() if name != "onrecord, masks"}
        transfers: dict[str, Callable[[Way], None]] = {
            "exec, down": lambda way: way.check(way.name, f"cat {file}"),
            "exec, up": lambda way: way.check(way.name, "cat >/dev/null", stdin=file),
            "sftp get": lambda way: way.check("-q", f"{way.name}:{file}", os.devnull, tool="sftp"),
            "scp get": lambda way: way.check("-q", f"{way.name}:{file}", os.devnull, tool="scp"),
            "scp put": lambda way: way.check("-q", str(file), f"{way.name}:{folder}/copy", tool="scp"),
        }
        for what, transfer in transfers.items():
            cases = {name: _rate(transfer, way, size) for name, way in plain.items()}
            _add(result, f"{what}, MiB/s", in_turns(cases, rounds))
            result.rows[f"shim's RSS behind it, MiB ({what})"] = {"onrecord": max(map(_rss, shims)) / MIB}
    result.notes.append(
        f"file of {size // MIB} MiB; bars: rates 0.35 of direct, exec +15 ms, echo p99 +20 ms, RSS 200 MiB"
    )
    return result


def _ways(
    stack: contextlib.ExitStack, folder: Path, host: OpenSshPart, jump: OpenSshPart
) -> tuple[dict[str, Way], list[int]]:
    keys = {"PubkeyAuthentication": "yes", "PreferredAuthentications": "publickey", "IdentitiesOnly": "yes"}
    user = {"User": host.user, "IdentityFile": str(host.key)}
    direct = SshClient(folder / "direct", host.port, host.host_key, "", **keys, **user)
    proxy = SshClient(folder / "proxy", host.port, host.host_key, "", **keys, **user)
    first = SshClient(
        folder / "first", jump.port, jump.host_key, "", **keys, User=jump.user, IdentityFile=str(jump.key)
    )
    command = f"ProxyCommand ssh -F {first.config} -W 127.0.0.1:{host.port} jump"
    with proxy.config.open("a") as out:
        out.write(f"    {command}\n")
    ways = {"direct": Way(direct, "host"), "ProxyJump": Way(proxy, "host")}
    shims: list[int] = []
    for name, masks in (("onrecord", []), ("onrecord, masks", MASKS)):
        from onrecord.shims.ssh.hostkeys import gateway_key

        place = folder / f"gateway{len(shims)}"
        place.mkdir()
        setup = make_config(
            place,
            gateway={"http": None, "postgres": None, "ssh": f"127.0.0.1:{free_port()}"},
            resources={"app1": ssh_resource(host, interactive="record")},
            masks=masks,
        )
        gateway = stack.enter_context(running_gateway(setup))
        key = gateway_key(setup.state).export_public_key().decode().strip()
        client = SshClient(place / "client", setup.ssh_port, key, setup.mint("bench"), User="app1")
        ways[name] = Way(client, "app1")
        shims += [pid for pid in descendants(gateway.process.pid) if "shims.ssh" in _command(pid)]
    return ways, shims


def _exec(way: Way, folder: Path) -> Callable[[], float]:
    """The median of `true` over a shared connection, milliseconds."""

    def measured() -> float:
        path = folder / f"mux{time.monotonic_ns()}"
        with _master(way, path):
            taken = []
            for _ in range(EXECS):
                began = time.perf_counter()
                way.check("-S", str(path), way.name, "true")
                taken.append(time.perf_counter() - began)
        return statistics.median(taken) * 1e3

    return measured


@contextlib.contextmanager
def _master(way: Way, path: Path) -> Iterator[None]:
    process = subprocess.Popen(
        way.client.command("-M", "-S", str(path), "-N", way.name), env=way.client.env, stdin=subprocess.DEVNULL
    )
    try:
        wait_until(path.exists, timeout=60)
        yield
    finally:
        process.terminate()
        process.wait()


def _echo(way: Way) -> Callable[[], float]:
    """The 99th percentile of a key's echo, milliseconds."""

    def measured() -> float:
        master, slave = os.openpty()
        tty.setraw(slave)
        process = subprocess.Popen(
            way.client.command("-tt", way.name, "cat"),
            env={**way.client.env, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        try:
            os.write(master, b"\n")
            _read(master, 60)
            time.sleep(0.5)
            while select.select([master], [], [], 0)[0]:
                os.read(master, 4096)
            taken = []
            for number in range(KEYS):
                began = time.perf_counter()
                os.write(master, b"k" if number % 40 else b"\r")
                _read(master, 30)
                taken.append(time.perf_counter() - began)
                time.sleep(0.01)
                while select.select([master], [], [], 0)[0]:
                    os.read(master, 4096)
        finally:
            process.kill()
            process.wait()
            os.close(master)
        return statistics.quantiles(taken, n=100)[98] * 1e3

    return measured


def _read(master: int, patience: float) -> None:
    if not select.select([master], [], [], patience)[0]:
        raise PartError("no echo")
    os.read(master, 4096)


def _rate(transfer: Callable[[Way], None], way: Way, size: int) -> Callable[[], float]:
    def measured() -> float:
        began = time.perf_counter()
        transfer(way)
        return size / MIB / (time.perf_counter() - began)

    return measured


def _add(result: Result, what: str, figures: dict[str, float], *, lower: bool = False) -> None:
    ratio = figures["onrecord"] / figures["direct"]
    extra = f"+{figures['onrecord'] - figures['direct']:.1f} ms" if lower else f"{ratio:.2f}"
    result.rows[what] = {**figures, "onrecord / direct": extra}


def _rss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
