"""What a type OID means for masking: how a value of it is read and written. Pure.

OIDs: pg_type.dat of PostgreSQL 18.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from onrecord.policies.sql.catalog import Catalog

RECORD = 2249


class Kind(enum.Enum):
    """How values are handled.

    `PASS`: cannot hold anything a detector looks for. `SCALAR`: its text form is known to be readable, nothing fits in
    its place. `UNKNOWN`: nothing is known of its binary form.
    """

    TEXT = enum.auto()
    JSON = enum.auto()
    JSONB = enum.auto()
    JSONPATH = enum.auto()
    BYTEA = enum.auto()
    NUMBER = enum.auto()
    FLOAT = enum.auto()
    INET = enum.auto()
    PASS = enum.auto()
    SCALAR = enum.auto()
    ARRAY = enum.auto()
    COMPOSITE = enum.auto()
    RANGE = enum.auto()
    MULTIRANGE = enum.auto()
    HSTORE = enum.auto()
    UNKNOWN = enum.auto()


class ValueType(NamedTuple):
    """`element`: of an array or a range; `fields`: of a named composite, else None; `name`: `schema.name`."""

    oid: int
    kind: Kind
    name: str
    element: ValueType | None = None
    fields: tuple[tuple[str, ValueType], ...] | None = None


_K = Kind
_SCALARS: dict[int, tuple[str, Kind]] = {
    16: ("bool", _K.PASS), 17: ("bytea", _K.BYTEA), 18: ("char", _K.TEXT), 19: ("name", _K.TEXT),
    20: ("int8", _K.NUMBER), 21: ("int2", _K.PASS), 22: ("int2vector", _K.PASS), 23: ("int4", _K.NUMBER),
    24: ("regproc", _K.SCALAR), 25: ("text", _K.TEXT), 26: ("oid", _K.NUMBER), 27: ("tid", _K.PASS),
    28: ("xid", _K.PASS), 29: ("cid", _K.PASS), 30: ("oidvector", _K.PASS), 114: ("json", _K.JSON),
    142: ("xml", _K.TEXT), 194: ("pg_node_tree", _K.TEXT), 600: ("point", _K.SCALAR), 601: ("lseg", _K.SCALAR),
    602: ("path", _K.SCALAR), 603: ("box", _K.SCALAR), 604: ("polygon", _K.SCALAR), 628: ("line", _K.SCALAR),
    650: ("cidr", _K.INET), 700: ("float4", _K.FLOAT), 701: ("float8", _K.FLOAT), 705: ("unknown", _K.TEXT),
    718: ("circle", _K.SCALAR), 774: ("macaddr8", _K.SCALAR), 790: ("money", _K.NUMBER), 829: ("macaddr", _K.SCALAR),
    869: ("inet", _K.INET), 1033: ("aclitem", _K.SCALAR), 1042: ("bpchar", _K.TEXT), 1043: ("varchar", _K.TEXT),
    1082: ("date", _K.PASS), 1083: ("time", _K.PASS), 1114: ("timestamp", _K.PASS), 1184: ("timestamptz", _K.PASS),
    1186: ("interval", _K.PASS), 1266: ("timetz", _K.PASS), 1560: ("bit", _K.SCALAR), 1562: ("varbit", _K.SCALAR),
    1700: ("numeric", _K.NUMBER), 1790: ("refcursor", _K.TEXT), 2202: ("regprocedure", _K.SCALAR),
    2203: ("regoper", _K.SCALAR), 2204: ("regoperator", _K.SCALAR), 2205: ("regclass", _K.SCALAR),
    2206: ("regtype", _K.SCALAR), 2275: ("cstring", _K.TEXT), 2278: ("void", _K.PASS), 2950: ("uuid", _K.PASS),
    2970: ("txid_snapshot", _K.PASS), 3220: ("pg_lsn", _K.PASS), 3614: ("tsvector", _K.SCALAR),
    3615: ("tsquery", _K.SCALAR), 3734: ("regconfig", _K.SCALAR), 3769: ("regdictionary", _K.SCALAR),
    3802: ("jsonb", _K.JSONB), 4072: ("jsonpath", _K.JSONPATH), 4089: ("regnamespace", _K.SCALAR),
    4096: ("regrole", _K.SCALAR), 4191: ("regcollation", _K.SCALAR), 5038: ("pg_snapshot", _K.PASS),
    5069: ("xid8", _K.NUMBER), RECORD: ("record", _K.COMPOSITE),
}  # fmt: skip

_ARRAYS: dict[int, int] = {
    143: 142, 199: 114, 271: 5069, 629: 628, 651: 650, 719: 718, 775: 774, 791: 790, 1000: 16, 1001: 17, 1002: 18,
    1003: 19, 1005: 21, 1006: 22, 1007: 23, 1008: 24, 1009: 25, 1010: 27, 1011: 28, 1012: 29, 1013: 30, 1014: 1042,
    1015: 1043, 1016: 20, 1017: 600, 1018: 601, 1019: 602, 1020: 603, 1021: 700, 1022: 701, 1027: 604, 1028: 26,
    1034: 1033, 1040: 829, 1041: 869, 1115: 1114, 1182: 1082, 1183: 1083, 1185: 1184, 1187: 1186, 1231: 1700,
    1263: 2275, 1270: 1266, 1561: 1560, 1563: 1562, 2201: 1790, 2207: 2202, 2208: 2203, 2209: 2204, 2210: 2205,
    2211: 2206, 2287: RECORD, 2949: 2970, 2951: 2950, 3221: 3220, 3643: 3614, 3645: 3615, 3735: 3734, 3770: 3769,
    3807: 3802, 3905: 3904, 3907: 3906, 3909: 3908, 3911: 3910, 3913: 3912, 3927: 3926, 4073: 4072, 4090: 4089,
    4097: 4096, 4192: 4191, 5039: 5038, 6150: 4451, 6151: 4532, 6152: 4533, 6153: 4534, 6155: 4535, 6157: 4536,
}  # fmt: skip

_RANGES: dict[int, tuple[str, int]] = {
    3904: ("int4range", 23), 3906: ("numrange", 1700), 3908: ("tsrange", 1114), 3910: ("tstzrange", 1184),
    3912: ("daterange", 1082), 3926: ("int8range", 20),
}  # fmt: skip
_MULTIRANGES: dict[int, tuple[str, int]] = {
    4451: ("int4multirange", 3904), 4532: ("nummultirange", 3906), 4533: ("tsmultirange", 3908),
    4534: ("tstzmultirange", 3910), 4535: ("datemultirange", 3912), 4536: ("int8multirange", 3926),
}  # fmt: skip

_BY_NAME = {"citext": Kind.TEXT, "hstore": Kind.HSTORE}
_DEPTH = 8
_UNKNOWN = ValueType(0, Kind.UNKNOWN, "")


class Types:
    """Resolves OIDs under one catalog snapshot; remembers what it resolved."""

    __slots__ = ("_catalog", "_known")

    def __init__(self, catalog: Catalog | None) -> None:
        self._catalog = catalog
        self._known: dict[int, ValueType] = {}

    def of(self, oid: int) -> ValueType:
        found = self._known.get(oid)
        if found is None:
            found = self._resolve(oid, _DEPTH)
            if len(self._known) < 10_000:  # OIDs of binary records come from the wire
                self._known[oid] = found
        return found

    def _resolve(self, oid: int, depth: int) -> ValueType:
        """Types that nest too deeply, or in themselves, are unknown from there on."""
        if oid in _SCALARS:
            name, kind = _SCALARS[oid]
            return ValueType(oid, kind, f"pg_catalog.{name}")
        if not depth:
            return _UNKNOWN
        if oid in _ARRAYS:
            element = self._resolve(_ARRAYS[oid], depth - 1)
            return ValueType(oid, Kind.ARRAY, element.name + "[]", element)
        if oid in _RANGES:
            name, inner = _RANGES[oid]
            return ValueType(oid, Kind.RANGE, f"pg_catalog.{name}", self._resolve(inner, depth - 1))
        if oid in _MULTIRANGES:
            name, inner = _MULTIRANGES[oid]
            return ValueType(oid, Kind.MULTIRANGE, f"pg_catalog.{name}", self._resolve(inner, depth - 1))
        return self._own(oid, depth)

    def _own(self, oid: int, depth: int) -> ValueType:
        """A type that is not built in."""
        info = self._catalog.types_by_oid.get(oid) if self._catalog is not None else None
        if info is None:
            return ValueType(oid, Kind.UNKNOWN, "")
        name = f"{info.schema}.{info.name}"
        if info.element:
            element = self._resolve(info.element, depth - 1)
            return ValueType(oid, Kind.ARRAY, name, element)
        if info.kind == "d" and info.base:
            base = self._resolve(info.base, depth - 1)
            return base._replace(oid=oid, name=name)
        if info.kind == "c":
            fields = tuple((field, self._resolve(inner, depth - 1)) for field, inner in info.fields)
            return ValueType(oid, Kind.COMPOSITE, name, None, fields)
        if info.kind == "e":
            return ValueType(oid, Kind.SCALAR, name)
        if info.kind == "r":
            return ValueType(oid, Kind.RANGE, name, _UNKNOWN)
        if info.kind == "m":
            return ValueType(oid, Kind.MULTIRANGE, name, ValueType(0, Kind.RANGE, "", _UNKNOWN))
        return ValueType(oid, _BY_NAME.get(info.name, Kind.UNKNOWN), name)
