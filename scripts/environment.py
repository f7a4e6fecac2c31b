"""The environment in which an agent's ordinary tools go through the gateway: proxy, CA and PostgreSQL variables."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, PKCS12Certificate, serialize_java_truststore
from cryptography.utils import CryptographyDeprecationWarning

from onrecord.policies.config import Address, Config
from onrecord.policies.errors import ConfigError, Problem
from onrecord.scripts.agent_files import make_folder, write_file

GATEWAY_CA = "mitmproxy-ca-cert.pem"
BUNDLE = "bundle.pem"
PROXY_USER = "onrecord"

BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "npm_config_cafile",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
    "BUNDLE_SSL_CA_CERT",
    "CODEX_CA_CERTIFICATE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "HTTPLIB2_CA_CERTS",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
)
"""Each of these *replaces* a tool's roots, so it names the public roots and the gateway's together."""

CONFLICTING = ("ALL_PROXY", "all_proxy")
CONFLICTING_PG = ("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGCHANNELBINDING", "PGREQUIREAUTH", "PGSSLNEGOTIATION")
"""Variables that would lead a tool around the gateway or make libpq refuse it; `run` takes them away."""


def agent_environment(config: Config, token: str, folder: Path | None = None) -> dict[str, str]:
    """The variables for an agent that holds `token`. Writes the files that they name (no secret is in them) into
    `folder`, for an agent that may not read the gateway's state, else beside the gateway's keys.

    Raises ConfigError where the gateway's CA is not there yet or its files cannot be written.
    """
    gateway = config.gateway
    ca, kube, ssh = _places(config, folder)
    variables: dict[str, str] = {}
    if gateway.http is not None:
        variables |= _proxy_variables(config, gateway.http, token)
    if gateway.http is not None or gateway.postgres is not None:
        variables |= _ca_variables(config, ca)
    if gateway.http is not None:
        from onrecord.scripts.agent_kube import kube_environment, straight_ways

        proxy = _proxy_url(config, gateway.http)
        signed = ca / (GATEWAY_CA if gateway.tls is None else BUNDLE)
        straight = straight_ways(config, signed, lambda host: _certified(config, host))
        variables |= kube_environment(config, signed, proxy, token, kube, straight)
        # What leads straight to the gateway must not ask for it at the gateway's own proxy.
        variables |= dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(way.address for way in straight.values()))
    if gateway.postgres is not None:
        variables |= {
            "PGHOST": _certified(config, gateway.postgres.host),
            "PGPORT": str(gateway.postgres.port),
            "PGPASSWORD": token,
            "PGSSLMODE": "verify-full",  # the listener speaks TLS also where it allows plaintext
            "PGSSLROOTCERT": variables["SSL_CERT_FILE"],
            "PGGSSENCMODE": "disable",
        }
    if gateway.ssh is not None:
        from onrecord.scripts.agent_ssh import ssh_environment

        variables |= ssh_environment(config, gateway.ssh, token, ssh)
    return variables


def _places(config: Config, folder: Path | None) -> tuple[Path, Path, Path]:
    """Where the files for TLS, kubectl and ssh are written. Raises ConfigError."""
    state = config.gateway.state
    if folder is None:
        return state / "ca", state / "kube", state / "ssh" / "client"
    folder = folder.resolve()
    places = folder / "ca", folder / "kube", folder / "ssh"
    try:
        for place in (folder, *places):
            make_folder(place)
    except OSError as error:
        text = f"cannot be a folder for the agent's files: {error.strerror}"
        raise ConfigError([Problem(str(folder), text, "give one of your own")]) from None
    return places


def merged(base: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """`base` with `variables` put in and what would lead around the gateway taken out."""
    dropped = CONFLICTING + (CONFLICTING_PG if "PGHOST" in variables else ())
    return {name: value for name, value in base.items() if name not in dropped} | dict(variables)


def _proxy_variables(config: Config, listener: Address, token: str) -> dict[str, str]:
    url = _proxy_url(config, listener, f"{PROXY_USER}:{quote(token, safe='')}@")
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
    return {**dict.fromkeys(names, url), "NO_PROXY": "", "no_proxy": "", "NODE_USE_ENV_PROXY": "1"}


def _proxy_url(config: Config, listener: Address, login: str = "") -> str:
    tls = config.gateway.tls is not None  # then the proxy speaks nothing else, on loopback too
    host = _certified(config, listener.host) if tls else _reachable(listener.host)
    return f"{'https' if tls else 'http'}://{login}{Address(host, listener.port)}"


def _reachable(host: str) -> str:
    """Where a listener on every address is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # it is read, not bound


