"""What is known of a record's bytes: shown beside each line, worst last."""

from __future__ import annotations

import enum


class Badge(enum.IntEnum):
    """How sure it is that a record is as it was recorded. Of several records of a line the greatest counts."""

    PROVED = 0  # hashed again here, into a tree that a signed checkpoint names
    UNKNOWN = 1  # not looked at yet
    NO_KEY = 2  # there is no public key to check with
    UNPROVED = 3  # an earlier record was altered, so nothing proves this one
    BAD = 4  # not the bytes that were signed

    @property
    def sign(self) -> str:
        """One character."""
        return "✓·–?✗"[self.value]

    @property
    def meaning(self) -> str:
        """One line for people."""
        return (
            "proved: hashed again into a tree that a signed checkpoint names",
            "not checked yet",
            "not checked: there is no public key or checkpoint beside this store",
            "not proved: a record before it, or of the same checkpoint, was altered",
            "ALTERED: these are not the bytes that were signed; run `onrecord verify`",
        )[self.value]
