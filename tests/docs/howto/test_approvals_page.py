"""docs/howto/approvals-page.md and notifications.md: configuration loads, the receiver's check is right."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.config import Config, load_config
from onrecord.recordings.admin.notify.notice import Notice
from onrecord.recordings.admin.notify.webhook import sign

HOWTO = Path(__file__).parents[3] / "docs" / "howto"
PAGE = (HOWTO / "approvals-page.md").read_text()
NOTIFICATIONS = (HOWTO / "notifications.md").read_text()


def block(text: str, language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return str(found)


def load(folder: Path, text: str) -> Config:
    (folder / "gateway.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (folder / "gateway-key.pem").touch(0o600)
    path = folder / "mitm.toml"
    path.write_text(text)
    return load_config(path)


def test_the_pages_configuration_loads(tmp_path: Path) -> None:
    config = load(tmp_path, block(PAGE, "toml"))
    assert config.gateway.admin_url == "https://approvals.example.com"
    assert config.issuers[0].client_id == "onrecord-page"
    assert set(config.admin.roles) == {"viewer", "approver", "auditor", "operator"}


def test_the_notifications_load(tmp_path: Path) -> None:
    config = load(tmp_path, block(NOTIFICATIONS, "toml"))
    assert [(one.type, one.events) for one in config.notify] == [
        ("webhook", ("pending",)),
        ("slack", ("pending", "decided", "killed")),
        ("apprise", ("pending",)),
    ]


def test_the_receivers_check_accepts_what_is_sent_and_nothing_else() -> None:
    names: dict[str, Any] = {}
    exec(block(NOTIFICATIONS, "python"), names)  # noqa: S102  # our own page
    stamp = str(int(time.time()))
    headers = {"Onrecord-Timestamp": stamp, "Onrecord-Signature": sign("secret", stamp, b"{}")}
    assert names["is_genuine"]("secret", headers, b"{}")
    assert not names["is_genuine"]("other", headers, b"{}")
    assert not names["is_genuine"]("secret", headers, b"{} ")
    old = str(int(time.time()) - 1000)
    headers = {"Onrecord-Timestamp": old, "Onrecord-Signature": sign("secret", old, b"{}")}
    assert not names["is_genuine"]("secret", headers, b"{}")


def test_the_fields_of_a_webhook_are_those_that_are_named() -> None:
    (sentence,) = re.findall(r"one JSON object: (.*?)\. Times", NOTIFICATIONS, re.DOTALL)
    named = re.findall(r"`(\w+)`", sentence)
    notice = Notice(event="pending", approval="a", state="pending", at=0.0)
    assert named == list(notice.body())


@pytest.mark.parametrize("picture", re.findall(r"\]\((img/[^)]+)\)", PAGE))
def test_each_picture_is_there_and_small(picture: str) -> None:
    data = (HOWTO / picture).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < 150_000
