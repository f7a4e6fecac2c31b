"""Listeners that serve one cluster each: a kubeconfig names the gateway itself, and no proxy.

Where such a connection goes is settled when it is accepted, and by nothing that the client says: Host, :authority and
SNI must be names of the listener, but none of them is looked up. From there on it is handled like the inside of a
tunnel to the cluster.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from mitmproxy.certs import CertStore, dummy_cert
from mitmproxy.connection import Client
from OpenSSL import SSL

from onrecord.addons.addresses import HostError, is_address, normalise_host, split_authority
from onrecord.addons.egress import Destinations, Route
from onrecord.addons.http_head import HeadError
from onrecord.policies.config import Address, Config
from onrecord.policies.config.listeners import direct_listeners

Select = Callable[[SSL.Connection, list[bytes]], Any]
NOWHERE = "onrecord.invalid"  # mitmproxy wants a target in its mode; ours is known by the listener (RFC 6761)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
RENEWED = 24 * 3600.0  # seconds that a certificate of the gateway's own CA is used before another is made


@dataclass(slots=True)
class Direct:
    """One listener: its address, the one route that it serves, and the names that it goes by."""

    mode: str
    address: Address
    route: Route
    hosts: tuple[str, ...]  # of the resource; may hold wildcards
    names: frozenset[str]
    context: SSL.Context | None = None
    made: float = 0.0
    certified: tuple[str, ...] = ()  # names in the certificate of `[gateway.tls]`

    def check(self, names: list[bytes], sni: str | None, local: str) -> None:
        """Every name that the client gave must be one of the listener's. Raises HeadError."""
        found = set()
        try:
            found = {split_authority(name.decode("latin-1"), 443)[0] for name in names}
            if sni is not None:
                found.add(normalise_host(sni))
        except HostError as error:
            raise HeadError(400, str(error)) from None
        if len(found) > 1:
            listed = " and ".join(sorted(found))
            raise HeadError(421, f"one request names {listed}", "name one host in URL, Host and TLS")
        for name in found:
            if not self.is_own(name, local):
                hint = f"this listener serves {self.route.resource.name} only"
                raise HeadError(421, f"{name} is not the name of this listener", hint)

    def is_own(self, name: str, local: str) -> bool:
        """Whether a normalised host means this listener, at whose address `local` the client has connected."""
        if name in self.names or name == normalise_host(local):
            return True
        return any(_covers(host, name) for host in (*self.hosts, *self.certified))


class DirectListeners:
    """All of them, found by the mode under which mitmproxy listens."""

    def __init__(self, config: Config, destinations: Destinations) -> None:
        self._found: dict[str, Direct] = {}
        certified = _certificate_names(config)
        for resource, address in direct_listeners(config):
            mode = f"reverse:tls://{NOWHERE}:443@{address.host}:{address.port}"
            ip = ipaddress.ip_address(address.host) if is_address(address.host) else None
            own = {normalise_host(address.host)} if ip is None or not ip.is_unspecified else set()
            if ip is None or ip.is_loopback:
                own |= set(LOOPBACK)
            self._found[mode] = Direct(
                mode,
                address,
                destinations.direct(resource),
                tuple(resource.hosts),
                frozenset(own),
                certified=certified,
            )

    @property
    def modes(self) -> list[str]:
        """What mitmproxy's option `mode` holds for them."""
        return list(self._found)

    @property
    def addresses(self) -> list[Address]:
        """Where they listen."""
        return [direct.address for direct in self._found.values()]

    def of(self, client: Client) -> Direct | None:
        """The listener that accepted a connection; None for the proxy's own.

        Raises LookupError for one that is neither: nothing may pass there.
        """
        spec = client.proxy_mode.full_spec
        if spec == "regular":
            return None
        return self._found[spec]


def own_context(direct: Direct, store: CertStore, select: Select) -> SSL.Context:
    """TLS with a certificate of the gateway's own CA for the listener's names, made anew each day."""
    if direct.context is None or time.monotonic() - direct.made > RENEWED:
        direct.context, direct.made = _make_context(direct, store, select), time.monotonic()
    return direct.context


def _make_context(direct: Direct, store: CertStore, select: Select) -> SSL.Context:
    names = [*dict.fromkeys([direct.route.host, *direct.hosts, *sorted(direct.names)])]
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name) for name in names
    ]
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION)
    certificate = dummy_cert(
        store.default_privatekey,
        store.default_ca.to_cryptography(),
        names[0] if len(names[0]) < 64 else None,
        alternatives,
    )
    context.use_certificate(certificate.to_cryptography())
    context.use_privatekey(store.default_privatekey)
    for issuer in store.default_chain_certs:
        context.add_extra_chain_cert(issuer.to_cryptography())
    context.check_privatekey()
    context.set_alpn_select_callback(select)
    return context


def _certificate_names(config: Config) -> tuple[str, ...]:
    """The names of `[gateway.tls]`'s certificate, under which clients reach the listeners."""
    if config.gateway.tls is None:
        return ()
    certificate = x509.load_pem_x509_certificates(config.gateway.tls.cert.read_bytes())[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return tuple([name.lower() for name in names.get_values_for_type(x509.DNSName)] + addresses)


def _covers(pattern: str, name: str) -> bool:
    """Whether a name is one of `*.example.com`, or this one."""
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and not is_address(name)
    return pattern == name
