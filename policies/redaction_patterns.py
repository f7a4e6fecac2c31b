"""What a secret looks like: the patterns of redaction.py, in RE2's syntax. Pure text.

A needle is one pattern for all the ways in which text carries a value: as it is, inside JSON or JSON within JSON
(escapes of any depth), percent-encoded in any case, HTML-escaped; then base64 (three alignments, both alphabets) and
hexadecimal (bare, or as escapes of every byte). One needle spans at most CHUNK characters: a longer value is found as
a row of them.
"""

from __future__ import annotations

import base64
import binascii
import re
from itertools import pairwise

MARK = "[redacted]"
MIN_SECRET = 4
CHUNK = 48

# Exactly these member, field and header names; compared in lower case.
SECRET_NAMES = frozenset(
    {
        "access_token", "accesstoken", "api-key", "api_key", "apikey", "authorization", "aws_secret_access_key",
        "aws_session_token", "client_assertion", "client_secret", "clientsecret", "id_token", "passwd", "password",
        "pgpassword", "private_key", "proxy-authorization", "refresh_token", "refreshtoken", "secret_access_key",
        "secret_key", "secretaccesskey", "session_token", "sessiontoken", "set-cookie", "cookie", "x-api-key",
        "x-amz-security-token", "x-auth-token", "x-goog-api-key", "x-vault-token",
        "access-token", "api_token", "apitoken", "app_secret", "appsecret", "auth_token", "authtoken", "bearer_token",
        "bearertoken", "confirm_password", "confirmpassword", "consumer_secret", "current_password", "currentpassword",
        "db_password", "dbpassword", "encryption_key", "id-token", "idtoken", "new_password", "newpassword",
        "old_password", "oldpassword", "passphrase", "password_confirmation", "passwordconfirmation", "private-token",
        "private_token", "privatekey", "privatetoken", "refresh-token", "secret", "secretkey", "shared_secret",
        "signing_key", "signing_secret", "token", "user_password", "userpassword", "webhook_secret", "x-access-token",
    }
)  # fmt: skip
# Words that also stand in lists, in front of others that are no value of theirs.
NO_PAIR = frozenset({"secret", "token"})

_NAMES = "|".join(re.escape(name).replace("\\-", "-") for name in sorted(SECRET_NAMES, key=lambda n: (-len(n), n)))
_EDGE = r"(?:^|[^A-Za-z0-9_]|\\[nrtbf])"
_SPACE = r"(?: |\+|%20)"
_PEM_KIND = rf"(?:[A-Z0-9]+{_SPACE}){{0,4}}PRIVATE{_SPACE}KEY(?:{_SPACE}BLOCK)?"

_TOKENS = (
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"gl(?:pat|dt|ptt|rt|cbt|ft|oas|agent|soat)-[A-Za-z0-9_-]{16,}",
    r"xox[abeoprs](?:\.[a-z]+)?-[A-Za-z0-9-]{10,}",
    r"xapp-[A-Za-z0-9-]{16,}",
    r"sk-[A-Za-z0-9_-]{20,}",
    r"[rs]k_live_[A-Za-z0-9]{16,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"ya29\.[A-Za-z0-9_-]{20,}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgEI[A-Za-z0-9_-]{16,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"hv[bs]\.[A-Za-z0-9_-]{20,}",
    r"dop_v1_[a-f0-9]{64}",
)
_JWT = r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){0,2}"
_PEM = rf"-----BEGIN{_SPACE}{_PEM_KIND}-----(?s:.*?)(?:-----END{_SPACE}{_PEM_KIND}-----|\z)"
_USERINFO = r"""[A-Za-z][A-Za-z0-9+.-]{0,15}:(?:\\*/){2}[^\s/?#"'<>@:\\]{0,256}:(?P<userinfo>[^\s/?#"'<>\\]{1,1000})@"""
_BRACKET = r"(?:\]|%5[dD])?"  # user[password]=
_FIELD = (
    rf"""(?:^|[^A-Za-z0-9_-]|\\[nrtbf]|%5[bB])(?i:{_NAMES}){_BRACKET}="""
    r"""(?P<field>(?:[^&\s"'<>\\;,$`]|\$[^&\s"'<>\\;,$`(])+)"""
)
_MEMBER = rf"""(?P<name>\\*["'](?i:{_NAMES})\\*["']\s*:\s*\\*")"""
# In markup and multipart forms; nothing that a shell would run may stand in such a value.
_INERT = r"""[^"'<>&\s\\;|$`()]"""
_ATTRIBUTE = (
    rf"""(?:^|[^A-Za-z0-9_-])(?i:{_NAMES})="""
    rf"""(?:"(?P<double>(?:{_INERT}|'){{1,128}})"|'(?P<single>(?:{_INERT}|"){{1,128}})')"""
)
_ELEMENT = (
    rf"""<(?:[A-Za-z0-9_.-]{{1,64}}:)?(?i:{_NAMES})(?:\s[^<>]{{0,80}})?>"""
    rf"""(?P<element>(?:{_INERT}|["']|&(?:amp|lt|gt|quot|apos|#[0-9]{{1,7}}|#x[0-9a-fA-F]{{1,6}});){{1,128}})"""
)
_PART_OF_FORM = (
    rf"""(?i:form-data);[^\r\n]{{0,80}}(?i:name)="?(?i:{_NAMES})"?(?:;[^\r\n]{{0,80}})?\r\n"""
    rf"""(?:[^\r\n]{{1,80}}\r\n){{0,3}}\r\n(?P<part>{_INERT}{{1,128}})\r\n"""
)
_HEADER = r"""(?i:authorization)\\*["']?\s*[:=]\s*\\*["']?(?i:Bearer|Basic|Token)\s+(?P<header>[^\s"'\\]+)"""

