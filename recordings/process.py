"""What each process of the gateway does with itself before it touches a secret."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_DUMPABLE = 4

SUPERVISED = "ONRECORD_SUPERVISOR"
READY_FD = "ONRECORD_READY_FD"


def harden() -> None:
    """Make this process undumpable, its files private, and let it end with its supervisor.

    Another process of the same user can then neither read its memory nor attach to it (ptrace(2)), and a crash
    writes no core file with secrets in it.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return
    prctl = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True).prctl
    prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    supervisor = os.environ.get(SUPERVISED)
    if supervisor:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(supervisor):  # it died before the call above
            sys.exit(0)


def notify_ready() -> None:
    """Tell the supervisor that this process now serves; nothing where there is none."""
    fd = os.environ.pop(READY_FD, "")
    if fd:
        os.write(int(fd), b"1")
        os.close(int(fd))
