"""On PYTHONPATH of a gateway under test: its processes end themselves (kill -9) at one step of an approval.

The file `armed` in the folder DYING of the environment's PYTHONPATH says "MODULE NUMBER": the process that runs MODULE
dies at its NUMBERth step from then on, and leaves the step's name in `fired`. No code of the gateway knows of this.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0])
QUIET = {"Heartbeat", "Kills"}
_count: dict[str, int] = {}


def step(name: str) -> None:
    """One more step; perhaps the last."""
    try:
        text = (FOLDER / "armed").read_text()
    except FileNotFoundError:
        return
    module, _, number = text.partition(" ")
    if not any(module in word for word in sys.orig_argv):
        return
    _count[text] = _count.get(text, 0) + 1
    if _count[text] == int(number):
        (FOLDER / "fired").write_text(name)
        (FOLDER / "armed").unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, method: str) -> None:
    """A step before and a step after a method; messages that come by the clock are none."""
    plain: Callable[..., Any] = getattr(owner, method)

    def wrapped(*given: Any, **more: Any) -> Any:
        about = type(given[1]).__name__ if len(given) > 1 else ""
        if about in QUIET:
            return plain(*given, **more)
        step(f"before {method} {about}")
        answer = plain(*given, **more)
        step(f"after {method} {about}")
        return answer

    setattr(owner, method, wrapped)


def install() -> None:
    """Only where a recorder or a shim starts."""
    from onrecord.recordings.approvals.holds import Holds
    from onrecord.recordings.approvals.state import ApprovalState
    from onrecord.recordings.control import server
    from onrecord.recordings.journal import Journal

    around(ApprovalState, "_write")
    around(Journal, "flush")
    around(server._Peer, "send")
    around(Holds, "received")
    around(Holds, "_ask")
    around(Holds, "consume")


if any(module in word for word in sys.orig_argv for module in ("recordings.recorder", "shims.postgres")):
    install()
elif "up" in sys.orig_argv:
    from onrecord.scripts import up

    up.LAST_BACKOFF = up.FIRST_BACKOFF  # it dies often
