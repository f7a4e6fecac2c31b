"""The sample of docs/howto/library-policies.md about command lines holds."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "library-policies.md"


def test_the_sample_of_a_command_line_holds():
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if "ssh(" in block
    ]
    exec(compile(code, str(PAGE), "exec"), {})  # noqa: S102 - the page's own asserts