# On a command line: a word in quotes, or up to the next one. What begins with `$` or a backquote is a program or a
# variable, not a secret, and must stay readable; what begins with `-` is the next option.
_BARE = r"""(?:\\.|[^\s"'<>\\;&|$`-])(?:\\.|[^\s"'<>\\;&|$`]|\$[^\s"'<>\\;&|$`(])*"""
_WORD = rf"""(?:'[^']{{1,256}}'?|"[^"$`][^"]{{0,255}}"?|{_BARE})"""
_OPTION_NAMES = "(?i:password|passwd|passphrase|secret|token|api[-_]?key|secret[-_](?:access[-_])?key)"
_OPTION_NAME = rf"--?(?:[A-Za-z0-9]+[-_]){{0,3}}{_OPTION_NAMES}"
_VARIABLE_NAME = r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|SECRET_(?:ACCESS_)?KEY|MYSQL_PWD)"
_USER_OPTION = "-(?:[uU]|-user|-proxy-user)"
_BEFORE = r"""(?:^|[\s"'({;&|`=]|\\[nrt])"""
_OPTION = rf"{_BEFORE}{_OPTION_NAME}(?:=|\s{{1,8}})(?P<option>{_WORD})"
_VARIABLE = rf"{_BEFORE}[A-Z0-9_]{{0,64}}{_VARIABLE_NAME}=(?P<variable>{_WORD})"
_PAIR = r"[^\s\"'<>\\;&|:/]{1,64}:"
_NO_NUMBER = r"""[^\s"'<>\\;&|$`]*[^\s"'<>\\;&|$`0-9][^\s"'<>\\;&|]*"""  # `docker run -u 1000:1000` has no password
_USER = rf"""{_BEFORE}{_USER_OPTION}(?:=|\s{{1,8}})\\*["']?{_PAIR}(?P<pair>{_NO_NUMBER})"""

# Words of their own, which may hold spaces: the next one is or holds the secret, or all behind `=` is it.
OPTION_WORD = rf"\A{_OPTION_NAME}\z"
ASSIGNMENT_WORD = rf"""\A(?:{_OPTION_NAME}|[A-Z0-9_]{{0,64}}{_VARIABLE_NAME})=["']?[^$`"']"""
USER_WORD = rf"\A{_USER_OPTION}\z"

# Two passes. A search is slow where an earlier, longer candidate stays open behind every match: so what may run on
# without end (WHOLE) is not searched together with what is found inside such a run, and the others are bounded.
# What is replaced: all of a match of WHOLE; of PART the named group or, for `name`, the string that follows it.
WHOLE = f"{_JWT}|{_PEM}"
PART = "|".join(
    (
        rf"{_EDGE}(?P<token>{'|'.join(_TOKENS)})", _USERINFO, _MEMBER, _FIELD, _HEADER, _OPTION, _VARIABLE, _USER,
        _ATTRIBUTE, _ELEMENT, _PART_OF_FORM,
    )
)  # fmt: skip
PART_GROUPS = (
    "token", "userinfo", "name", "field", "header", "option", "variable", "pair", "double", "single", "element", "part"
)  # fmt: skip