def _certified(config: Config, host: str) -> str:
    """The host under which clients find a listener and accept its certificate.

    The gateway's own CA signs for the listener's address. A configured certificate may name the gateway otherwise:
    then its first name counts.
    """
    host = _reachable(host)
    chain = _listener_chain(config)
    if not chain:
        return host
    try:
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return host
    covered = names.get_values_for_type(x509.DNSName)
    if host in covered or host in map(str, names.get_values_for_type(x509.IPAddress)):
        return host
    return next((name for name in covered if "*" not in name), host)


def _ca_variables(config: Config, folder: Path) -> dict[str, str]:
    own = config.gateway.state / "ca" / GATEWAY_CA
    try:
        gateway_ca = own.read_bytes()
        certificates = x509.load_pem_x509_certificates(gateway_ca)
    except FileNotFoundError as error:
        raise _problem(own, "no such file: the gateway makes its CA when it first starts", config) from error
    except (OSError, ValueError) as error:
        raise _problem(own, f"the gateway's CA cannot be read: {error}", config) from error
    certificates += _listener_roots(config)
    public = Path(certifi.where())
    added = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    bundle, store, hashed = folder / BUNDLE, folder / "truststore.p12", folder / "certs"
    try:
        if folder != own.parent:
            write_file(folder / GATEWAY_CA, gateway_ca)
            own = folder / GATEWAY_CA
        write_file(bundle, public.read_bytes().rstrip(b"\n") + b"\n" + added)
        newest = max(path.stat().st_mtime_ns for path in (own, public, bundle))
        if not store.exists() or store.stat().st_mtime_ns < newest:
            write_file(store, _java_store(_each_certificate(public.read_bytes()) + certificates))
        make_folder(hashed)
        names = {f"{_subject_hash(certificate):08x}.0": certificate for certificate in certificates}
        for name, certificate in names.items():
            write_file(hashed / name, certificate.public_bytes(Encoding.PEM))
        for former in hashed.iterdir():
            if former.name not in names:
                former.unlink()
    except OSError as error:
        raise ConfigError(
            [Problem(str(folder), f"cannot write the CA files: {error.strerror}", "run as the gateway's user")]
        ) from error
    trust = f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStoreType=PKCS12"
    return {
        **dict.fromkeys(BUNDLE_VARIABLES, str(bundle)),
        "SSL_CERT_DIR": str(hashed),
        "NODE_EXTRA_CA_CERTS": str(own),
        "UV_NATIVE_TLS": "1",
        "JAVA_TOOL_OPTIONS": f"{trust} -Djavax.net.ssl.trustStorePassword={_STORE_PASSWORD}",
    }


def _listener_roots(config: Config) -> list[x509.Certificate]:
    """Self-signed certificates in `[gateway.tls]`'s chain: a private CA that no public root vouches for."""
    return [certificate for certificate in _listener_chain(config) if certificate.issuer == certificate.subject]


def _listener_chain(config: Config) -> list[x509.Certificate]:
    if config.gateway.tls is None:
        return []
    try:
        return x509.load_pem_x509_certificates(config.gateway.tls.cert.read_bytes())
    except (OSError, ValueError):
        return []  # `check` and `up` say what is wrong with it


def _each_certificate(roots: bytes) -> list[x509.Certificate]:
    """The certificates in a PEM bundle; one that the library does not take (an old root's odd serial) is left out."""
    begin = b"-----BEGIN CERTIFICATE-----"
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for block in roots.split(begin)[1:]:
            with contextlib.suppress(ValueError):
                found.append(x509.load_pem_x509_certificate(begin + block))
    return found


_STORE_PASSWORD = "changeit"  # noqa: S105  # Java's own default; the store holds public certificates only


def _java_store(certificates: list[x509.Certificate]) -> bytes:
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(10_000)
    protection = builder.key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC).hmac_hash(SHA256())
    entries = [PKCS12Certificate(certificate, f"{index}".encode()) for index, certificate in enumerate(certificates)]
    return serialize_java_truststore(entries, protection.build(_STORE_PASSWORD.encode()))


def _subject_hash(certificate: x509.Certificate) -> int:
    """The number by which OpenSSL finds a root in SSL_CERT_DIR."""
    from OpenSSL.crypto import X509

    return X509.from_cryptography(certificate).subject_name_hash()


def _problem(path: Path, reason: str, config: Config) -> ConfigError:
    return ConfigError([Problem(str(path), reason, f"start it once: onrecord up -c {config.path}")])
