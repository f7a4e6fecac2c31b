"""pgjdbc through the gateway."""

from __future__ import annotations

from tests.clients.lab import HERE, Lab

JAR = "/usr/share/java/postgresql.jar"


def test_batches_autosave_fetch_size_copy_listen_and_metadata(each_lab: Lab):
    done = each_lab.run(["java", "-cp", JAR, HERE / "Jdbc.java"])
    assert done.stdout.strip() == "ok", done.stderr
