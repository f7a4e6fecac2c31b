"""recordings/control/watcher.py"""

from __future__ import annotations

import os

from onrecord.policies.config import PolicyConfig
from onrecord.recordings.control import PolicyWatcher
from tests.recordings.control import process, serving, until

GOOD = "class P:\n    def sql(self, command): return None\naddons = [P()]\n"


async def test_a_changed_file_is_taken_into_use_even_with_the_same_size_and_time(tmp_path):
    path = tmp_path / "p.py"
    path.write_text(GOOD + "# 1\n")
    async with serving(tmp_path) as server, process(tmp_path) as one:
        watcher = PolicyWatcher([PolicyConfig(name="p", file="p.py", path=path)], server)
        watcher.look()
        watcher.look()
        await one.client.ready()
        first, stat = one.engine.digest, path.stat()
        path.write_text(GOOD + "# 2\n")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        watcher.look()
        watcher.look()
        await until(lambda: one.engine.digest != first)


async def test_a_deleted_file_opens_nothing_and_its_return_mends_it(tmp_path):
    path = tmp_path / "p.py"
    path.write_text(GOOD)
    async with serving(tmp_path) as server, process(tmp_path) as one:
        watcher = PolicyWatcher([PolicyConfig(name="p", file="p.py", path=path)], server, interval=0.01)
        import asyncio

        task = asyncio.ensure_future(watcher.run())
        await one.client.ready()
        path.unlink()
        await until(lambda: one.engine.stale_error)
        assert "p.py: cannot be read" in one.engine.stale_error
        path.write_text("addons = [")
        await until(lambda: "does not compile" in one.engine.stale_error)
        path.write_text(GOOD)
        await until(lambda: not one.engine.stale_error)
        task.cancel()
        await asyncio.wait([task])


async def test_a_file_caught_in_the_middle_of_being_written_is_not_offered(tmp_path):
    path = tmp_path / "p.py"
    path.write_text(GOOD)
    async with serving(tmp_path) as server:
        watcher = PolicyWatcher([PolicyConfig(name="p", file="p.py", path=path)], server)
        watcher.look()
        watcher.look()
        good = server.status().digest
        path.write_text("")
        watcher.look()
        path.write_text(GOOD + "# new\n")
        watcher.look()
        assert (server.status().digest, server.status().error) == (good, "")
        watcher.look()
        assert server.status().digest != good
