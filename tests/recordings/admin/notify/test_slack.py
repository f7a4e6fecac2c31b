"""recordings/admin/notify/slack.py: messages, and requests that claim to be Slack's."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import time

import pytest
from msgspec.structs import replace

from onrecord.recordings.admin.notify.slack import SlackRequests, message
from tests.recordings.admin.notify.test_webhook import NOTICE, Receiver
from tests.recordings.admin.office import Office

SECRET = "slack-signing-secret"


def signed(body, *, secret=SECRET, at=None):
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}


def test_the_button_only_opens_the_page():
    found = message(NOTICE)
    buttons = [element for block in found["blocks"] for element in block.get("elements", ())]
    assert [(button["type"], button["url"]) for button in buttons] == [("button", NOTICE.url)]
    assert "value" not in buttons[0]


def test_an_agents_name_mentions_nobody_and_links_nowhere():
    found = json.dumps(
        message(replace(NOTICE, subject="<!channel> <https://evil.example|click> \u202e *x*")), ensure_ascii=False
    )
    assert "<!" not in found
    assert "<https" not in found
    assert "\u202e" not in found
    assert "mrkdwn" not in found


def test_what_slack_signs_is_slacks_once_and_for_five_minutes():
    requests = SlackRequests((SECRET,))
    body = b"payload=%7B%7D"
    headers = signed(body, at=1000)
    stamp, signature = headers["X-Slack-Request-Timestamp"], headers["X-Slack-Signature"]
    assert requests.objection(stamp, signature, body, now=1500) == "too late"
    assert requests.objection(stamp, signature, body + b"x", now=1001) == "the signature is not Slack's"
    assert requests.objection("1001", signature, body, now=1001) == "the signature is not Slack's"
    assert requests.objection("", signature, body, now=1001) == "no time"
    assert requests.objection(stamp, "", body, now=1001) == "the signature is not Slack's"
    assert requests.objection(stamp, signature, body, now=1001) == ""
    assert requests.objection(stamp, signature, body, now=1002) == "seen before"
    assert SlackRequests(()).objection(stamp, signature, body, now=1001)


async def test_a_pressed_button_decides_nothing_and_forgeries_are_on_record(tmp_path):
    office = Office(tmp_path, slack=(SECRET,))
    id = office.hold()
    payload = {"type": "block_actions", "actions": [{"action_id": "approve", "value": id}]}
    body = ("payload=" + json.dumps(payload)).encode()
    async with office.client() as client:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        good = signed(body)
        assert (await client.post("/notify/slack", content=body, headers=kind | good)).status_code == 200
        none: dict[str, str] = {}
        for bad in (good, signed(body, secret="other"), signed(body, at=time.time() - 1000), none):
            assert (await client.post("/notify/slack", content=body, headers=kind | bad)).status_code == 401
    assert office.state_of(id) == "pending"
    reasons = [record["detail"] for record in office.journal() if record["kind"] == "REFUSAL"]
    assert reasons == ["seen before", "the signature is not Slack's", "too late", "no time"]
    office.close()


async def test_the_address_is_in_no_error(caplog):
    from onrecord.recordings.admin.notify.delivery import UndeliveredError
    from onrecord.recordings.admin.notify.slack import Slack

    receiver = Receiver()
    receiver.status = 403
    with contextlib.closing(receiver), pytest.raises(UndeliveredError) as caught:
        await Slack(f"http://127.0.0.1:{receiver.port}/services/T0/B0/secret", private=True).send(NOTICE, "d")
    assert "secret" not in str(caught.value)
    assert json.loads(receiver.got[0][1])["blocks"]