# The same without edges, for encoded JSON, where an escape may stand before anything: finds at least all of both.
GENERIC_PREFILTER = "|".join(
    (
        r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.",
        rf"-----BEGIN{_SPACE}{_PEM_KIND}-----",
        *_TOKENS,
        r"""[A-Za-z]:(?:\\*/){2}[^\s/?#"'<>@:\\]*:[^\s/?#"'<>\\]+@""",
        rf"""["'](?i:{_NAMES})\\*["']""",
        rf"""(?i:{_NAMES}){_BRACKET}=""",
        rf"""<(?:[A-Za-z0-9_.-]{{1,64}}:)?(?i:{_NAMES})[^A-Za-z0-9_.-]""",
        rf"""(?i:name)=(?i:{_NAMES})[\\;\s]""",
        r"(?i:authorization)",
        rf"""{_OPTION_NAME}["=\s\\]""",
        rf"{_VARIABLE_NAME}=",
        rf"""{_USER_OPTION}["=\s\\]""",
    )
)

_HTML = {"&": "&(?:amp|#38|#x26);", "<": "&(?:lt|#60|#x3[cC]);", ">": "&(?:gt|#62|#x3[eE]);",
         '"': "&(?:quot|#34|#x22);", "'": "&(?:apos|#39|#x27);"}  # fmt: skip
_SHORT = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}


def parts_of(secret: str) -> list[str]:
    """What is secret in `secret` by itself: the token behind `Bearer `, the password of `user:password` or of a URL."""
    found: list[str] = []
    scheme, _, rest = secret.partition(" ")
    if rest and " " not in rest and re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", scheme):
        found.append(rest)
        if scheme.lower() == "basic":
            try:
                rest = base64.b64decode(rest, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                rest = ""
            found += [rest, rest.partition(":")[2]]
    elif match := re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:([^/\s]+)@\S*", secret):
        found.append(match[1])
    elif not rest and "-----BEGIN" not in secret:
        password = secret.partition(":")[2]
        found += [password] if len(password) >= 6 else []
    return found


def needles(secret: str) -> list[str]:
    """The patterns that find `secret` in its usual encodings."""
    found: list[str] = []
    for chunk in _chunks(secret):
        data = chunk.encode("utf-8", "surrogatepass")
        found += ["".join(_character(c) for c in chunk), *_base64(data)]
        found.append("".join(_hex(byte) for byte in data))
    return found


def _hex(byte: int) -> str:
    """A byte as hexadecimal, or as an escape of which every character may be written: %73, \\x73, \\u0073, 73:."""
    return r"(?:%|:|\\+(?:x|u00))?" + "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{byte:02x}")


def _chunks(secret: str) -> list[str]:
    """`secret` in equal parts of at most CHUNK characters."""
    count = -(-len(secret) // CHUNK)
    edges = [len(secret) * i // count for i in range(count + 1)]
    return [secret[start:end] for start, end in pairwise(edges)]


def _character(c: str) -> str:
    """A pattern for one character of a secret, however it is escaped."""
    if c.isascii() and c.isalnum():
        return c
    forms = [_literal(c)]
    if c in _SHORT:
        forms.append(rf"\\+{_SHORT[c]}")
    elif c == "\\":
        forms = [r"\\+"]
    elif c in "\"'/":
        forms = [rf"\\*{c}"]
    if c == "\n":
        forms = [r"(?:\r|\\+r|%(?:25)*0[dD])?" + form for form in forms]
    if c == " ":
        forms.append(r"\+")
    forms.append("".join(_percent(byte) for byte in c.encode("utf-8", "surrogatepass")))
    units = c.encode("utf-16-be", "surrogatepass")
    forms.append("".join(rf"\\+u{_any_case(units[i : i + 2].hex())}" for i in range(0, len(units), 2)))
    if c in _HTML:
        forms.append(_HTML[c])
    return f"(?:{'|'.join(forms)})"


def _percent(byte: int) -> str:
    return f"%(?:25)*{_any_case(f'{byte:02x}')}"


def _any_case(digits: str) -> str:
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits)


def _literal(c: str) -> str:
    """`c` for RE2, which takes UTF-8 text."""
    return "\\" + c if c.isascii() and not c.isalnum() and c.isprintable() else rf"\x{{{ord(c):x}}}"


def _base64(data: bytes) -> list[str]:
    """The characters of base64 text that are settled by `data` alone, for each of the three places it may begin."""
    found = []
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + data).decode().rstrip("=")
        first = (shift * 8 + 5) // 6
        last = (shift + len(data)) * 8 // 6
        core = text[first:last]
        if len(core) >= 4:
            found.append("".join(_base64_character(c) for c in core))
    return found


def _base64_character(c: str) -> str:
    if c == "+":
        return r"(?:\+|-|%2[bB]|\\+u002[bB])"
    if c == "/":
        return r"(?:\\*/|_|%2[fF])"
    return c
