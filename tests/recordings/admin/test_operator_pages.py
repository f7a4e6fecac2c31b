"""recordings/admin/operator_pages.py: killing, and notifications that never arrived."""

from __future__ import annotations

from onrecord.recordings.admin.notify.dispatch import DeadLetter
from onrecord.recordings.admin.notify.notice import Notice
from tests.recordings.admin.office import ORIGIN, field_of, form_token


async def test_an_operator_kills_a_run_and_lifts_it_again(office):
    id = office.hold()
    async with office.log_in("olga", "sre") as client:
        html = (await client.get("/kill?what=run&name=run-1")).text
        assert 'value="run-1"' in html
        fields = {"form_token": form_token(html), "what": "run", "name": "run-1", "reason": "it deletes things"}
        assert (await client.post("/kill", data=fields, headers={"Origin": ORIGIN})).status_code == 303
        assert office.state_of(id) == "cancelled"
        html = (await client.get("/kill")).text
        assert "it deletes things" in html
        kill = office.channel.snapshot().kills[0]
        assert (kill.target, kill.value, kill.by.subject) == ("run", "run-1", "olga")
        lifted = {"form_token": form_token(html), "id": field_of(html, "id")}
        assert (await client.post("/kill/lift", data=lifted, headers={"Origin": ORIGIN})).status_code == 303
    assert office.channel.snapshot().kills == ()


async def test_to_lift_needs_a_fresh_login_and_to_kill_none(office):
    async with office.log_in("olga", "sre") as client:
        clock = office.site.clock
        office.site.clock = lambda: clock() + 400
        html = (await client.get("/kill")).text
        fields = {"form_token": form_token(html), "what": "run", "name": "run-1", "reason": "x"}
        assert (await client.post("/kill", data=fields, headers={"Origin": ORIGIN})).status_code == 303
        kill = office.channel.snapshot().kills[0]
        fields = {"form_token": form_token(html), "id": kill.id}
        answer = await client.post("/kill/lift", data=fields, headers={"Origin": ORIGIN})
        assert answer.status_code == 403
        assert "Log in again" in answer.text
    assert office.channel.snapshot().kills == (kill,)


async def test_a_link_kills_nothing(office):
    async with office.log_in("olga", "sre") as client:
        await client.get("/kill?what=run&name=run-1&reason=x")
    assert office.channel.snapshot().kills == ()


async def test_others_kill_nothing(office):
    async with office.log_in("dana", "dba") as client:
        token = form_token((await client.get("/approvals")).text)
        fields = {"form_token": token, "what": "run", "name": "run-1", "reason": "x"}
        assert (await client.post("/kill", data=fields, headers={"Origin": ORIGIN})).status_code == 403
        assert (await client.get("/kill")).status_code == 403
    assert office.channel.snapshot().kills == ()


async def test_a_kill_needs_a_name_and_a_reason(office):
    async with office.log_in("olga", "sre") as client:
        token = form_token((await client.get("/kill")).text)
        good = {"form_token": token, "what": "run", "name": "run-1", "reason": "x"}
        for wrong in ({"what": "host"}, {"name": " "}, {"reason": ""}, {"name": "x" * 2000}):
            answer = await client.post("/kill", data=good | wrong, headers={"Origin": ORIGIN})
            assert answer.status_code == 400
    assert office.channel.snapshot().kills == ()


async def test_what_never_arrived_is_listed_without_any_payload(office):
    notice = Notice(event="pending", approval="a", state="pending", at=1.0, subject="<devin>", resource="orders")
    office.site.dispatcher._dead.append(DeadLetter("d1", "hook", 5.0, 8, "the receiver answered 500", notice))
    async with office.log_in("olga", "sre") as client:
        html = (await client.get("/notifications")).text
        assert "the receiver answered 500" in html
        assert "&lt;devin&gt;" in html
        fields = {"form_token": form_token(html), "id": "d1"}
        answer = await client.post("/notifications/again", data=fields, headers={"Origin": ORIGIN})
        assert answer.status_code == 404  # its target is not configured any more
    assert office.site.dispatcher.dead() == []
