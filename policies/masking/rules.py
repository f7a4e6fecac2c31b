"""A rule: what becomes of a whole value."""

from __future__ import annotations

import msgspec

from onrecord.policies.config.types import Strategy
from onrecord.policies.masking.names import REDACTED
from onrecord.policies.masking.strategies import kind_of, stand_in


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is what `Outcome.masked` counts it under: the pattern of mitm.toml, such as `public.customers.email`."""

    name: str
    strategy: Strategy = "redact"
    key: bytes = b""

    def __repr__(self) -> str:
        return f"<Rule {self.name}: {self.strategy}>"

    def apply(self, value: str) -> str | None:
        """What the client gets in place of `value`; None is SQL NULL, JSON null."""
        if self.strategy == "null":
            return None
        if self.strategy == "redact":
            return REDACTED
        return stand_in(self.strategy, self.key, kind_of(value), value)


# For expressions over masked columns and for whatever is unsure.
WHOLE = Rule(name="expression")
