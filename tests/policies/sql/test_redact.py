"""No password of a statement is left in its text, and the text stays the statement."""

from __future__ import annotations

import pgparse  # type: ignore[import-not-found]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.sql import analyse, redact_unparsed
from onrecord.policies.sql.redact import redact

SECRETS = [
    "create role x login password 'hunter2'",
    "alter role x with encrypted password 'hunter2' valid until '2030-01-01'",
    "alter role x password E'hunter2\\'more'",
    "alter role x password $$hunter2$$",
    "alter role x password $q$hunter2$q$",
    "alter role x password U&'hunter2'",
    "alter role x password 'hun'\n  'ter2'",
    "alter role x password/* 'no' */'hunter2'",
    "alter user x PASSWORD\n'hunter2'",
    "create user mapping for x server s options (user 'a', password 'hunter2')",
    "create user mapping for x server s options (user 'a', U&\"p\\0061ssword\" 'hunter2')",
    "alter user mapping for x server s options (set password 'hunter2')",
    "create server s foreign data wrapper w options (host 'h', passcode 'hunter2')",
    "create subscription s connection 'host=h password=hunter2' publication p",
    "alter subscription s connection 'host=h password=hunter2'",
    "select dblink_connect('host=h password=hunter2')",
    "select dblink('postgresql://u:hunter2@h/db', 'select 1')",
    "set app.password = 'hunter2'",
    "set app.api_token to 'hunter2'",
    "update users set password = 'hunter2' where id = 1",
    "do $$ begin alter role x password 'hunter2'; end $$",
    "do $$ begin execute 'alter role x password ''hunter2'''; end $$",
    "create function f() returns void language sql as $f$ alter role x password 'hunter2' $f$",
]


@pytest.mark.parametrize("sql", SECRETS)
def test_a_password_is_not_in_the_text(sql):
    text = analyse(sql).statements[0].text
    assert "hunter2" not in text
    assert "ter2" not in text
    assert "[redacted]" in text


@pytest.mark.parametrize("sql", SECRETS)
def test_a_redacted_text_is_still_the_same_kind_of_statement(sql):
    (before,) = pgparse.parse(sql)
    (after,) = pgparse.parse(redact(sql))
    assert list(before["stmt"]) == list(after["stmt"])


@pytest.mark.parametrize("sql", SECRETS)
def test_a_password_is_not_left_in_text_that_does_not_parse(sql):
    for broken in ("selec " + sql, sql + " ))", sql.replace("role", "rol")):
        assert "hunter2" not in redact_unparsed(broken)


def test_an_unterminated_password_is_blanked_to_the_end():
    assert redact_unparsed("alter role x password 'hunter2; select 1") == "alter role x password '[redacted]'"


@pytest.mark.parametrize(
    "sql", ["select 'a', 'b'", "select password from users where id = 'x'", "select 'server connection' from t"]
)
def test_what_is_no_secret_stays(sql):
    assert redact(sql) == sql


@given(st.text(max_size=80))
def test_any_text_can_be_redacted(text):
    redact_unparsed(text)
    redact(text)
