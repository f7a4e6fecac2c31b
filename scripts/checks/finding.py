"""One line of `onrecord check`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from onrecord.scripts.terminal import clean


class Finding(msgspec.Struct, frozen=True):
    """`where` in the configuration; `status`; what was found; how to mend it."""

    where: str
    status: Literal["ok", "failed", "note"]
    text: str
    fix: str = ""

    def cleaned(self, redact: Callable[[str], str]) -> Finding:
        """The same without secrets and without bytes that steer a terminal: a peer may have sent them."""
        return Finding(clean(redact(self.where)), self.status, clean(redact(self.text)), clean(redact(self.fix)))
