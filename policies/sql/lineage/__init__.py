"""Which columns of which tables the values of a result, a condition or a write can come from."""

from onrecord.policies.sql.lineage.trace import trace
from onrecord.policies.sql.lineage.types import UNSURE, Lineage, Output

__all__ = ["UNSURE", "Lineage", "Output", "trace"]
