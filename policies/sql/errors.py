"""What can go wrong with SQL text.

DecodeError
└── SqlError            the text is not SQL as PostgreSQL's grammar knows it, or cannot be analysed
    └── SqlTooLarge     the text is over the bound for analysis
"""

from __future__ import annotations

from onrecord.policies.errors import DecodeError


class SqlError(DecodeError):
    """The text does not parse or cannot be analysed; `position` is 1-based in characters, 0 where unknown."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class SqlTooLarge(SqlError):  # noqa: N818
    """The text is larger than analysis takes."""
