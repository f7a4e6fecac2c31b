"""What stops a command line from being read."""

from __future__ import annotations


class ShellError(Exception):
    """The text is no command line that all shells read alike; the message says why, for the refusal."""
