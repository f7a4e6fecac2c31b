import os
import subprocess
import sys

from onrecord.scripts.benchmarks.processes import Meter, cpu_seconds, descendants


def test_descendants_are_children_and_theirs():
    script = "import subprocess, sys; subprocess.run(['cat'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        found: list[int] = []
        while not found:
            found = descendants(process.pid)
        assert process.pid in descendants(os.getpid())
        assert process.stdin is not None
        process.stdin.close()


def test_cpu_time_grows_with_work_and_is_nothing_for_a_process_that_ended():
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) == before:
        sum(range(100_000))
    assert cpu_seconds(2**22 + 1) == 0.0


def test_a_meter_divides_by_the_requests_served():
    meter = Meter()
    assert meter.wrap(lambda: 500.0, 2.0)() == 500.0
    assert meter.median == 0.0
