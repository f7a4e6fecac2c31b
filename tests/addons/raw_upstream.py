"""An upstream that answers with exactly the bytes a test gives it, without TLS."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any


class RawUpstream:
    """For each request head that comes, `answer(head, connection)` sends what it likes; returning False closes."""

    def __init__(self, answer: Callable[[bytes, socket.socket], bool]) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def resource(self, **more: Any) -> dict[str, Any]:
        """A `[resources.NAME]` table for it."""
        table = {"type": "http", "hosts": ["raw.internal"], "upstream": f"http://127.0.0.1:{self.port}"}
        return table | {"groups": ["agents"], "default": "allow"} | more

    @contextlib.contextmanager
    def running(self) -> Iterator[RawUpstream]:
        stopping = threading.Event()
        threads: list[threading.Thread] = []
        self.listener.settimeout(0.05)

        def accept() -> None:
            while not stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    client, _ = self.listener.accept()
                    threads.append(threading.Thread(target=self._serve, args=(client, stopping)))
                    threads[-1].start()

        main = threading.Thread(target=accept)
        main.start()
        try:
            yield self
        finally:
            stopping.set()
            main.join()
            for thread in threads:
                thread.join()
            self.listener.close()

    def _serve(self, client: socket.socket, stopping: threading.Event) -> None:
        data = b""
        with client, contextlib.suppress(OSError):
            while not stopping.is_set():
                client.settimeout(0.05)
                try:
                    part = client.recv(65536)
                except TimeoutError:
                    continue
                if not part:
                    return
                data += part
                while b"\r\n\r\n" in data:
                    head, _, data = data.partition(b"\r\n\r\n")
                    self.heads.append(head)
                    client.settimeout(5)
                    if not self.answer(head, client):
                        return
