"""Which expressions may fail for some values only, or not come to all of their parts.

`1 / (ascii(email) - 97)` and `CASE WHEN email LIKE 'a%' THEN 1 / id END` return nothing that is worth reading, and tell
one bit of the column with each query: by whether they fail. What is listed here does neither, whatever the values are,
as long as the other arguments are what the statement says; all else counts as a choice by the values that go into it.
"""

from __future__ import annotations

from collections.abc import Callable

from onrecord.policies.sql.functions import TYPES
from onrecord.policies.sql.lineage.values import Node, strings
from onrecord.policies.sql.wordlists import words

# Functions that make arrays of a value's parts are not here: arrays of other lengths do not fit together.
# Whatever value stands at whichever place.
_EVERYWHERE = words(
    "upper lower initcap concat concat_ws length char_length character_length octet_length bit_length "
    "md5 sha224 sha256 sha384 sha512 btrim ltrim rtrim reverse ascii strpos position starts_with "
    "hashtext to_tsvector quote_ident quote_literal quote_nullable "
    "translate to_hex num_nulls num_nonnulls pg_typeof pg_column_size "
    "to_json to_jsonb row_to_json json_build_array jsonb_build_array json_agg jsonb_agg json_strip_nulls "
    "jsonb_strip_nulls jsonb_pretty json_typeof jsonb_typeof json_extract_path json_extract_path_text "
    "jsonb_extract_path jsonb_extract_path_text array_to_json "
    "array_agg string_agg count min max any_value sum avg bool_and bool_or every stddev stddev_pop stddev_samp "
    "variance var_pop var_samp row_number rank dense_rank first_value last_value "
    "array_length array_ndims array_lower array_upper cardinality "
    "host abbrev family masklen network broadcast date age isfinite lower_inf upper_inf isempty"
)
# Only as the first argument: the others say how much is made of it, or could be wrong.
_FIRST = words(
    "substr substring left right lpad rpad split_part overlay encode to_char round trunc ceil ceiling floor sign "
    "text varchar bpchar regexp_count regexp_like regexp_substr regexp_instr array_to_string nth_value"
)
_SECOND = words("date_trunc date_part extract array_position array_remove")
# A key may not be null, nor a format anything; the values may be.
_PAIRS = words("json_build_object jsonb_build_object json_object_agg jsonb_object_agg")
_PLACES: dict[str, Callable[[int], bool]] = {
    **dict.fromkeys(_EVERYWHERE, lambda _: True),
    **dict.fromkeys(_FIRST, lambda place: place == 0),
    **dict.fromkeys(_SECOND, lambda place: place == 1),
    **dict.fromkeys(_PAIRS, lambda place: place % 2 == 1),
    **dict.fromkeys(("lag", "lead"), lambda place: place != 1),
    "format": lambda place: place > 0,
}
# Arithmetic overflows and divides, ranges and geometry have values that they refuse.
_OPERATORS = words("= <> != < > <= >= || -> ->> #> #>> @> <@ ? ?| ?& && ^@ ~<~ ~<=~ ~>~ ~>=~ << >> <<= >>=")
_PATTERNS = words("~ !~ ~* !~* ~~ !~~ ~~* !~~*")  # the pattern may be wrong, the text not
_TEXTS = words("text varchar bpchar name citext char")
_SIMPLE = ("ColumnRef", "A_Const", "ParamRef")


def free(name: str, place: int, argument: Node) -> bool:
    """Whether the argument at that place of PostgreSQL's own function `name` may be anything."""
    found = _PLACES.get(name)
    if found is None or not found(place) or "NamedArgExpr" in argument:
        return False
    return name != "array_agg" or simple(argument)  # arrays of several lengths make none


def total(operator: str, *, left: bool) -> bool:
    """Whether an operand on that side of PostgreSQL's own `operator` may be anything."""
    return operator in _OPERATORS or (left and operator in _PATTERNS)


def simple(node: Node) -> bool:
    """A column or a constant, cast or not: it cannot fail for a reason of its own."""
    while "TypeCast" in node:
        node = node["TypeCast"].get("arg", {})
    return any(name in node for name in _SIMPLE)


def safe_cast(fields: Node) -> bool:
    """Whether a TypeCast tells nothing but, of a whole column, whether its values have the form of a built-in type."""
    kind = fields.get("typeName", {})
    names = strings(kind.get("names", []))
    if not names or (len(names) > 1 and names[0] != "pg_catalog"):
        return False
    value = fields.get("arg", {})
    if names[-1] in _TEXTS and ("arrayBounds" not in kind or "A_ArrayExpr" in value):
        return True
    return names[-1] in TYPES and simple(value)
