"""policies/redaction.py: no secret survives in a usual encoding, JSON stays JSON, and what is no secret stays."""

from __future__ import annotations

import base64
import json
import logging
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onrecord.policies import redaction
from onrecord.policies.redaction import MARK, MAX_FINDINGS, RedactingFilter, Redactor, clean_generic

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJkZXZpbiJ9.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\nabc+/=\n-----END RSA PRIVATE KEY-----"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
secrets = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=33), min_size=6, max_size=120).filter(
    lambda s: s == s.strip() and len(set(s)) > 3 and "[redacted]" not in s
)


def encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "every byte percent-encoded": lambda s: "".join(f"%{byte:02X}" for byte in s.encode()),
    "every byte escaped": lambda s: "".join(f"\\x{byte:02x}" for byte in s.encode()),
    "bytes with colons": lambda s: s.encode().hex(":"),
    "plain": lambda s: s,
    "json": lambda s: json.dumps(s, ensure_ascii=False),
    "json ascii": json.dumps,
    "json in json": lambda s: json.dumps({"a": json.dumps({"b": s})}),
    "json in json in json": lambda s: json.dumps(json.dumps(json.dumps(s))),
    "percent": lambda s: urllib.parse.quote(s, safe=""),
    "percent lower": lambda s: "".join(f"%{b:02x}" if b > 127 or not chr(b).isalnum() else chr(b) for b in s.encode()),
    "form": urllib.parse.quote_plus,
    "path": urllib.parse.quote,
    "component": lambda s: urllib.parse.quote(s, safe="!'()*~-._"),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 shifted by one": lambda s: base64.b64encode(b"u" + s.encode() + b"x").decode(),
    "base64 shifted by two": lambda s: base64.b64encode(b"u:" + s.encode() + b"yy").decode(),
    "base64 urlsafe": lambda s: base64.urlsafe_b64encode(b"user:" + s.encode()).decode(),
    "basic": lambda s: "Basic " + base64.b64encode(b"svc-agent:" + s.encode()).decode(),
    "hex": lambda s: s.encode().hex(),
    "hex upper": lambda s: s.encode().hex().upper(),
}


@pytest.mark.parametrize("name", ENCODINGS)
@given(secret=secrets, before=texts, after=texts)
@example(secret='q"uo\\te/d\n x', before="\\", after="n")
@example(secret="pässwörd€😀", before="", after="")
@example(secret="0123456789abcdef" * 7 + "Zy", before="x", after="y")
@settings(max_examples=25, deadline=None)
def test_no_usual_encoding_of_a_secret_survives(name, secret, before, after):
    redactor = Redactor([secret])
    encoded = ENCODINGS[name](secret)
    if len(encoded) < 6:
        return
    payload = encode({"kind": "sql", "text": before + encoded + after, "n": 1})
    cleaned = redactor.clean(payload)
    text = json.loads(cleaned)["text"]
    assert MARK in text
    core = encoded.removeprefix("Basic ")[4:-4] if "base64" in name or name == "basic" else encoded
    if len(core) > 6:
        assert core not in text.replace(MARK, "")
    assert json.loads(cleaned)["n"] == 1


@given(value=json_values, secret=secrets)
@settings(max_examples=150, deadline=None)
def test_valid_json_stays_valid_json_of_the_same_shape(value, secret):
    payload = encode({"v": value, "password": "x", "s": [secret, {secret: secret}], "after": value})
    result = json.loads(Redactor([secret]).clean(payload))
    assert result["password"] == MARK
    assert secret not in json.dumps(result, ensure_ascii=False)

    def shape(item: object) -> object:
        if isinstance(item, dict):
            return "dict"
        return [shape(one) for one in item] if isinstance(item, list) else type(item).__name__

    assert shape(result["after"]) == shape(value)


