"""policies/config/reading.py: the file is read whole, and all that is wrong with it is said at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.config import load_config
from onrecord.policies.errors import ConfigError
from tests.policies.config.loading import GATEWAY, HTTP, load, one_problem, problems


def test_all_problems_come_at_once_with_their_path_reason_and_fix(tmp_path):
    text = """
surprise = 1
[gateway]
http = "127.0.0.1"
workers = "two"
egres = "deny"
[recordings]
body_limit = "big"
[[issuers]]
audience = "onrecord"
[[policies]]
file = "absent.py"
resources = ["ghost"]
[resources.orders]
type = "postgres"
upstream = "orders:5432"
groups = []
"""
    found = problems(tmp_path, text)
    assert "resources.orders.upstream: not a postgres:// URL: 'orders:5432' (write \"postgresql://user@" in "\n".join(
        found
    )
    assert {line.split(": ")[0] for line in found} == {
        "surprise",
        "gateway.http",
        "gateway.workers",
        "gateway.egres",
        "recordings.body_limit",
        "issuers[0].issuer",
        "policies[0].file",
        "policies[0].resources",
        "resources.orders.upstream",
        "resources.orders.groups",
    }
    assert any("did you mean egress?" in line for line in found)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="a folder"):
        load_config(tmp_path)


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path):
    (tmp_path / "mitm.toml").write_bytes(b"[gateway]\n# \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8 text at line 2"):
        load_config(tmp_path / "mitm.toml")


def test_a_file_that_is_too_large_is_refused(tmp_path):
    (tmp_path / "mitm.toml").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="over 1048576 bytes"):
        load_config(tmp_path / "mitm.toml")


@pytest.mark.parametrize(
    "text",
    [
        GATEWAY + 'state = "a\\u0000b"\n',
        GATEWAY + HTTP + 'ca = "file:a\\u0000b"\n',
        GATEWAY + '[[policies]]\nfile = "a\\u0000b"\n',
        GATEWAY + HTTP.replace("billing]", '"a\\u0000b"]'),
    ],
)
def test_a_nul_character_is_refused_wherever_it_stands(tmp_path, text):
    assert "NUL" in one_problem(tmp_path, text)


def test_what_is_no_toml_is_refused_with_its_line(tmp_path):
    assert "not TOML" in one_problem(tmp_path, "[gateway]\nhttp = \n")
    assert "line 2" in one_problem(tmp_path, "[gateway]\nhttp = \n")
    assert "not TOML" in one_problem(tmp_path, "a = " + "[" * 5000)
    assert "overwrite" in one_problem(tmp_path, "[gateway]\nstate = 'a'\nstate = 'b'\n")


def test_an_empty_file_says_what_is_missing(tmp_path):
    assert "gateway: no listener" in one_problem(tmp_path, "")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("gateway = 1", "gateway: not a table"),
        ("issuers = {}", "issuers: not a list of tables"),
        ("policies = ['a']", "policies: not a list of tables"),
        ("resources = []", "resources: not a table"),
        ("resources.x = 1", "resources.x: not a table"),
        ("gateway.tls = true", "gateway.tls: expected"),
        (
            "issuers = 3\n[recordings]\ndurability = 'none'",
            'recordings.durability: no such choice: \'none\' (one of "process", "power")',
        ),
    ],
)
def test_a_wrong_shape_is_a_problem_and_no_crash(tmp_path, text, where):
    assert any(line.lower().startswith(where.lower()) for line in problems(tmp_path, text)), problems(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("http = 8080", "http: expected text, got a whole number"),
        ("workers = 0", "workers: expected a whole number >= 1"),
        ("tls = true", "tls: expected a table, got true or false"),
        ("stale_policy = true", "stale_policy: expected a number or text, got true or false"),
        ("egress = 1.5", "egress: expected text, got a number"),
    ],
)
def test_wrong_types_are_said_in_plain_words(tmp_path, line, text):
    rest = GATEWAY if not line.startswith("http") else "[gateway]\n"
    assert one_problem(tmp_path, rest + line) == f"gateway.{text}"


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    config = load(tmp_path, GATEWAY)
    assert config.gateway.state == tmp_path / "state"
    assert config.recordings.store == tmp_path / "state" / "recordings.db"
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("mitm.toml")).path == tmp_path / "mitm.toml"


toml_values = st.recursive(
    st.booleans()
    | st.integers(-5, 10**6)
    | st.text(st.characters(categories=["L", "N"], max_codepoint=0x17F), max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
KEYS = ["http", "state", "mode", "observe_until", "tls", "workers", "policy_timeout", "egress"]
RESOURCE_KEYS = [
    "type",
    "hosts",
    "groups",
    "upstream",
    "headers",
    "bearer",
    "password",
    "ca",
    "client_key",
    "plaintext",
]


def toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


@given(
    gateway=st.dictionaries(st.sampled_from(KEYS), toml_values),
    resource=st.dictionaries(st.sampled_from(RESOURCE_KEYS), toml_values),
    kind=st.sampled_from(["http", "postgres", "kubernetes", "ssh"]),
)
def test_any_values_give_a_configuration_or_problems(tmp_path_factory, gateway, resource, kind):
    lines = ["[gateway]", *(f"{key} = {toml(value)}" for key, value in gateway.items()), "[resources.x]"]
    lines += [f"{key} = {toml(value)}" for key, value in ({"type": kind} | resource).items()]
    problems(tmp_path_factory.getbasetemp(), "\n".join(lines))


@given(text=st.text(max_size=80))
def test_junk_raises_only_a_config_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "junk.toml"
    path.write_bytes(b"junk = 1\n" + text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError):
        load_config(path)


def test_no_secret_in_clear_is_ever_echoed(tmp_path):
    secret = "hunter2-Zx9"
    text = (
        GATEWAY
        + HTTP
        + f'bearer = "{secret}"\nbasic = "u:{secret}"\nupstream = "https://u:{secret}@h:1"\nclient_key = "{secret}"\n'
        + f'headers = {{ Authorization = "Bearer {secret}", X-Api-Key = "{secret}", X-Plain = "Bearer {secret}" }}\n'
        + f'[resources.orders]\ntype = "postgres"\ngroups = ["a"]\npassword = "{secret}"\n'
        + f'upstream = "postgresql://svc:{secret}@h/db"\n'
        + f'[resources.two]\ntype = "postgres"\ngroups = ["a"]\nupstream = "postgresql://svc@h/db?password={secret}"\n'
        + f'[resources.three]\ntype = "postgres"\ngroups = ["a"]\nupstream = "svc:{secret}@h/db"\n'
        + f'[resources.four]\ntype = "kubernetes"\ngroups = ["a"]\ntoken = "{secret}"\n'
        + f'[resources.five]\ntype = "ssh"\ngroups = ["a"]\nkey = "{secret}"\n'
        + f'[[issuers]]\nissuer = "https://u:{secret}@idp"\naudience = "x"\n'
    )
    found = problems(tmp_path, text)
    assert secret not in "\n".join(found)
    where = {line.split(": ")[0] for line in found}
    for key in (
        "billing.bearer", "billing.basic", "billing.upstream", "billing.client_key", "billing.headers.Authorization",
        "billing.headers.X-Api-Key", "billing.headers.X-Plain", "orders.password", "orders.upstream", "two.upstream",
        "three.upstream", "four.token", "five.key",
    ):  # fmt: skip
        assert f"resources.{key}" in where, found
    assert "issuers[0].issuer" in where
