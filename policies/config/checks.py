"""What only the whole file shows: addresses and hosts used twice, names that lead nowhere, what needs TLS."""

from __future__ import annotations

from itertools import combinations

from onrecord.policies.config.issuers import DEV_ISSUER, EMPTY_CLAIMS, is_shared
from onrecord.policies.config.listeners import LISTENERS, all_listeners, direct_listeners
from onrecord.policies.config.reading import Reader
from onrecord.policies.config.types import Address, Config, HttpResource, PostgresResource, SshResource
from onrecord.policies.config.values import ip_of, is_loopback, overlap, shown

GATEWAY_HOST = "onrecord.internal"


def check_config(config: Config, reader: Reader) -> None:
    """Note every problem between the parts of `config`."""
    listeners = all_listeners(config)
    _check_listeners(config, listeners, reader)
    _check_issuers(config, listeners, reader)
    _check_policies(config, reader)
    _check_hosts(config, reader)
    _check_upstreams(config, listeners, reader)


def _check_listeners(config: Config, listeners: dict[str, Address], reader: Reader) -> None:
    if not listeners and not any(reader.is_bad(key) for key in ("gateway", *(f"gateway.{name}" for name in LISTENERS))):
        reader.problem("gateway", "no listener", 'set http = "127.0.0.1:8080", postgres = "127.0.0.1:5433" or both')
    for (one, first), (other, second) in combinations(listeners.items(), 2):
        if collide(first, second):
            reader.problem(other, f"the same address as {one}: '{second}'", "give it another port")
    if config.gateway.http is None and not reader.is_bad("gateway.http"):
        for resource, _ in direct_listeners(config):
            reader.problem(
                f"resources.{resource.name}.listen",
                "the HTTP gateway serves this listener, and there is no gateway.http",
                'set http = "127.0.0.1:8080" in [gateway]',
            )
    if config.gateway.tls is not None:
        return
    for name, at in listeners.items():
        if name != "gateway.ssh" and not is_loopback(at.host):  # SSH brings its own encryption
            reader.problem(
                name,
                f"'{at}' is reachable from other hosts, and there is no [gateway.tls]",
                "add [gateway.tls] with cert and key, or listen on 127.0.0.1",
            )


def collide(one: Address, other: Address) -> bool:
    """Whether two listeners want the same address: 0.0.0.0 and [::] stand for all."""
    if one.port != other.port:
        return False
    hosts = [_addresses(one.host), _addresses(other.host)]
    return "*" in hosts[0] or "*" in hosts[1] or bool(hosts[0] & hosts[1])


def _addresses(host: str) -> set[str]:
    if host == "localhost":
        return {"127.0.0.1", "::1"}
    ip = ip_of(host)
    return {"*"} if ip is not None and ip.is_unspecified else {str(ip or host)}


def _check_issuers(config: Config, listeners: dict[str, Address], reader: Reader) -> None:
    seen: dict[str, int] = {}
    for i, issuer in enumerate(config.issuers):
        key = f"issuers[{i}]"
        url = issuer.issuer
        if not url:
            continue
        if (first := seen.setdefault(url.rstrip("/").lower(), i)) != i:
            reader.problem(f"{key}.issuer", f"the same issuer as issuers[{first}]: {url!r}", "keep one of them")
        if url == DEV_ISSUER:
            for name, at in listeners.items():
                if not is_loopback(at.host):
                    reader.problem(
                        f"{key}.issuer",
                        f"{DEV_ISSUER} is for demos and tests, and {name} = '{at}' is open to other hosts",
                        "use a real issuer, or listen on 127.0.0.1",
                    )
        for claim, patterns in issuer.require.items():
            if not patterns or not all(patterns):
                reader.problem(
                    f"{key}.require.{claim}", "empty: no token could meet it", "give a pattern such as 'acme/*'"
                )
        if is_shared(url) and not _requires_something(issuer.require):
            reader.problem(
                f"{key}.require",
                f"missing: anyone can get a token from {url!r}",
                'name a claim that only your tenant has, such as require = { repository_owner = "acme" }',
            )
        if issuer.bind == "mtls" and (config.gateway.tls is None or config.gateway.tls.client_ca is None):
            reader.problem(f"{key}.bind", 'bind = "mtls" needs client certificates', "add client_ca to [gateway.tls]")


def _requires_something(require: dict[str, tuple[str, ...]]) -> bool:
    """Whether a claim is required that tells tenants apart: patterns of wildcards alone do not."""
    return any(
        claim not in EMPTY_CLAIMS and patterns and all(pattern.strip("*?/") for pattern in patterns)
        for claim, patterns in require.items()
    )


def _check_policies(config: Config, reader: Reader) -> None:
    files: dict[str, tuple[int, str]] = {}
    for i, policy in enumerate(config.policies):
        for name in policy.resources:
            if name not in config.resources and not reader.is_bad(f"resources.{name}.type"):
                known = ", ".join(config.resources) or "none"
                reader.problem(f"policies[{i}].resources", f"no such resource: {shown(name)}", f"there are: {known}")
        first, file = files.setdefault(policy.name, (i, str(policy.path)))
        if file != str(policy.path) and policy.name:
            reader.problem(
                f"policies[{i}].name", f"the name of policies[{first}], another file: {policy.name!r}", 'set name = "…"'
            )


def _check_hosts(config: Config, reader: Reader) -> None:
    hosts = [(name, host) for name, resource in config.resources.items() for host in getattr(resource, "hosts", ())]
    for name, host in hosts:
        if host == GATEWAY_HOST:
            reader.problem(f"resources.{name}.hosts", f"{GATEWAY_HOST} is the gateway itself", "choose another name")
    for (one, first), (other, second) in combinations(hosts, 2):
        if one != other and overlap(first, second):
            reader.problem(
                f"resources.{other}.hosts",
                f"{second!r} is also a host of resources.{one}" + (f" ({first!r})" if first != second else ""),
                "a host belongs to one resource",
            )


def _check_upstreams(config: Config, listeners: dict[str, Address], reader: Reader) -> None:
    """No resource leads to the gateway's own listeners."""
    for name, resource in config.resources.items():
        if isinstance(resource, HttpResource) and resource.upstream_host:
            target = Address(resource.upstream_host, resource.upstream_port)
        elif isinstance(resource, PostgresResource | SshResource) and resource.host:
            target = Address(resource.host, resource.port)
        else:
            continue
        for listener, at in listeners.items():
            local = is_loopback(target.host) or not is_loopback(at.host)
            if local and collide(target, at):
                reader.problem(
                    f"resources.{name}.upstream",
                    f"'{target}' is {listener} itself",
                    "give the backend's address",
                )