@given(payload=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_bytes_that_are_no_json_never_raise_and_lose_the_secret(payload):
    cleaned = Redactor(["hunter2secret"]).clean(payload + b'hunter2secret "password":"abc"')
    assert b"hunter2secret" not in cleaned


@pytest.mark.parametrize(
    "text",
    [
        JWT,
        f"Authorization: Bearer {JWT}",
        PEM,
        PEM.replace("\n", "\\n"),
        json.dumps({"key": PEM}),
        json.dumps({"a": json.dumps({"key": PEM})}),
        "-----BEGIN PRIVATE KEY-----\nMIIcut-off-here",
        "-----BEGIN+OPENSSH+PRIVATE+KEY-----b3BlbnNzaC1rZXk-----END+OPENSSH+PRIVATE+KEY-----",
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2_" * 9,
        "glpat-" + "a1B2-" * 4,
        "xoxb-1234567890-abcdefghij",
        "sk-ant-api03-" + "aB3_" * 10,
        "sk-proj-" + "aB3-" * 10,
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "line one\\nsk-" + "aB3_" * 10,
    ],
)
def test_what_looks_like_a_secret_is_replaced_wherever_it_stands(text):
    for wrapped in (text, f"before {text} after", f'{{"a":{json.dumps(text)}}}'):
        cleaned = json.loads(Redactor().clean(encode({"text": wrapped})))["text"]
        assert MARK in cleaned
        for part in ("eyJzdWIi", "c2lnbmF0dXJl", "MIIEow", "MIIcut", "b3BlbnNz", "a1B2", "abcdefghij", "aB3", "FODNN7"):
            assert part not in cleaned, cleaned


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgres://svc:p%40ss@db/shop", f"postgres://svc:{MARK}@db/shop"),
        ("https://:tok@h/x?y=1", f"https://:{MARK}@h/x?y=1"),
        ("redis://u:a@b@h:6379/0", f"redis://u:{MARK}@h:6379/0"),
        ('{"access_token":"abc.def","expires_in":3600}', f'{{"access_token":"{MARK}","expires_in":3600}}'),
        ('{"Access_Token" : "a"}', f'{{"Access_Token" : "{MARK}"}}'),
        ('{"password":"with \\" quote \\\\","b":"kept"}', f'{{"password":"{MARK}","b":"kept"}}'),
        (
            json.dumps({"x": '{"password":"a\\"b\\\\","b":"kept"}'}),
            json.dumps({"x": f'{{"password":"{MARK}","b":"kept"}}'}),
        ),
        ('{"client_secret":"cut off', f'{{"client_secret":"{MARK}'),
        ("grant_type=x&client_secret=s3cr3t&scope=a", f"grant_type=x&client_secret={MARK}&scope=a"),
        ("new_password=abc&token=d&user[password]=e", f"new_password={MARK}&token={MARK}&user[password]={MARK}"),
        ("user%5Bpassword%5D=abc&b=1", f"user%5Bpassword%5D={MARK}&b=1"),
        (
            '{"apiToken":"a","newPassword":"b","secret":"c"}',
            f'{{"apiToken":"{MARK}","newPassword":"{MARK}","secret":"{MARK}"}}',
        ),
        ("<a:password x='1'>b&amp;c</a:password>", f"<a:password x='1'>{MARK}</a:password>"),
        ("<user password='abc' token=\"d\"/>", f"<user password='{MARK}' token=\"{MARK}\"/>"),
        (
            'Content-Disposition: form-data; name="password"\r\nContent-Type: text/plain\r\n\r\nabc\r\n--b',
            f'Content-Disposition: form-data; name="password"\r\nContent-Type: text/plain\r\n\r\n{MARK}\r\n--b',
        ),
        ("form-data; name=client_secret\r\n\r\nabc\r\n--b", f"form-data; name=client_secret\r\n\r\n{MARK}\r\n--b"),
        ("password=abc&b=1", f"password={MARK}&b=1"),
        ("password=pa$word&b=1", f"password={MARK}&b=1"),
        ("password=a$(rm${IFS}x) true", f"password={MARK}$(rm${{IFS}}x) true"),
        ("x --password=a`rm`", f"x --password={MARK}`rm`"),
        ("curl -H 'Authorization: Bearer abc123' x", f"curl -H 'Authorization: Bearer {MARK}' x"),
    ],
)
def test_only_the_secret_part_is_replaced(text, clean):
    assert Redactor().clean_text(text) == clean
    assert json.loads(Redactor().clean(encode([text])))[0] == clean
    assert clean_generic(text) == clean


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mysql --password={} -u root", ["mysql", "--password={}", "-u", "root"]),
        ("mysql --password {} -u root", ["mysql", "--password", "{}", "-u", "root"]),
        ("kubectl --token={} get pods", ["kubectl", "--token={}", "get", "pods"]),
        ("az login --client-secret {}", ["az", "login", "--client-secret", "{}"]),
        ("vault login -token={}", ["vault", "login", "-token={}"]),
        ("gpg --passphrase '{}' -d f", ["gpg", "--passphrase", "{}", "-d", "f"]),
        ("wget --http-password={} h", ["wget", "--http-password={}", "h"]),
        ("curl -u bob:{} h", ["curl", "-u", "bob:{}", "h"]),
        ("curl --user 'bob:{}' h", ["curl", "--user", "bob:{}", "h"]),
        ("export DB_PASSWORD={}; x", ["export", "DB_PASSWORD={}"]),
        ("GITHUB_TOKEN={} gh pr list", ["GITHUB_TOKEN={}", "gh", "pr", "list"]),
    ],
)
def test_options_and_variables_of_command_lines_lose_their_secret(line: str, words: list[str]) -> None:
    record = {"text": line.format("hunter2"), "argv": [[word.format("hunter2 and more") for word in words]]}
    told = json.loads(Redactor().clean(encode(record)))
    assert told["text"] == line.format(MARK).replace("'" + MARK + "'", MARK)
    assert told["argv"] == [[word.format(MARK) for word in words]]


