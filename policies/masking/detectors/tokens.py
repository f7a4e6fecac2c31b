"""Secrets that are text: JWTs, private keys, API tokens, passwords in URLs."""

from __future__ import annotations

import re

from onrecord.policies.masking.detectors.unit import Spans, Unit

# RE2 and `re` read these alike. At their left edge anything may stand.
TOKENS: tuple[str, ...] = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",  # AWS
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"ya29\.[A-Za-z0-9_-]{20}",
    r"GOCSPX-[A-Za-z0-9_-]{20}",
    r"1//0[A-Za-z0-9_-]{30}",
    r"GOOG[A-Z0-9]{20}",
    r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31}",  # Azure: client secret
    r"(?:Account|SharedAccess)Key=[A-Za-z0-9+/]{40}",
    r"AzCa[A-Za-z0-9+/]{20}|(?:AzFu|AzSe|AzSt|ACDb|AzEv|APIM)[A-Za-z0-9+/=]{4,}",
    r"sig=[A-Za-z0-9%+/]{30}",
    r"gh[pousr]_[A-Za-z0-9]{20}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{20}",
    r"gl(?:pat|dt|ptt|rt|rtr|cbt|ft|oas|agent|soat|imt|ffct|wt)-[A-Za-z0-9_-]{16}",  # GitLab
    r"xox[abeoprsd](?:\.[a-z]+)?-[A-Za-z0-9-]{10}",  # Slack
    r"xapp-[A-Za-z0-9-]{16}",
    r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{16}",
    r"discord(?:app)?\.com/api/webhooks/[0-9]{10}",
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{16}",  # Stripe
    r"whsec_[A-Za-z0-9+/]{24}",
    r"sk-[A-Za-z0-9_-]{20}",  # OpenAI, Anthropic
    r"AGE-SECRET-KEY-1[A-Z0-9]{20}",
    r"npm_[A-Za-z0-9]{30}",
    r"pypi-A[A-Za-z0-9_-]{20}",
    r"hf_[A-Za-z0-9]{30}",  # Hugging Face
    r"hv[bsr]\.[A-Za-z0-9_-]{20}",  # Vault
    r"do[opr]_v1_[a-f0-9]{64}",  # DigitalOcean
    r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20}",
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16}",  # SendGrid
    r"key-[0-9a-f]{32}",  # Mailgun
    r"(?:AC|SK)[0-9a-f]{32}",  # Twilio
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",  # Shopify
    r"lin_api_[A-Za-z0-9]{32}",
    r"nfp_[A-Za-z0-9]{30}",
    r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}",  # Airtable
    r"secret_[A-Za-z0-9]{40}|ntn_[A-Za-z0-9]{40}",  # Notion
    r"dapi[0-9a-f]{32}",  # Databricks
    r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22}",  # Square
    r"EAA[A-Za-z0-9]{60}",  # Facebook
    r"glsa_[A-Za-z0-9]{32}|glc_[A-Za-z0-9+/]{32}",  # Grafana
    r"PMAK-[0-9a-f]{24}-[0-9a-f]{16}",  # Postman
    r"rubygems_[0-9a-f]{40}",
    r"gsk_[A-Za-z0-9]{40}|xai-[A-Za-z0-9]{40}|pplx-[A-Za-z0-9]{40}|r8_[A-Za-z0-9]{30}",  # Groq, xAI, Replicate, …
    r"sbp_[0-9a-f]{40}|sb_secret_[A-Za-z0-9_-]{20}",  # Supabase
    r"NRAK-[A-Z0-9]{27}",  # New Relic
    r"ATATT3[A-Za-z0-9_=-]{40}|ATCTT3[A-Za-z0-9_=-]{40}",  # Atlassian
    r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",  # Telegram
    r"A3T[A-Z0-9]{17}",
    r"tskey-[a-z]+-[A-Za-z0-9]{8}",  # Tailscale
    r"pul-[a-f0-9]{40}",
    r"sntry[su]_[A-Za-z0-9+/=_-]{30}",
    r"(?i:bearer|authorization: ?basic)[ +]+[A-Za-z0-9+/._~=-]{16}",
)
_TOKEN = re.compile(f"(?:{'|'.join(f'(?:{token})' for token in TOKENS)})[A-Za-z0-9_+/=.~%-]*", re.ASCII)
_AWS_NAME = r"(?i:aws_?secret_?(?:access_?)?key|secret_?access_?key)"
_AWS_SECRET = re.compile(_AWS_NAME + r"[\"']?\s{0,4}[:=]\s{0,4}[\"']?([A-Za-z0-9+/]{40})")
_JWT = re.compile(
    r"eyJ(?:[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*){0,3}"
    r"|(?:hbGci|0eXAi|raWQi|4NXQi|lbmMi|jdHki|wcm92)[A-Za-z0-9_-]{3,})",
    re.ASCII,
)

