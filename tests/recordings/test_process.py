"""A process of the gateway can neither be read nor outlive its supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

HARDENED = """
import ctypes, os, resource, sys
from onrecord.recordings.process import harden, notify_ready
harden()
notify_ready()
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(dumpable, resource.getrlimit(resource.RLIMIT_CORE)[0], oct(os.umask(0)), flush=True)
sys.stdin.read()
"""

SUPERVISOR = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]],
                         env={**os.environ, "ONRECORD_SUPERVISOR": str(os.getpid())},
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_hardened_process_is_undumpable_leaves_no_core_and_makes_private_files():
    done = subprocess.run([sys.executable, "-c", HARDENED], input="", capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "0o77"]


def test_readiness_is_told_over_the_descriptor_that_the_supervisor_gave():
    reader, writer = os.pipe()
    environment = {**os.environ, "ONRECORD_READY_FD": str(writer)}
    subprocess.run(
        [sys.executable, "-c", HARDENED], input="", env=environment, pass_fds=(writer,), check=True, text=True
    )
    os.close(writer)
    assert os.read(reader, 10) == b"1"
    os.close(reader)


def test_a_child_ends_with_its_supervisor_even_when_that_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, HARDENED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        pidfd = os.pidfd_open(int(supervisor.stdout.readline()))
        supervisor.send_signal(signal.SIGKILL)
        with os.fdopen(pidfd) as descriptor:
            import select

            assert select.select([descriptor], [], [], 30)[0], "the child still lives"


def test_a_child_whose_supervisor_is_gone_before_it_starts_does_nothing():
    environment = {**os.environ, "ONRECORD_SUPERVISOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HARDENED], input="", env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
