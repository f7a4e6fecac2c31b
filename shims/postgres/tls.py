"""TLS contexts of the shim: the listener's certificate and the connection to PostgreSQL."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import shutil
import socket
import ssl
import tempfile
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from mitmproxy.certs import CertStore

from onrecord.policies.config import GatewayConfig, PostgresResource
from onrecord.policies.errors import ConfigError, Problem
from onrecord.policies.secrets import Secrets

ALPN = "postgresql"
CA_FILE = "mitmproxy-ca.pem"
_VALID = dt.timedelta(days=365)
_PATIENCE = 10.0


def listener_context(gateway: GatewayConfig, host: str) -> ssl.SSLContext:
    """The listener's TLS: the configured certificate, else one signed by the gateway's CA for `host` and loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    if gateway.tls is not None:
        try:
            context.load_cert_chain(gateway.tls.cert, gateway.tls.key)
            if gateway.tls.client_ca is not None:
                context.load_verify_locations(gateway.tls.client_ca)
                context.verify_mode = ssl.CERT_OPTIONAL
        except (OSError, ssl.SSLError) as error:
            reason = f"the certificate cannot be loaded: {error}"
            raise ConfigError([Problem("gateway.tls", reason, "check cert, key and client_ca")]) from None
        return context
    chain, key = issue(gateway.state / "ca", (host, "localhost", "127.0.0.1", "::1", socket.gethostname()))
    with tempfile.TemporaryDirectory(dir=gateway.state) as folder:  # ssl reads files only; the folder is 0700
        cert_file, key_file = Path(folder) / "cert.pem", Path(folder) / "key.pem"
        cert_file.write_bytes(chain)
        key_file.touch(0o600)
        key_file.write_bytes(key)
        context.load_cert_chain(cert_file, key_file)
    return context


def issue(ca_folder: Path, names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """A server certificate (PEM, followed by the CA's) and its key (PEM), signed by the gateway's CA."""
    ca_key, ca_certificate = gateway_ca(ca_folder)
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "onrecord PostgreSQL listener")]))
        .issuer_name(ca_certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM) + ca_certificate.public_bytes(
        serialization.Encoding.PEM
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return chain, private


def _alternative_names(names: tuple[str, ...]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            if name and name.isascii():
                found.append(x509.DNSName(name))
    return found


def gateway_ca(folder: Path) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """The gateway's CA in mitmproxy's layout, made where there is none yet. Another process may be making it too."""
    path = folder / CA_FILE
    if not path.exists():
        fresh = Path(tempfile.mkdtemp(dir=folder.parent))  # 0700
        try:
            CertStore.create_store(fresh, "mitmproxy", 2048)
            folder.mkdir(mode=0o700, exist_ok=True)
            # The CA with its key first, and only if nobody else was faster: link(2) does not replace.
            with contextlib.suppress(FileExistsError):
                os.link(fresh / CA_FILE, path)
                for file in fresh.iterdir():
                    if file.name != CA_FILE:
                        file.replace(folder / file.name)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    deadline = time.monotonic() + _PATIENCE
    while True:  # whoever makes it may be in the middle of writing
        try:
            data = path.read_bytes()
            key = serialization.load_pem_private_key(data, None)
            certificate = x509.load_pem_x509_certificates(data)[0]
            break
        except (ValueError, IndexError) as error:
            if time.monotonic() > deadline:
                reason = f"no CA with its key can be read: {error}"
                raise ConfigError([Problem(str(path), reason, "remove it to have a new CA made")]) from None
            time.sleep(0.05)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError([Problem(str(path), "the CA's key is no RSA key", "remove it to have a new CA made")])
    return key, certificate


def upstream_context(resource: PostgresResource, secrets: Secrets) -> ssl.SSLContext | None:
    """TLS towards PostgreSQL as `sslmode` says; None for a plaintext connection. Raises ConfigError, SecretError."""
    if resource.sslmode == "disable":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = resource.sslmode == "verify-full"
    if resource.sslmode == "require" and resource.ca is None:
        context.verify_mode = ssl.CERT_NONE
    elif resource.ca is not None:
        context.load_verify_locations(resource.ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if resource.client_cert is not None:
        password = None
        with contextlib.ExitStack() as stack:
            key_file: Path | None = None
            if resource.client_key is not None:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                key_file = Path(folder) / "key.pem"
                key_file.touch(0o600)
                key_file.write_text(secrets.resolve(resource.client_key))
            context.load_cert_chain(resource.client_cert, key_file, password)
    return context
