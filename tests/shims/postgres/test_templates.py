"""Templates of a session: when they are made again, what is uncertain, what masks say, cursors and EXECUTE."""

from __future__ import annotations

import dataclasses
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from onrecord.policies.sql import Statement
from onrecord.policies.sql.catalog import Catalog, CatalogColumn, Relation
from onrecord.policies.verdict import Deny
from onrecord.shims.postgres import state
from onrecord.shims.postgres.commands import Prepared, Template
from onrecord.shims.postgres.templates import Miss, Templates, prepared_by
from tests.shims.postgres.test_commands import SESSION

COLUMNS = (CatalogColumn("id", 1, 23, "pg_catalog.int4"), CatalogColumn("email", 2, 25, "pg_catalog.text"))


def relation(name: str, oid: int = 16384, **more: Any) -> Relation:
    options: dict[str, Any] = {"schema": "public", "kind": "r", "columns": COLUMNS}
    return Relation(oid=oid, name=name, **(options | more))


def view(name: str, text: str, reads: str) -> Relation:
    return relation(name, 20000, kind="v", definition=text, reads=(reads,))


class Source:
    """In the place of a CatalogSource."""

    def __init__(self) -> None:
        self.unsettled: Counter[str] = Counter()
        self.unsettled_version = 0
        self.again = False

    def may_look_again(self) -> bool:
        return self.again

    def announce(self, names: Any) -> None: ...

    def withdraw(self, names: Any) -> None: ...

    def changed(self) -> None: ...

    def may_have_changed(self) -> None: ...


CATALOG = Catalog(relations=(relation("customers"),))


def made(catalog: Catalog | None = CATALOG, *, masked: bool = False) -> tuple[Templates, Source]:
    source = Source()
    templates = Templates(SESSION, "svc", cast(Any, source))
    templates.catalog = catalog
    if masked:
        templates.masking = cast(
            Any, SimpleNamespace(may_hit=lambda source: source.endswith((".email", ".*")), traces=True, idle=False)
        )
    return templates, source


def one(templates: Templates, text: str) -> Template:
    (template,) = templates.of(text)
    return template


def test_a_template_is_kept_until_the_catalog_changes():
    templates, _ = made()
    first = one(templates, "SELECT id FROM customers")
    assert one(templates, "SELECT id FROM customers") is first
    templates.catalog = Catalog(
        relations=(view("customers", "SELECT id, email FROM public.secrets", "public.secrets"),)
    )
    assert "secrets" in one(templates, "SELECT id FROM customers").command.tables_read
    assert "secrets" in templates.again(first).command.tables_read


def test_without_a_readable_catalog_tables_are_unknown_and_built_ins_are_not():
    templates, _ = made(None)
    template = one(templates, "SELECT id FROM customers")
    assert template.command.action == "unknown"
    assert "the catalog cannot be read" in template.reasons[0]
    assert one(templates, "SELECT now()").command.action == "read"
    assert one(templates, "SELECT relname FROM pg_catalog.pg_class").command.action == "read"


def test_with_the_catalog_off_names_are_taken_as_they_stand():
    templates = Templates(SESSION, "svc")
    assert one(templates, "SELECT id FROM customers").command.action == "read"


def test_an_unknown_name_is_looked_for_once():
    templates, _ = made()
    for _ in range(2):
        templates.patient, templates.looked = True, False
        with pytest.raises(Miss):
            templates.of("SELECT * FROM later")
        templates.patient = False
        assert one(templates, "SELECT * FROM later").command.action == "unknown"  # the catalog could not be read again
        templates.looked = True
        assert one(templates, "SELECT * FROM later").command.action == "read"  # the server will say it is not there


def test_a_name_that_no_catalog_shows_is_unknown_where_the_session_may_have_made_it():
    for made_by in ("CREATE TEMP TABLE anything (id int)", "SELECT nowhere_known()", "SET search_path = pg_temp"):
        templates, _ = made()
        templates.patient, templates.looked = False, True
        templates.state.sending(one(templates, made_by).statements, 0)
        assert one(templates, "SELECT * FROM later").command.action == "unknown", made_by


def test_a_name_that_another_session_changes_is_waited_for_and_then_unknown():
    templates, source = made()
    source.unsettled["customers"] = 1
    source.unsettled_version = 1
    with pytest.raises(Miss):
        templates.of("SELECT id FROM customers")
    templates.patient = False
    assert "another session" in one(templates, "SELECT id FROM customers").reasons[0]


def test_a_filter_by_a_masked_column_gets_a_ruling_and_a_plain_read_a_lineage():
    templates, _ = made(masked=True)
    plain = one(templates, "SELECT id, email FROM customers")
    assert plain.ruling is None
    assert plain.lineage is not None
    assert [output.name for output in plain.lineage.outputs or ()] == ["id", "email"]
    filtered = one(templates, "SELECT id FROM customers WHERE email = 'x'")
    assert filtered.ruling is not None
    assert isinstance(filtered.ruling.verdict, Deny)
    assert "public.customers.email" in filtered.ruling.verdict.reason


def test_without_masks_nothing_is_traced():
    templates, _ = made()
    assert one(templates, "SELECT email FROM customers").lineage is None


