"""mitm.toml: its types, how it is read, and what is checked. `load_config` is the way in."""

from __future__ import annotations

from onrecord.policies.config.reading import load_config
from onrecord.policies.config.types import (
    Address,
    AdminConfig,
    AdminRole,
    Config,
    GatewayConfig,
    HttpResource,
    IssuerConfig,
    KubernetesResource,
    MaskConfig,
    Mode,
    NotifyConfig,
    NotifyEvent,
    PolicyConfig,
    PostgresResource,
    RecordingsConfig,
    ResourceConfig,
    SecretRef,
    SshKeyConfig,
    SshResource,
    Strategy,
    TlsConfig,
)

__all__ = [
    "Address",
    "AdminConfig",
    "AdminRole",
    "Config",
    "GatewayConfig",
    "HttpResource",
    "IssuerConfig",
    "KubernetesResource",
    "MaskConfig",
    "Mode",
    "NotifyConfig",
    "NotifyEvent",
    "PolicyConfig",
    "PostgresResource",
    "RecordingsConfig",
    "ResourceConfig",
    "SecretRef",
    "SshKeyConfig",
    "SshResource",
    "Strategy",
    "TlsConfig",
    "load_config",
]
