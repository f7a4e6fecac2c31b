"""Programs whose words a row cannot describe: each function reads the words and judges what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onrecord.policies.shell.special import administer, builtins, editors, files, find, git, network, search, wrappers
from onrecord.policies.shell.words import Word

if TYPE_CHECKING:
    from onrecord.policies.shell.options import Program
    from onrecord.policies.shell.walker import Walker

Special = Callable[["Walker", "Program", list[Word], str | None], None]

SPECIALS: dict[str, Special] = {
    **administer.SPECIALS,
    **builtins.SPECIALS,
    **editors.SPECIALS,
    **files.SPECIALS,
    **find.SPECIALS,
    **git.SPECIALS,
    **network.SPECIALS,
    **search.SPECIALS,
    **wrappers.SPECIALS,
}
