"""The other servers of a benchmark: nginx as origin and as TLS proxy, stock mitmdump, pgbouncer. Loopback only."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onrecord.scripts.parts.certs import Authority, CertPair
from onrecord.scripts.parts.postgres import PartError

START_TIMEOUT = 30.0
BODY = json.dumps({"status": "ok", "padding": "x" * 266})  # 300 bytes


@contextlib.contextmanager
def serving(argv: list[str], port: int, folder: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that listens on `port`; ended by SIGTERM. PartError with its output where it does not start."""
    log = folder / f"{Path(argv[0]).name}-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder, **more)
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise PartError(f"{argv[0]} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def nginx_origin(folder: Path, pair: CertPair, port: int) -> contextlib.AbstractContextManager[Any]:
    """An HTTPS server that answers everything with 300 bytes of JSON."""
    server = f"location / {{ default_type application/json; return 200 '{BODY}'; }}"
    return _nginx(folder / "origin", pair, port, server)


def nginx_proxy(
    folder: Path, pair: CertPair, port: int, upstream: tuple[str, int], ca: Path
) -> contextlib.AbstractContextManager[Any]:
    """A TLS-terminating reverse proxy with verified TLS and keep-alive to the upstream."""
    name, upstream_port = upstream
    server = (
        f"location / {{ proxy_pass https://origin; proxy_http_version 1.1; proxy_set_header Connection ''; "
        f"proxy_set_header Host {name}; proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; "
        f"proxy_ssl_server_name on; proxy_ssl_name {name}; }}"
    )
    extra = f"upstream origin {{ server 127.0.0.1:{upstream_port}; keepalive 32; }}"
    return _nginx(folder / "proxy", pair, port, server, extra)


def _nginx(
    folder: Path, pair: CertPair, port: int, server: str, extra: str = ""
) -> contextlib.AbstractContextManager[Any]:
    folder.mkdir()
    config = folder / "nginx.conf"
    temp = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(
        f"daemon off; {user} worker_processes 1; pid {folder}/pid; error_log stderr warn;\n"
        "events { worker_connections 512; }\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; {temp} {extra}\n"
        f"keepalive_requests 1000000; server {{ listen 127.0.0.1:{port} ssl;\n"
        f"ssl_certificate {pair.cert}; ssl_certificate_key {pair.key}; {server} }} }}\n"
    )
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    return serving([binary, "-c", str(config), "-p", str(folder), "-e", "stderr"], port, folder)


def mitmdump(folder: Path, port: int, ca: Path, *options: str) -> contextlib.AbstractContextManager[Any]:
    """Stock mitmdump as a forward proxy, without addons of ours, quiet, with its own folder of keys."""
    home = folder / "mitmproxy"
    home.mkdir()
    argv = [str(Path(sys.executable).with_name("mitmdump")), "--quiet"]
    argv += ["--listen-host", "127.0.0.1", "--listen-port", str(port), "--set", f"confdir={home}"]
    argv += ["--set", f"ssl_verify_upstream_trusted_ca={ca}", *options]
    return serving(argv, port, folder)


def pgbouncer(
    folder: Path, port: int, upstream: tuple[str, int, str], user: str, password: str
) -> contextlib.AbstractContextManager[Any]:
    """pgbouncer in session mode; it refuses to run as root, so there it runs as postgres or nobody."""
    host, upstream_port, database = upstream
    home = folder / "pgbouncer"
    home.mkdir(mode=0o755)
    (home / "users.txt").write_text(f'"{user}" "{password}"\n')
    (home / "pgbouncer.ini").write_text(
        f"[databases]\n{database} = host={host} port={upstream_port} dbname={database}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {home}/users.txt\npool_mode = session\n"
        "max_client_conn = 200\ndefault_pool_size = 100\nlog_connections = 0\nlog_disconnections = 0\n"
        "ignore_startup_parameters = extra_float_digits\n"
    )
    more: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = _other_user()
        for path in (home, *home.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)
        more = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    binary = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    return serving([binary, "-q", str(home / "pgbouncer.ini")], port, home, **more)


def own_certificates(folder: Path, name: str) -> tuple[Authority, CertPair]:
    """A CA and a certificate for `name` and 127.0.0.1."""
    authority = Authority(folder / "certs", "onrecord bench")
    return authority, authority.issue(name, "127.0.0.1", file="server")


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PartError("pgbouncer refuses to run as root and there is no user `postgres` or `nobody`")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
