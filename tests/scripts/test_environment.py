from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from cryptography.utils import CryptographyDeprecationWarning
from mitmproxy.certs import CertStore

from onrecord.policies.config import Address, Config, GatewayConfig, RecordingsConfig, TlsConfig
from onrecord.policies.errors import ConfigError
from onrecord.scripts import environment
from onrecord.scripts.environment import BUNDLE_VARIABLES, GATEWAY_CA, agent_environment, merged

TOKEN = "eyJh.eyJp.c2ln-_"


def config(state: Path, **gateway: object) -> Config:
    listeners = {"http": Address("127.0.0.1", 8080), "postgres": Address("127.0.0.1", 5433), "state": state, **gateway}
    return Config(
        path=state.parent / "mitm.toml",
        gateway=GatewayConfig(**listeners),  # type: ignore[arg-type]
        recordings=RecordingsConfig(store=state / "recordings.db"),
        issuers=(),
        policies=(),
        resources={},
    )


def java_store(state: Path) -> pkcs12.PKCS12KeyAndCertificates:
    with warnings.catch_warnings():  # one public root has a serial number that cryptography dislikes
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return pkcs12.load_pkcs12((state / "ca" / "truststore.p12").read_bytes(), b"changeit")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA as mitmproxy makes it."""
    folder = tmp_path_factory.mktemp("ca")
    CertStore.from_store(folder, "mitmproxy", 2048)
    return folder


@pytest.fixture
def state(ca: Path, tmp_path: Path) -> Path:
    shutil.copytree(ca, tmp_path / "state" / "ca")
    return tmp_path / "state"


def test_the_proxy_carries_the_token_as_password(state: Path) -> None:
    variables = agent_environment(config(state), TOKEN)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        parts = urlsplit(variables[name])
        assert (parts.scheme, parts.hostname, parts.port) == ("http", "127.0.0.1", 8080)
        assert (parts.username, parts.password) == ("onrecord", TOKEN)
    assert variables["NO_PROXY"] == variables["no_proxy"] == ""


def test_postgres_clients_get_host_port_password_and_tls(state: Path) -> None:
    variables = agent_environment(config(state), TOKEN)
    assert variables["PGHOST"] == "127.0.0.1"
    assert variables["PGPORT"] == "5433"
    assert variables["PGPASSWORD"] == TOKEN
    assert variables["PGSSLMODE"] == "verify-full"
    assert variables["PGSSLROOTCERT"] == variables["SSL_CERT_FILE"]
    assert agent_environment(config(state, postgres_tls="allow"), TOKEN)["PGSSLMODE"] == "verify-full"


def test_listeners_that_are_off_give_no_variables(state: Path) -> None:
    variables = agent_environment(config(state, http=None, postgres=None), TOKEN)
    assert not [name for name in variables if "PROXY" in name or name.startswith("PG")]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://onrecord:t@127.0.0.1:8080"),  # noqa: S104  # it is read, not bound
        ("::", "http://onrecord:t@[::1]:8080"),
        ("::1", "http://onrecord:t@[::1]:8080"),
        ("gw.internal", "http://onrecord:t@gw.internal:8080"),
    ],
)
def test_a_listener_on_every_address_is_reached_on_this_machine(state: Path, host: str, url: str) -> None:
    assert agent_environment(config(state, http=Address(host, 8080)), "t")["HTTPS_PROXY"] == url


def test_off_loopback_the_proxy_is_reached_over_tls(state: Path, ca: Path) -> None:
    tls = TlsConfig(cert=ca / GATEWAY_CA, key=ca / "mitmproxy-ca.pem")
    variables = agent_environment(config(state, http=Address("gw.internal", 8443), tls=tls), "t")
    assert variables["HTTPS_PROXY"] == "https://onrecord:t@gw.internal:8443"


def test_a_configured_certificate_gives_the_gateways_name(state: Path, ca: Path, tmp_path: Path) -> None:
    entry = CertStore.from_store(ca, "mitmproxy", 2048).get_cert(
        "gw", [x509.DNSName("*.x"), x509.DNSName("gw.internal")]
    )
    (tmp_path / "gw.pem").write_bytes(entry.cert.to_pem())
    tls = TlsConfig(cert=tmp_path / "gw.pem", key=ca / "mitmproxy-ca.pem")
    everywhere = Address("0.0.0.0", 5433)  # noqa: S104  # it is read, not bound
    variables = agent_environment(config(state, http=everywhere, postgres=everywhere, tls=tls), "t")
    assert variables["PGHOST"] == "gw.internal"
    assert variables["HTTPS_PROXY"] == "https://onrecord:t@gw.internal:5433"
    named = agent_environment(config(state, postgres=Address("gw.internal", 1), tls=tls), "t")
    assert named["PGHOST"] == "gw.internal"
    assert named["HTTPS_PROXY"] == "https://onrecord:t@gw.internal:8080"  # on loopback too it speaks TLS only


def test_every_tool_gets_public_roots_and_the_gateways_ca(state: Path) -> None:
    variables = agent_environment(config(state), TOKEN)
    bundle = state / "ca" / "bundle.pem"
    own = x509.load_pem_x509_certificate((state / "ca" / GATEWAY_CA).read_bytes())
    assert {variables[name] for name in BUNDLE_VARIABLES} == {str(bundle)}
    assert bundle.read_text().startswith(Path(certifi.where()).read_text().rstrip("\n"))
    assert (
        bundle.read_bytes().count(b"BEGIN CERTIFICATE")
        == Path(certifi.where()).read_bytes().count(b"BEGIN CERTIFICATE") + 1
    )
    assert variables["NODE_EXTRA_CA_CERTS"] == str(state / "ca" / GATEWAY_CA)
    (hashed,) = Path(variables["SSL_CERT_DIR"]).iterdir()
    assert x509.load_pem_x509_certificate(hashed.read_bytes()) == own
    assert str(state / "ca" / "truststore.p12") in variables["JAVA_TOOL_OPTIONS"]
    store = java_store(state)
    assert own in [entry.certificate for entry in store.additional_certs]
    assert len(store.additional_certs) > 100


def test_the_files_are_replaced_when_the_ca_changes_and_left_alone_otherwise(state: Path) -> None:
    agent_environment(config(state), TOKEN)
    names = ("bundle.pem", "truststore.p12")
    first = [(state / "ca" / name).stat().st_ino for name in names]
    agent_environment(config(state), TOKEN)
    assert [(state / "ca" / name).stat().st_ino for name in names] == first
    for path in (state / "ca").glob("mitmproxy-*"):
        path.unlink()
    CertStore.from_store(state / "ca", "mitmproxy", 2048)
    agent_environment(config(state), TOKEN)
    assert all((state / "ca" / name).stat().st_ino != inode for name, inode in zip(names, first, strict=True))
    own = x509.load_pem_x509_certificate((state / "ca" / GATEWAY_CA).read_bytes())
    assert [file.read_bytes() for file in (state / "ca" / "certs").iterdir()] == [own.public_bytes(Encoding.PEM)]
    store = java_store(state)
    assert own in [entry.certificate for entry in store.additional_certs]
    assert not list((state / "ca").glob(".*"))


def test_no_file_that_agents_read_holds_the_cas_key(state: Path) -> None:
    variables = agent_environment(config(state), TOKEN)
    for path in (variables["SSL_CERT_FILE"], variables["NODE_EXTRA_CA_CERTS"], variables["SSL_CERT_DIR"]):
        files = [Path(path)] if Path(path).is_file() else list(Path(path).iterdir())
        assert all(b"PRIVATE KEY" not in file.read_bytes() for file in files)
    assert java_store(state).key is None


def test_a_gateway_that_never_ran_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="onrecord up"):
        agent_environment(config(tmp_path / "state"), TOKEN)


def test_a_ca_that_is_no_certificate_is_said_so(state: Path) -> None:
    (state / "ca" / GATEWAY_CA).write_text("nothing")
    with pytest.raises(ConfigError, match="cannot be read"):
        agent_environment(config(state), TOKEN)


def test_what_leads_around_the_gateway_is_taken_away() -> None:
    base = {"ALL_PROXY": "socks5://x", "PGHOSTADDR": "10.0.0.1", "PGSERVICE": "prod", "HOME": "/", "NO_PROXY": "*"}
    assert merged(base, {"PGHOST": "127.0.0.1", "NO_PROXY": ""}) == {"HOME": "/", "PGHOST": "127.0.0.1", "NO_PROXY": ""}
    assert merged(base, {"NO_PROXY": ""})["PGSERVICE"] == "prod"


def test_an_agent_of_another_user_gets_files_of_its_own(state: Path, tmp_path: Path) -> None:
    (tmp_path / "state").chmod(0o700)
    old = os.umask(0o077)
    try:
        variables = agent_environment(config(state), TOKEN, tmp_path / "for agents")
    finally:
        os.umask(old)
    folder = tmp_path / "for agents"
    assert not [name for name, value in variables.items() if str(state) in value]
    assert Path(variables["NODE_EXTRA_CA_CERTS"]).read_bytes() == (state / "ca" / GATEWAY_CA).read_bytes()
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & (0o005 if path.is_dir() else 0o004), path
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()
    with pytest.raises(ConfigError, match="cannot be a folder"):
        agent_environment(config(state), TOKEN, state / "ca" / GATEWAY_CA)


def test_the_ca_variables_cover_the_tools_that_we_know() -> None:
    assert {"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"} <= set(BUNDLE_VARIABLES)
    assert environment.PROXY_USER == "onrecord"


@pytest.fixture
def site(state: Path) -> Iterator[str]:
    """An HTTPS server with a certificate of the gateway's CA; gives its URL."""
    store = CertStore.from_store(state / "ca", "mitmproxy", 2048)
    entry = store.get_cert("localhost", [x509.DNSName("localhost")])
    chain, key = state / "leaf.pem", state / "leaf.key"
    chain.write_bytes(entry.cert.to_pem())
    key.write_bytes(entry.privatekey.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://localhost:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


FETCHERS = {
    "curl": ["curl", "-sS", "URL"],
    "python": [
        "python3",
        "-c",
        "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())",
        "URL",
    ],
    "node": ["node", "-e", "fetch(process.argv[1]).then(r => r.text()).then(console.log)", "URL"],
    "openssl": [
        "sh",
        "-c",
        'openssl s_client -verify_return_error -connect "$(echo $0 | cut -d/ -f3)" </dev/null',
        "URL",
    ],
}


@pytest.mark.parametrize("tool", FETCHERS)
def test_real_tools_trust_the_gateways_ca(state: Path, site: str, tool: str) -> None:
    variables = {
        name: value for name, value in agent_environment(config(state), TOKEN).items() if "PROXY" not in name.upper()
    }
    command = [site if word == "URL" else word for word in FETCHERS[tool]]
    bare = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60)
    assert bare.returncode != 0
    done = subprocess.run(
        command, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout or "Verify return code: 0" in done.stdout