# What only a private key's base64 holds: OpenSSH, PKCS#8 (RSA, EC, Ed25519), PKCS#1, SEC 1.
KEY_BODIES: tuple[str, ...] = (
    "b3BlbnNzaC1rZXktdjE",
    "IBADANBgkqhkiG9w0BAQEFAASC",
    "AgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG",
    "AgEAMBAGByqGSM49AgEGBSuBBAA",
    "MC4CAQAwBQYDK2V",
    "MII[A-Za-z0-9+/]{3}IBAAKC[A-Za-z0-9]{2}EA",
    "MIICX[A-Za-z0-9+/]{2}IBAAKBgQ",
    "MHcCAQEEI",
    "MIGkAgEBBD",
    "MIHcAgEBBE",
)
_KIND = r"(?:[A-Z0-9]{1,20}[ +_]|[A-Z0-9]{1,20}%20){0,4}PRIVATE(?:[ +_]|%20)KEY(?:(?:[ +_]|%20)BLOCK)?"
_BEGIN = re.compile(rf"(?:-{{1,5}} ?)?BEGIN(?:[ +_]|%20){_KIND}(?: ?-{{1,5}})?")
_END = re.compile(rf"(?:-{{1,5}} ?)?END(?:[ +_]|%20){_KIND}(?: ?-{{1,5}})?")
_STOP = re.compile(r"[\"'<>{}|\x00\t]")
_BODY = re.compile(rf"[A-Za-z0-9+/]*(?:{'|'.join(KEY_BODIES)})(?:[A-Za-z0-9+/=]|\s|\\+[nr])*", re.ASCII)
_BEFORE_END = re.compile(r"(?:[A-Za-z0-9+/=]|\s|\\+[nr])*\Z", re.ASCII)
_PUTTY = re.compile(r"Private-Lines: ?[0-9]+(?:[A-Za-z0-9+/=]|\s|\\+[nr])*", re.ASCII)
_MAX_BEFORE_END = 16384

_URL = re.compile(
    r":(?:\\*/|%(?:25)*2[fF]){2}(?P<user>[^\s/?#@:\"'<>]*)(?P<colon>:|%(?:25)*3[aA])(?P<rest>[^\s\"'<>]+)"
)
_FIELD = re.compile(
    r"(?i:pass(?:word|wd|phrase)?|pwd)(?:=|%(?:25)*3[dD])(?P<password>'[^'\n\x00]*'?|\"[^\"\n\x00]*\"?|[^\s&;,\"'<>]+)"
)


def find_jwts(text: str) -> Spans:
    return [match.span() for match in _JWT.finditer(text)]


def find_tokens(text: str) -> Spans:
    found = [match.span() for match in _TOKEN.finditer(text)]
    return found + [match.span(1) for match in _AWS_SECRET.finditer(text)]


def find_keys(text: str) -> Spans:
    """Blocks from their first line to their last, or to where the text is cut; bodies and ends that stand alone."""
    found: Spans = []
    at = 0
    while match := _BEGIN.search(text, at):
        last = _END.search(text, match.end())
        stop = _STOP.search(text, match.end())
        end = stop.start() if stop is not None else len(text)
        if last is not None and last.start() < end:
            end = last.end()
        found.append((match.start(), end))
        at = end
    for match in _END.finditer(text):
        if not any(start <= match.start() < end for start, end in found):
            floor = max(0, match.start() - _MAX_BEFORE_END)
            before = _before(text[floor : match.start()])
            found.append((floor + before, match.end()))
    return found + [match.span() for pattern in (_BODY, _PUTTY) for match in pattern.finditer(text)]


def _before(text: str) -> int:
    """Where the base64 begins that `text` ends with."""
    at = len(text)
    while at and (text[at - 1] in _BASE64 or (text[at - 1] in "nr" and text[at - 2 : at - 1] == "\\")):
        at -= 1
    return at


_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ \r\n\t")


def find_url_passwords(text: str) -> Spans:
    """Passwords in `scheme://user:password@host` and in `password=…`."""
    found: Spans = []
    for match in _URL.finditer(text):
        rest = match["rest"]
        slash = rest.find("/")
        if slash >= 0 and "@" not in rest[:slash]:
            continue
        at = (rest if slash < 0 else rest[:slash]).rfind("@")
        if at > 0:
            found.append((match.start("rest"), match.start("rest") + at))
    return found + [match.span("password") for match in _FIELD.finditer(text)]


_SLASH = r"(?:\\*/|%(?:25)*2[fF])"
UNITS = (
    Unit("jwt", r"eyJ[A-Za-z0-9_-]{5}", find_jwts),
    Unit(
        "private_key",
        rf"PRIVATE(?:[ +_]|%20)KEY|Private-Lines|{'|'.join(KEY_BODIES)}",
        find_keys,
    ),
    Unit("api_token", "|".join((*TOKENS, _AWS_NAME)).replace("/", r"\\*/"), find_tokens),
    Unit("url_password", rf":{_SLASH}{{2}}|(?i:pass(?:word|wd|phrase)?|pwd)(?:=|%(?:25)*3[dD])", find_url_passwords),
)
