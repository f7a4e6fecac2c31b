"""What tests share: free ports, a written mitm.toml, a running gateway, waiting without fixed sleeps."""

from __future__ import annotations

from onrecord.scripts.parts.gateway import (
    AUDIENCE,
    Gateway,
    Setup,
    http_resource,
    make_config,
    postgres_resource,
    running_gateway,
    stop,
    wait_until,
)
from onrecord.scripts.parts.ports import free_port, free_ports
from onrecord.scripts.parts.toml_file import write_toml

__all__ = [
    "AUDIENCE",
    "Gateway",
    "Setup",
    "free_port",
    "free_ports",
    "http_resource",
    "make_config",
    "postgres_resource",
    "running_gateway",
    "stop",
    "wait_until",
    "write_toml",
]
