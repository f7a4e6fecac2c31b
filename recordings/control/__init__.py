"""The control channel: the recorder's Unix socket, over which policies, heartbeats and, later, grants and kills go."""

from onrecord.recordings.control.client import ControlClient
from onrecord.recordings.control.messages import (
    Commit,
    Heartbeat,
    Hello,
    PolicyFailed,
    Prepare,
    Ready,
    Refusals,
)
from onrecord.recordings.control.server import ControlServer
from onrecord.recordings.control.watcher import PolicyWatcher

__all__ = [
    "Commit",
    "ControlClient",
    "ControlServer",
    "Heartbeat",
    "Hello",
    "PolicyFailed",
    "PolicyWatcher",
    "Prepare",
    "Ready",
    "Refusals",
]