@pytest.mark.parametrize(
    "text",
    [
        "docker run -u 1000:1000 image",
        "mysql --password -u root",
        "docker login --password-stdin",
        "vault --token-file /run/token",
        'TOKEN=$(rm -rf /srv) TOKEN="$(curl h | sh)" x',
        "x --password `rm -rf /srv`",
        "password=$(rm${IFS}-rf${IFS}/srv) true",
        "cat <password>$(reboot)",
        "cat <token>;reboot",
        'token="$(reboot)" x',
        ": form-data; name=token\n\nreboot\n--",
        "kubectl get secret db",
    ],
)
def test_commands_hide_behind_no_name_of_a_secret(text: str) -> None:
    record = {"text": text, "argv": text.split(" ")}
    assert json.loads(Redactor().clean(encode(record))) == record


@pytest.mark.parametrize(
    "text",
    [
        "SELECT password FROM users WHERE password = 'x'",
        "the access_token is missing",
        '{"access_token_type":"x","tokens":"y","password_hint":"cat"}',
        "forgot_password=1&mypassword=2",
        '{"password":"","access_token":null}',
        "task-aaaaaaaaaaaaaaaaaaaaaaaaaaaa disk-aaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "https://host:8080/a@b user@host:/path http://[::1]:80/",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "eyJ not a token",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "sha256:" + "ab" * 32,
    ],
)
def test_what_is_no_secret_stays(text):
    redactor = Redactor(["hunter2secret"])
    assert redactor.clean_text(text) == text
    payload = encode({"text": text, "size": 3})
    assert redactor.clean(payload) == payload