def test_execute_has_the_lineage_and_the_ruling_of_what_it_runs():
    templates, _ = made(masked=True)
    prepared = Prepared(prepared_by(one(templates, "PREPARE p AS SELECT email FROM customers")))
    resolved = templates.executing(one(templates, "EXECUTE p"), prepared)
    assert resolved.ruling is None
    assert resolved.lineage is not None
    (output,) = resolved.lineage.outputs or ()
    assert "public.customers.email" in output.sources
    kept = templates.executing(one(templates, "CREATE TABLE copy AS EXECUTE p"), prepared)
    assert kept.ruling is not None
    assert isinstance(kept.ruling.verdict, Deny)
    filtered = Prepared(prepared_by(one(templates, "PREPARE q AS SELECT id FROM customers ORDER BY email")))
    assert templates.executing(one(templates, "EXECUTE q"), filtered).ruling is not None


def test_fetch_has_the_lineage_of_its_cursor_and_none_that_is_sure_without_it():
    templates, _ = made(masked=True)
    declared = one(templates, "DECLARE c CURSOR FOR SELECT email FROM customers")
    fetch = one(templates, "FETCH 10 FROM c")
    assert (declared.declares, fetch.fetches) == ("c", "c")
    resolved = templates.executing(fetch, Prepared(declared))
    assert resolved.lineage is not None
    (output,) = resolved.lineage.outputs or ()
    assert "public.customers.email" in output.sources
    assert (resolved.command.kind, "customers" in resolved.command.tables_read) == ("FETCH", True)
    unknown = templates.executing(fetch, None)
    assert unknown.lineage is not None
    assert unknown.lineage.outputs is None


def test_with_masks_a_setting_that_changes_how_sql_reads_is_refused():
    templates, _ = made(masked=True)
    assert one(templates, "SET standard_conforming_strings = off").refusal is not None
    plain, _ = made()
    assert one(plain, "SET standard_conforming_strings = off").refusal is None
    assert one(plain, "SET standard_conforming_strings = off").command.action == "unknown"


def test_after_such_a_setting_everything_is_unknown_and_unsure():
    templates, _ = made(masked=True)
    templates.state.reported("standard_conforming_strings")
    template = one(templates, "SELECT id FROM customers")
    assert template.command.action == "unknown"
    assert template.lineage is not None
    assert template.lineage.outputs is None


def test_a_path_that_a_text_sets_holds_for_its_own_next_statements():
    catalog = Catalog(relations=(relation("t"), relation("t", 17000, schema="other")), schemas=("public", "other"))
    templates, _ = made(catalog)
    _, read = templates.of("SET search_path = other; SELECT id FROM t")
    assert "other.t" in read.command.tables_read


def test_text_that_does_not_parse_is_the_servers_to_report_where_unknown_commands_may_pass():
    templates, _ = made()
    assert one(templates, "SELEKT 1").refusal is not None
    session = msgspec.structs.replace(SESSION, resource=msgspec.structs.replace(SESSION.resource, unknown="allow"))
    open_to_all = Templates(session, "svc")
    found = one(open_to_all, "SELEKT 1")
    assert (found.refusal, found.command.action) == (None, "unknown")
    open_to_all.state.sending(found.statements, 0)
    assert one(open_to_all, "SELECT 1").command.action == "unknown"  # whatever it did, it may have been a SET


def test_a_text_of_many_statements_is_looked_at_once_each(monkeypatch: pytest.MonkeyPatch):
    looked = 0
    real = state.altering_setting

    def counted(statement: Statement) -> str:
        nonlocal looked
        looked += 1
        return real(statement)

    monkeypatch.setattr(state, "altering_setting", counted)
    count = 500
    templates, _ = made()
    assert len(templates.of("SELECT 1;" * count)) == count
    assert looked <= 3 * count, "not all those before it for each"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT name FROM customers WHERE id = {};",
        "  SELECT name FROM customers WHERE id = {} LIMIT {}  ",
        "SELECT lower(name) FROM customers WHERE id > {}",
        "INSERT INTO customers VALUES ({}, {})",
        "UPDATE customers SET id = {}",
        "SELECT {}; SELECT {}",
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_texts_that_differ_in_integers_have_the_templates_that_each_would_have_alone(text: str, masked: bool):
    together, _ = made(masked=masked)
    for number in ("1", "22", "333333333"):
        alone, _ = made(masked=masked)
        filled = text.replace("{}", number)
        for of_many, of_one in zip(together.of(filled), alone.of(filled), strict=True):
            fields = [field.name for field in dataclasses.fields(Template) if field.name != "stamp"]
            assert {name: getattr(of_many, name) for name in fields} == {name: getattr(of_one, name) for name in fields}
            assert together.again(of_many) is of_many


def test_a_name_that_changes_ends_what_texts_of_one_shape_share():
    templates, _ = made()
    assert one(templates, "SELECT name FROM customers WHERE id = 1").command.action == "read"
    templates.state._touched.add("customers")
    templates.state.version += 1
    assert one(templates, "SELECT name FROM customers WHERE id = 2").command.action == "unknown"
