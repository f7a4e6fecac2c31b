"""Secrets that stand away from the name that tells."""

from __future__ import annotations

import pgparse  # type: ignore[import-not-found]
import pytest

from onrecord.policies.sql import analyse
from onrecord.policies.sql.secret_literals import secret_literals

SECRETS = [
    "insert into users (name, password) values ('bob', 'hunter2')",
    "insert into users (name, password, x) values ('bob', crypt('hunter2', 'x'), 1), ('al', md5('hunter2'), 2)",
    "insert into users (name, password) select 'bob', 'hunter2'",
    "update users set (name, password) = ('bob', 'hunter2')",
    "update users set password = crypt('hunter2', gen_salt('bf'))",
    "update users set password = md5('hunter2' || salt)",
    "select * from users where password = md5('hunter2')",
    "select * from users where md5('hunter2') = password",
    "select * from users where 'hunter2' = password",
    "select * from users where password in ('hunter2')",
    "select * from users where password like 'hunter2'",
    "select * from users where password is distinct from 'hunter2'",
    "select set_config('app.token', 'hunter2', false)",
    "select set_config('app.'||'token', 'hunter2', false)",
    "select pgp_sym_decrypt(secret, 'hunter2') from t",
    "select pgp_sym_encrypt('data', 'hunter2')",
    "select aws_commons.create_aws_credentials('AKIA', 'hunter2', '')",
    "select dblink_connect('host=h user=u ' || 'password=' || 'hunter2')",
    "select dblink_connect(e'host=h pass\\x77ord=hunter2')",
    "select dblink_connect(u&'host=h pass\\0077ord=hunter2')",
    "do $$begin execute format('alter role x password %L', 'hunter2'); end$$",
    "do $$declare pw text := 'hunter2'; begin execute format('alter role x password %L', pw); end$$",
    "set app.token to hunter2",
    'set "app.token" = hunter2',
    "prepare p as insert into users (password) values ('hunter2')",
    "select check_password('bob', 'hunter2')",
    "select json_build_object('password', 'hunter2')",
    "insert into config (key, value) values ('smtp_password', 'hunter2')",
    'select \'{"password": "hunter2"}\'::jsonb',
    "merge into users u using v on u.id = v.id when not matched then insert (id, password) values (1, 'hunter2')",
    "select 'hunter2' as password",
    "select x from users where (name, password) = ('bob', 'hunter2')",
    "explain insert into users (password) values ('hunter2')",
    "alter table users alter password set default 'hunter2'",
    "create table users (password text default 'hunter2')",
    'insert into "Users" ("Api Key") values (\'hunter2\')',
    "with x as (insert into users (password) values (N'hunter2')) select 1",
    "insert into users (password) values ($x$hunter2$x$)",
]


@pytest.mark.parametrize("sql", SECRETS)
@pytest.mark.parametrize("before", ["", "select 1; -- é\n "])
def test_a_secret_is_found_by_the_name_of_its_column_or_function(before, sql):
    text = analyse(before + sql).statements[-1].text
    assert "hunter2" not in text
    assert "[redacted]" in text


@pytest.mark.parametrize(
    "sql",
    [
        "insert into users (name, password) values ('bob', null)",
        "select 'bob', password from users where name = 'al'",
        "select token_count from t where name = 'x' and kind = 'password'",
        "update users set name = 'bob' where password is null",
    ],
)
def test_other_constants_stay(sql):
    names = [word for word in ("bob", "al", "x") if f"'{word}'" in sql]
    text = analyse(sql).statements[0].text
    assert all(f"'{name}'" in text for name in names)


def test_locations_are_those_of_the_constants():
    sql = "insert into users (name, password) values ('bob', 'x')"
    (raw,) = pgparse.parse(sql)
    assert secret_literals(raw["stmt"]) == ({sql.index("'x'")}, set())


@pytest.mark.parametrize(
    ("sql", "secret"),
    [
        ("INSERT INTO users (name, password) VALUES ($1, $2)", (2,)),
        ("INSERT INTO users (name, password) VALUES ($1, $2::text), ($3, $4)", (2, 4)),
        ("UPDATE users SET password = crypt($1, gen_salt($2)) WHERE id = $3", (1, 2)),
        ("SELECT name FROM users WHERE api_token = $1", (1,)),
        ("SELECT name FROM users WHERE id = $1", ()),
    ],
)
def test_parameters_of_secret_columns_are_known_by_number(sql, secret):
    (statement,) = analyse(sql).statements
    assert statement.secret_parameters == secret