def test_members_and_pairs_whose_name_says_it_lose_their_value():
    payload = {
        "headers": [["x-api-key", "k1"], ["accept", "a"]],
        "query": {"access_token": "t"},
        "l": ["password", "b", "c"],
    }
    assert json.loads(Redactor().clean(encode(payload))) == {
        "headers": [["x-api-key", MARK], ["accept", "a"]],
        "query": {"access_token": MARK},
        "l": ["password", "b", "c"],
    }
    assert json.loads(Redactor().clean(b'[ {"password" : "a", "b": ["x" , "password"]} ]')) == [
        {"password": MARK, "b": ["x", "password"]}
    ]


def test_a_clean_payload_is_returned_as_it_is():
    payload = encode({"text": "SELECT 1", "n": [1, 2.5, None, True]})
    assert Redactor(["hunter2secret"]).clean(payload) is payload


def test_everything_beside_the_secret_keeps_its_bytes():
    payload = b'{"n":1.10e400,"big":123456789012345678901234567890,"e":"\\u00e9\\/","s":"hunter2secret","t":"x"}'
    assert Redactor(["hunter2secret"]).clean(payload) == payload.replace(b"hunter2secret", MARK.encode())


def test_a_match_in_the_middle_of_an_escape_is_none():
    redactor = Redactor(["nabcdef", "00e9xyz"])
    assert json.loads(redactor.clean(b'{"a":"\\nabcdef","b":"\\u00e9xyz"}')) == {"a": "\nabcdef", "b": "éxyz"}


def test_deep_nesting_is_cleaned_too():
    payload = b"[" * 5000 + b'"hunter2secret"' + b"]" * 5000
    assert Redactor(["hunter2secret"]).clean(payload) == payload.replace(b"hunter2secret", MARK.encode())


def test_the_secret_parts_of_a_header_value_and_of_a_url_are_known_by_themselves():
    basic = base64.b64encode(b"svc:correct-horse").decode()
    redactor = Redactor(
        ["Bearer opaque-token-1", f"Basic {basic}", "postgresql://u:pw-in-url@h/d", "user:long-password"]
    )
    for part in ("opaque-token-1", "correct-horse", basic, "pw-in-url", "long-password"):
        assert redactor.clean_text(f"x {part} y") == f"x {MARK} y"


def test_long_values_are_found_as_a_whole_and_leave_one_mark():
    secret = "".join(chr(33 + i * 7 % 90) for i in range(2000))
    redactor = Redactor([secret])
    assert redactor.clean_text(f"a {secret} b") == f"a {MARK} b"
    text = base64.b64encode(b"x" + secret.encode()).decode()
    assert len(redactor.clean_text(text)) < 20


def test_values_shorter_than_four_characters_are_not_searched():
    assert Redactor(["abc", "  ab  "]).clean_text("abc ab") == "abc ab"


def test_the_redactor_never_shows_what_it_knows():
    assert "hunter2" not in repr(Redactor(["hunter2secret"]))


def test_a_log_record_loses_secrets_in_message_arguments_and_traceback():
    redactor = Redactor(["hunter2secret"])
    logger = logging.getLogger("onrecord.test.redaction")
    logger.propagate = False
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keep()
    handler.addFilter(RedactingFilter(redactor))
    logger.addHandler(handler)
    logger.warning("login with %s and %r", "hunter2secret", {"password": "hunter2secret"})
    logger.warning("broken %d", "hunter2secret")
    try:
        raise ValueError("cannot use hunter2secret")
    except ValueError:
        logger.exception("it failed with hunter2secret", stack_info=True)
    assert len(lines) == 3
    assert "hunter2secret" not in "\n".join(lines)
    assert "ValueError: cannot use" in lines[2]
    assert MARK in lines[0]


class Counting:
    """A compiled pattern that counts what it is asked and what it finds: the work, whatever the machine."""

    def __init__(self, pattern: Any, work: list[int]) -> None:
        self._pattern, self._work = pattern, work

    def search(self, data: bytes, position: int = 0) -> object:
        self._work[0] += 1
        return self._pattern.search(data, position)

    def subn(self, mark: bytes, data: bytes, count: int = 0) -> tuple[bytes, int]:
        result, found = self._pattern.subn(mark, data, count)
        self._work[0] += 1 + found
        return result, found


