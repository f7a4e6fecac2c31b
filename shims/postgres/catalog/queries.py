# ruff: noqa: S608  # the texts are put together from constants
"""What is asked of the catalog: fixed texts, each answering one JSON value. PostgreSQL 13 to 18.

Arrays instead of objects keep the answers small; decode.py names their parts. Every name is qualified and the
connection's search_path is empty. No query needs a right on any table. Temporary schemas are left out: an object in
them exists for one session only.
"""

from __future__ import annotations

_SCHEMAS = (
    "n.nspname NOT IN ('pg_catalog', 'information_schema') "
    "AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp\\_%'"
)


def _own(oid: str) -> str:
    """Not PostgreSQL's own: outside its schemas, or put into them later (FirstNormalObjectId)."""
    return f"({_SCHEMAS} OR {oid} >= 16384 AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp\\_%')"


SCHEMAS = f"""
SELECT coalesce(pg_catalog.json_agg(n.nspname), '[]') FROM pg_catalog.pg_namespace n WHERE {_SCHEMAS}
"""

RELATIONS = f"""
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
    c.oid::pg_catalog.int8, n.nspname, c.relname, c.relkind, c.relrowsecurity)), '[]')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S', 'c') AND c.relpersistence <> 't' AND {_own("c.oid")}
"""

# What a generated column's expression refers to. In some versions the column depends on it, in others its pg_attrdef.
_MADE_OF = """CASE WHEN t.attgenerated <> '' THEN (
            SELECT pg_catalog.json_agg(DISTINCT d.refobjsubid) FROM pg_catalog.pg_depend d
            WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = t.attrelid
              AND d.refobjsubid > 0 AND d.refobjsubid <> t.attnum AND (
                d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = t.attrelid
                    AND d.objsubid = t.attnum
                OR d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid IN (
                    SELECT f.oid FROM pg_catalog.pg_attrdef f WHERE f.adrelid = t.attrelid AND f.adnum = t.attnum)))
        END"""

# Dropped columns and system columns are no columns of a row.
COLUMNS = f"""
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(a.attrelid, a.columns)), '[]') FROM (
    SELECT t.attrelid::pg_catalog.int8 AS attrelid, pg_catalog.json_agg(pg_catalog.json_build_array(
        t.attname, t.attnum, t.atttypid::pg_catalog.int8, {_MADE_OF}) ORDER BY t.attnum) AS columns
    FROM pg_catalog.pg_attribute t
    JOIN pg_catalog.pg_class c ON c.oid = t.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE t.attnum > 0 AND NOT t.attisdropped
      AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S', 'c') AND c.relpersistence <> 't' AND {_own("c.oid")}
    GROUP BY t.attrelid) a
"""

# All types, PostgreSQL's own too: columns are told by OID and named from here.
TYPES = """
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
    t.oid::pg_catalog.int8, n.nspname, t.typname, t.typtype,
    CASE WHEN t.typlen = -1 THEN t.typelem::pg_catalog.int8 ELSE 0 END,
    t.typbasetype::pg_catalog.int8, t.typrelid::pg_catalog.int8)), '[]')
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp\\_%'
"""

INHERITS = """
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
    i.inhrelid::pg_catalog.int8, i.inhparent::pg_catalog.int8) ORDER BY i.inhrelid, i.inhseqno), '[]')
FROM pg_catalog.pg_inherits i
"""

# Foreign keys: the table referred to, the one that refers, and whether its rows change with the other's.
REFERENCES = """
SELECT coalesce(pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_array(
    k.confrelid::pg_catalog.int8, k.conrelid::pg_catalog.int8,
    k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))), '[]')
FROM pg_catalog.pg_constraint k WHERE k.contype = 'f'
"""

# What rewrite rules refer to: the rule's relation, whether it is a view's own rule, and a relation or a function.
RULES = """
SELECT coalesce(pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_array(
    r.ev_class::pg_catalog.int8, r.rulename = '_RETURN',
    CASE d.refclassid WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN 'r' ELSE 'f' END,
    d.refobjid::pg_catalog.int8)), '[]')
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid >= 16384
  AND d.refclassid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass)
  AND NOT (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = r.ev_class)
"""

# Disabled triggers too: they can be enabled again.
TRIGGERS = """
SELECT coalesce(pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_array(
    t.tgrelid::pg_catalog.int8, n.nspname, p.proname)), '[]')
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE NOT t.tgisinternal
"""

FUNCTIONS = f"""
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
    p.oid::pg_catalog.int8, n.nspname, p.proname, p.provolatile, p.prosecdef, l.lanname, p.prokind,
    p.proargtypes::pg_catalog.oid[]::pg_catalog.int8[], p.prorettype::pg_catalog.int8, p.proretset,
    CASE WHEN l.lanname = 'sql' THEN p.prosrc ELSE '' END, p.proconfig,
    (SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
     WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
       AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e' LIMIT 1),
    (SELECT pg_catalog.json_agg(DISTINCT m.nspname || '.' || s.proname)
     FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc s ON s.oid IN (
         a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
         a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
     JOIN pg_catalog.pg_namespace m ON m.oid = s.pronamespace
     WHERE a.aggfnoid = p.oid))), '[]')
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE {_own("p.oid")}
"""

OPERATORS = f"""
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, o.oprname, m.nspname, p.proname)), '[]')
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
JOIN pg_catalog.pg_namespace m ON m.oid = p.pronamespace
WHERE {_own("o.oid")}
"""

CASTS = """
SELECT coalesce(pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_array(n.nspname, p.proname)), '[]')
FROM pg_catalog.pg_cast c
JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE c.oid >= 16384
"""

# For `onrecord check`: relations that the login may use, where it needs none.
USABLE = f"""
SELECT coalesce(pg_catalog.json_agg(x.name), '[]') FROM (
    SELECT n.nspname || '.' || c.relname AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND c.relpersistence <> 't' AND {_own("c.oid")}
      AND (pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
           OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE'))
    ORDER BY 1 LIMIT 4) x
"""

# PostgreSQL prints these texts from the stored trees and locks what they refer to (AccessShareLock): they are asked
# for behind the rest, with a short lock_timeout.
VIEWS = f"""
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
    c.oid::pg_catalog.int8, coalesce(pg_catalog.pg_get_viewdef(c.oid), ''))), '[]')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND {_own("c.oid")}
"""
VIEW = "SELECT coalesce(pg_catalog.pg_get_viewdef(CAST(:oid AS pg_catalog.oid)), '')"

# BEGIN ATOMIC: PostgreSQL 14 and later.
BODIES = f"""
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
    p.oid::pg_catalog.int8, coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), ''))), '[]')
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosqlbody IS NOT NULL AND {_own("p.oid")}
"""
BODIES_SINCE = 140000

FACTS = {
    "schemas": SCHEMAS,
    "relations": RELATIONS,
    "columns": COLUMNS,
    "types": TYPES,
    "inherits": INHERITS,
    "references": REFERENCES,
    "rules": RULES,
    "triggers": TRIGGERS,
    "functions": FUNCTIONS,
    "operators": OPERATORS,
    "casts": CASTS,
}
