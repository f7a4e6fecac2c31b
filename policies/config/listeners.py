"""Every address at which the gateway itself answers, whichever table names it."""

from __future__ import annotations

from onrecord.policies.config.types import Address, Config, KubernetesResource

LISTENERS = ("http", "postgres", "ssh", "admin")


def all_listeners(config: Config) -> dict[str, Address]:
    """Key in mitm.toml → address: those of `[gateway]`, and `listen` of resources."""
    found = {f"gateway.{name}": at for name in LISTENERS if (at := getattr(config.gateway, name)) is not None}
    return found | {f"resources.{one.name}.listen": at for one, at in direct_listeners(config)}


def direct_listeners(config: Config) -> list[tuple[KubernetesResource, Address]]:
    """The clusters with a listener of their own."""
    clusters = [one for one in config.resources.values() if isinstance(one, KubernetesResource)]
    return [(one, one.listen) for one in clusters if one.listen is not None]