@pytest.fixture
def counted(monkeypatch) -> tuple[Redactor, list[int]]:
    """A redactor whose searches and findings are counted."""
    redactor, work = Redactor(["s3cr3t-Passw0rd-Value"]), [0]
    for name in ("_whole", "_part", "_merge"):
        monkeypatch.setattr(redaction, name, Counting(getattr(redaction, name), work))
    for name in ("_exact", "_prefilter"):
        setattr(redactor, name, Counting(getattr(redactor, name), work))
    return redactor, work


HOSTILE = {
    "tokens": JWT + " ",
    "URLs": "a://b:c@ ",
    "fields": "password=a&",
    "names": "password",
    "members": '\\"password\\":\\"a\\",',
    "open members": '"password":"',
    "headers": "authorization: bearer a ",
    "keys": "-----BEGIN PRIVATE KEY-----a-----END PRIVATE KEY-----",
    "the secret": "s3cr3t-Passw0rd-Value.",
    "marks": "[redacted][redacted]. authorization=x ",
    "names in quotes": "'password' ",
    "options": "--password a ",
    "variables": "TOKEN='a' ",
    "users": "-u a:b ",
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("shape", ["one string", "many strings", "names", "pairs", "no JSON"])
def test_text_that_is_nothing_but_findings_costs_bounded_work(counted, what: str, shape: str) -> None:
    redactor, work = counted
    piece = HOSTILE[what]
    count = 20 * MAX_FINDINGS
    shapes: dict[str, Any] = {
        "one string": {"body": piece * count},
        "many strings": {"rows": [[piece]] * count},
        "names": {f"{piece}{number}": 1 for number in range(count)},
        "pairs": {"headers": [["password", piece]] * count},
        "no JSON": {},
    }
    detail = shapes[shape]
    record = {"kind": "http", "text": "x", "detail": detail, "verdict": {"type": "deny", "policy": "p", "reason": "r"}}
    payload = (piece * count).encode() if shape == "no JSON" else encode(record)
    cleaned = redactor.clean(payload)
    assert work[0] < 20 * MAX_FINDINGS
    assert b"s3cr3t" not in cleaned
    if shape != "no JSON":
        told = json.loads(cleaned)
        assert told["verdict"] == record["verdict"]
        assert told["kind"] == "http"
        assert isinstance(told["detail"], dict)


def test_a_record_with_many_findings_loses_only_the_member_that_holds_them() -> None:
    sample = [["password=abcdef"]] * (2 * MAX_FINDINGS)
    record = {"status": "ok", "sample": sample, "error": "login with password=abcdef failed", "rows": 5}
    told = json.loads(Redactor().clean(encode(record)))
    assert told["status"] == "ok"
    assert told["rows"] == 5
    assert told["error"] == f"login with password={MARK} failed"
    assert told["sample"] == [f"[redacted: {len(encode(sample))} bytes, too many secrets to tell apart]"]


def test_many_findings_below_the_bound_are_told_apart() -> None:
    sample = [[f"row {number} password=abcdef"] for number in range(MAX_FINDINGS - 1)]
    told = json.loads(Redactor().clean(encode({"sample": sample})))
    assert told["sample"][-1] == [f"row {MAX_FINDINGS - 2} password={MARK}"]


def test_a_value_of_which_every_character_is_escaped_is_found() -> None:
    escaped = "".join(f"\\u{ord(char):04x}" for char in "hunter2secret")
    assert Redactor(["hunter2secret"]).clean_text(f"a {escaped} b") == f"a {MARK} b"
    assert b"0068" not in Redactor(["hunter2secret"]).clean(encode({"a": escaped}))
