"""recordings/admin/notify/others.py: by way of the real apprise, to a real HTTP server."""

from __future__ import annotations

import json

import pytest

from onrecord.policies.errors import ConfigError
from onrecord.recordings.admin.notify.delivery import UndeliveredError
from onrecord.recordings.admin.notify.others import Others
from tests.recordings.admin.notify.test_webhook import NOTICE, Receiver


async def test_apprise_delivers():
    receiver = Receiver()
    try:
        await Others(f"json://127.0.0.1:{receiver.port}/secret-path", "notify[0].url").send(NOTICE, "d")
    finally:
        receiver.close()
    body = json.loads(receiver.got[0][1])
    assert body["title"] == NOTICE.title()
    assert NOTICE.url in body["message"]


async def test_what_apprise_cannot_deliver_is_undelivered(caplog):
    receiver = Receiver()
    receiver.status = 500
    try:
        with pytest.raises(UndeliveredError):
            await Others(f"json://127.0.0.1:{receiver.port}/secret-path", "notify[0].url").send(NOTICE, "d")
    finally:
        receiver.close()
    assert "secret-path" not in caplog.text


def test_an_address_that_apprise_does_not_know_is_an_error_that_does_not_show_it():
    with pytest.raises(ConfigError) as caught:
        Others("nosuch://secret", "notify[0].url")
    assert "secret" not in str(caught.value)
