"""Which columns of which tables the values of a result, a condition or a write can come from."""

from onrecord.policies.sql.lineage.types import Lineage, Output

__all__ = ["Lineage", "Output"]
