"""Both clocks of an approval: wall time, and the time since this boot, which no setting of the clock moves."""

from __future__ import annotations

import time
from pathlib import Path

from onrecord.policies.approvals import Moment

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # suspended time counts


def boot_id() -> str:
    """A name of this boot; empty where the platform has none (macOS: then only processes of one boot meet)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


_BOOT_ID = boot_id()


def now() -> Moment:
    """This moment."""
    return Moment(time.time(), time.clock_gettime(_BOOT), _BOOT_ID)
