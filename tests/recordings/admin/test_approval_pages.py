"""recordings/admin/approval_pages.py: who sees what, and what makes a decision."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from onrecord.policies.approvals import Approver, Preview
from onrecord.policies.model import Identity
from onrecord.recordings.admin.api import MAX_REFUSED
from onrecord.recordings.control.admin import DecisionError
from onrecord.recordings.control.messages import Previewed
from tests.recordings.admin.office import AGENT, ORIGIN, field_of, form_token


async def decide(client, id, decision="approve", *, reason="", **changed):
    """Open the page, then send its form; `changed` fields replace what it holds."""
    html = (await client.get(f"/approvals/{id}")).text
    fields = {
        "form_token": form_token(html),
        "seen": field_of(html, "seen"),
        "reason": reason,
        "decision": decision,
    }
    return await client.post(f"/approvals/{id}/decide", data=fields | changed, headers={"Origin": ORIGIN})


async def test_an_approver_grants_what_waits(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        assert (await decide(client, id, reason="ok for 14:00")).status_code == 303
        assert office.state_of(id) == "granted"
        html = (await client.get(f"/approvals/{id}")).text
    assert "granted" in html
    record = office.recorded[-1]
    assert (record.event, record.by.subject, record.by.via, record.reason) == (
        "granted",
        "dana",
        "page",
        "ok for 14:00",
    )
    assert record.by.client == "127.0.0.1:40000"


async def test_a_refusal_needs_a_reason_and_the_agent_hears_it(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        assert (await decide(client, id, "refuse")).status_code == 400
        assert office.state_of(id) == "pending"
        assert (await decide(client, id, "refuse", reason="not on a Friday")).status_code == 303
    assert office.state_of(id) == "refused"
    assert office.gateway.got[-1].reason == "not on a Friday"


@pytest.mark.parametrize("reason", ["a\x00b", "a\x1b[31mb", "a\u202eb", "a\u200bb", "x" * 1001])
async def test_a_reason_is_plain_text(office, reason):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        assert (await decide(client, id, "refuse", reason=reason)).status_code == 400
    assert office.state_of(id) == "pending"


async def test_the_page_shows_all_that_an_approver_must_see(office):
    id = office.hold(
        "DELETE FROM orders WHERE id = $1",
        detail={"parameters": ["7"], "tables_written": ["public.orders"]},
        unbound=("the trigger audit_orders",),
        max_rows=10,
    )
    async with office.log_in("dana", "dba") as client:
        html = (await client.get(f"/approvals/{id}")).text
    for wanted in (
        "devin", "alice@example.com", "agents", "run-1", "orders", "postgres", "DELETE FROM orders WHERE id = $1",
        "$1 = &#34;7&#34;", "public.orders", "unfiltered DELETE on orders", "guard_orders", "dba",
        "the trigger audit_orders", "more than 10 rows are rolled back", "No preview",
    ):  # fmt: skip
        assert wanted in html, wanted


async def test_the_api_shows_each_role_what_the_page_shows_it(office):
    preview = Preview(kind="explain", text="Filter: (id = 'param-secret')", rows=1, matched=1)
    one = office.hold(detail={"parameters": ["param-secret"]})
    other = office.hold(approvers=("security-team",))
    office.desk.received(office.gateway, Previewed(one, preview))

    async def seen(*groups: str) -> tuple[set[str], str, str]:
        headers = {"Authorization": f"Bearer {office.token('who', *groups)}"}
        async with office.client() as api:
            listed = await api.get("/api/approvals", headers=headers)
            shown = await api.get(f"/api/approvals/{one}", headers=headers)
        async with office.log_in("who", *groups) as page:
            html = (await page.get(f"/approvals/{one}")).text
        return {view["id"] for view in listed.json()["approvals"]}, listed.text + shown.text, html

    for group, ids, reads in (
        ("dba", {one}, True),  # decides it, and not the other
        ("security", {one, other}, True),  # an auditor
        ("staff", {one, other}, False),  # a viewer
        ("sre", {one, other}, False),  # an operator
        ("nobody", set(), False),
    ):
        listed, text, html = await seen(group)
        assert listed == ids, group
        assert ("param-secret" in text) is reads, group
        assert ("param-secret" in html) is reads, group


async def test_what_the_api_refuses_is_on_record_with_whose_it_was(office):
    headers = {"Authorization": f"Bearer {office.token('devin', 'dba', human=False, on_behalf_of='alice@example.com')}"}
    async with office.client() as api:
        assert (await api.get("/api/approvals", headers=headers)).status_code == 403
        assert (await api.get("/api/whoami", headers={"Authorization": "Bearer x.y.z"})).status_code == 401
    first, second = (one for one in office.journal() if one["kind"] == "REFUSAL")
    assert (first["identity"]["subject"], first["identity"]["kind"]) == ("devin", "agent")
    assert first["identity"]["on_behalf_of"] == "alice@example.com"
    assert (first["text"], second["text"]) == ("GET /api/approvals", "GET /api/whoami")
    assert "x.y.z" not in str(second)


async def test_an_agent_that_tries_again_and_again_does_not_keep_the_recorder_busy(office):
    id = office.hold()
    headers = {"Authorization": f"Bearer {office.token('devin', 'dba', human=False)}"}
    async with office.client() as api:
        answers = [await api.post(f"/api/approvals/{id}/approve", json={}, headers=headers) for _ in range(40)]
        assert [answer.status_code for answer in answers] == [403] * MAX_REFUSED + [429] * (40 - MAX_REFUSED)
        assert sum(getattr(one, "event", "") == "rejected" for one in office.recorded) == MAX_REFUSED
        other = {"Authorization": f"Bearer {office.token('dana', 'dba')}"}
        assert (await api.post(f"/api/approvals/{id}/approve", json={}, headers=other)).status_code == 200


async def test_an_old_login_lifts_no_kill_switch_through_the_api(office):
    async with office.client() as api:
        headers = {"Authorization": f"Bearer {office.token('olga', 'sre')}"}
        asked = {"target": "run", "value": "run-1"}
        kill = (await api.post("/api/kills", json=asked, headers=headers)).json()["id"]
        old = Approver(issuer="i", subject="olga", groups=("sre",), kind="human", auth_time=1.0)
        with pytest.raises(DecisionError, match="log in again"):
            await office.channel.lift(kill, old)
        assert (await api.delete(f"/api/kills/{kill}", headers=headers)).status_code == 200


async def test_every_look_is_on_record_before_it_is_shown(office):
    id = office.hold(detail={"parameters": ["7"]})
    async with office.log_in("dana", "dba") as client:
        await client.get(f"/approvals/{id}")
    looks = [record for record in office.journal() if record["kind"] == "LOOK"]
    assert [(look["what"], look["identity"]["subject"]) for look in looks] == [("login", "dana"), ("approval", "dana")]
    assert looks[1]["of"] == id
    assert {"command", "parameters"} <= set(looks[1]["parts"])


async def test_lists_are_looks_too_once_for_each_person_and_approval(office):
    one = office.hold()
    async with office.log_in("dana", "dba") as client:
        for _ in range(3):
            await client.get("/approvals")
        two = office.hold()
        await client.get("/approvals")
        headers = {"Authorization": f"Bearer {office.token('dora', 'dba')}"}
    async with office.client() as api:
        for _ in range(2):
            assert len((await api.get("/api/approvals", headers=headers)).json()["approvals"]) == 2
    looks = [record for record in office.journal() if record.get("what") == "list"]
    assert [(look["identity"]["subject"], look["parts"]) for look in looks] == [
        ("dana", [one]),
        ("dana", [two]),
        ("dora", [one, two]),
    ]


async def test_a_body_is_read_as_it_is(office):
    id = office.hold("POST https://billing.internal/notes", detail={"method": "POST", "body": "line 1\nline 2"})
    async with office.log_in("dana", "dba") as client:
        html = (await client.get(f"/approvals/{id}")).text
    assert "line 1\nline 2</pre>" in html


async def test_where_a_look_cannot_be_recorded_nothing_is_shown(office, monkeypatch):
    from onrecord.policies.errors import StoreError

    id = office.hold("SELECT 'secret-thing'")

    def full(*_args, **_more):
        raise StoreError("the journal cannot be written: No space left on device")

    async with office.log_in("dana", "dba") as client:
        monkeypatch.setattr(office.site.looks._journal, "flush", full)
        answer = await client.get(f"/approvals/{id}")
    assert answer.status_code == 503
    assert "secret-thing" not in answer.text


async def test_a_long_text_is_approved_only_after_its_last_page_was_shown(office):
    text = "SELECT 1;\n" * 2000 + "DROP TABLE orders"
    id = office.hold(text)
    async with office.log_in("dana", "dba") as client:
        first = (await client.get(f"/approvals/{id}")).text
        assert 'value="approve"' not in first
        assert "DROP TABLE orders" not in first
        refused = await client.post(
            f"/approvals/{id}/decide",
            data={"form_token": form_token(first), "decision": "approve", "seen": "", "reason": ""},
            headers={"Origin": ORIGIN},
        )
        assert refused.status_code == 409
        assert office.state_of(id) == "pending"
        pages = int(re.findall(r"page 1 of (\d+)", first)[0])
        last = (await client.get(f"/approvals/{id}?part={pages}")).text
        assert 'value="approve"' not in last  # the end alone is not enough
        for number in range(2, pages + 1):
            html = (await client.get(f"/approvals/{id}?part={number}")).text
        html = (await client.get(f"/approvals/{id}?part={pages}")).text
        assert 'value="approve"' in html
        fields = {"form_token": form_token(html), "seen": field_of(html, "seen"), "decision": "approve", "reason": ""}
        done = await client.post(f"/approvals/{id}/decide", data=fields, headers={"Origin": ORIGIN})
        assert done.status_code == 303
    assert office.state_of(id) == "granted"
    assert any("not shown to its end" in record.get("reason", "") for record in office.journal())


async def test_the_proof_of_another_session_or_approval_does_not_count(office):
    one, other = office.hold("DELETE FROM a"), office.hold("DELETE FROM b")
    async with office.log_in("dana", "dba") as dana, office.log_in("dora", "dba") as dora:
        proof = field_of((await dana.get(f"/approvals/{one}")).text, "seen")
        assert (await decide(dora, one, seen=proof)).status_code == 409
        assert (await decide(dana, other, seen=proof)).status_code == 409
    assert (office.state_of(one), office.state_of(other)) == ("pending", "pending")


async def test_an_approval_needs_a_login_of_the_last_five_minutes(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        now = office.site.clock
        office.site.clock = lambda: now() + 301
        html = (await client.get(f"/approvals/{id}")).text
        assert 'id="stale"' in html
        assert 'value="approve"' not in html
        assert 'value="refuse"' in html  # saying no needs none
        answer = await client.post(
            f"/approvals/{id}/decide",
            data={"form_token": form_token(html), "decision": "approve", "seen": "x", "reason": ""},
            headers={"Origin": ORIGIN},
        )
    assert answer.status_code == 403
    assert "Log in again" in answer.text
    assert office.state_of(id) == "pending"


async def test_the_recorder_asks_for_a_fresh_login_again(office):
    """Even if this process were wrong about it."""
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        html = (await client.get(f"/approvals/{id}")).text
        session = next(iter(office.site.sessions._found.values()))
        session.person = replace(session.person, auth_time=session.person.auth_time - 400)
        clock = office.site.clock
        office.site.clock = lambda: clock() - 400
        fields = {"form_token": form_token(html), "seen": field_of(html, "seen"), "decision": "approve", "reason": ""}
        answer = await client.post(f"/approvals/{id}/decide", data=fields, headers={"Origin": ORIGIN})
    assert answer.status_code == 403
    assert "log in again" in answer.text
    assert office.state_of(id) == "pending"
    assert office.recorded[-1].event == "rejected"


@pytest.mark.parametrize(
    ("subject", "groups"),
    [
        ("devin", ("dba",)),  # the requester's own name
        ("alice@example.com", ("dba",)),  # whom the agent works for
        ("eve", ("staff",)),  # in no group that decides
    ],
)
async def test_whoever_may_not_decide_has_no_button_and_no_way_around_it(office, subject, groups):
    id = office.hold()
    async with office.log_in(subject, *groups) as client:
        html = (await client.get(f"/approvals/{id}")).text
        assert 'value="approve"' not in html
        assert 'id="why-not"' in html
        answer = await decide(client, id, seen=field_of(html, "seen") or "x")
        assert answer.status_code in (403, 409)
    assert office.state_of(id) == "pending"


async def test_somebody_who_took_part_in_the_run_is_refused_by_the_recorder(office):
    from onrecord.policies.approvals import Participant

    office.participants.append(Participant("", "dana"))
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        answer = await decide(client, id)
    assert answer.status_code == 403
    assert "takes part in the run" in answer.text
    assert office.state_of(id) == "pending"


async def test_people_of_other_groups_do_not_see_it_and_viewers_do(office):
    id = office.hold(approvers=("security-leads",))
    async with office.log_in("dana", "dba") as client:
        assert id not in (await client.get("/approvals")).text
        assert (await client.get(f"/approvals/{id}")).status_code == 403
    async with office.log_in("vic", "staff") as client:
        assert id in (await client.get("/approvals")).text
        assert (await client.get(f"/approvals/{id}")).status_code == 200
    async with office.log_in("leo", "security-leads") as client:
        assert (await decide(client, id)).status_code == 303
    assert office.state_of(id) == "granted"


async def test_parameters_are_for_those_who_decide_and_for_auditors(office):
    id = office.hold("DELETE FROM orders WHERE id = $1", detail={"parameters": ["param-secret"]})
    for subject, group, sees in (("vic", "staff", False), ("olga", "sre", False), ("ada", "security", True)):
        async with office.log_in(subject, group) as client:
            html = (await client.get(f"/approvals/{id}")).text
        assert "DELETE FROM orders" in html
        assert ("param-secret" in html, 'id="no-contents"' in html) == (sees, not sees)


async def test_two_groups_must_agree_and_one_person_counts_once(office):
    id = office.hold(approvers=("dba", "security"))
    async with office.log_in("dana", "dba", "security") as client:
        assert (await decide(client, id)).status_code == 303
        html = (await client.get(f"/approvals/{id}")).text
        assert "agreed already" in html
        assert office.state_of(id) == "pending"
    async with office.log_in("sam", "security") as client:
        assert (await decide(client, id)).status_code == 303
    assert office.state_of(id) == "granted"


async def test_of_two_decisions_the_second_is_told_that_it_came_late(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as dana, office.log_in("dora", "dba") as dora:
        html = (await dora.get(f"/approvals/{id}")).text
        fields = {"form_token": form_token(html), "seen": field_of(html, "seen"), "decision": "approve", "reason": ""}
        assert (await decide(dana, id, "refuse", reason="no")).status_code == 303
        late = await dora.post(f"/approvals/{id}/decide", data=fields, headers={"Origin": ORIGIN})
    assert late.status_code == 409
    assert "Nothing was decided by you" in late.text
    assert office.state_of(id) == "refused"


async def test_an_expired_approval_has_no_buttons_and_a_late_form_does_nothing(office):
    id = office.hold(timeout=0.05)
    async with office.log_in("dana", "dba") as client:
        html = (await client.get(f"/approvals/{id}")).text
        import asyncio

        await asyncio.sleep(0.1)
        office.desk.tick()
        fields = {"form_token": form_token(html), "seen": field_of(html, "seen"), "decision": "approve", "reason": ""}
        late = await client.post(f"/approvals/{id}/decide", data=fields, headers={"Origin": ORIGIN})
        after = (await client.get(f"/approvals/{id}")).text
    assert late.status_code == 409
    assert "expired" in late.text
    assert 'id="decide"' not in after
    assert office.state_of(id) == "expired"


async def test_a_granted_one_can_be_taken_back_before_it_is_used(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        await decide(client, id)
        assert (await decide(client, id, "revoke", reason="wrong window")).status_code == 303
    assert office.state_of(id) == "revoked"


async def test_while_the_recorder_is_silent_nothing_is_shown_or_decided(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        html = (await client.get(f"/approvals/{id}")).text
        office.channel.silent = True
        assert (await client.get("/approvals")).status_code == 503
        fields = {"form_token": form_token(html), "seen": field_of(html, "seen"), "decision": "approve", "reason": ""}
        answer = await client.post(f"/approvals/{id}/decide", data=fields, headers={"Origin": ORIGIN})
        assert answer.status_code == 503
        office.channel.silent = False
    assert office.state_of(id) == "pending"


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</pre></article><form action=https://evil.example><button>Approve</button></form>",
        "{{ 7*7 }}{% raw %}",
        "javascript:alert(1)//\u2028</script>",
        "&lt;script&gt;",
    ],
)
async def test_no_text_becomes_markup(office, hostile):
    who = Identity(issuer="https://i/" + hostile, subject=hostile, groups=(hostile,), on_behalf_of=hostile)
    id = office.hold(
        hostile, identity=who, reason=hostile, detail={hostile: hostile, "parameters": [hostile]}, run=hostile
    )
    async with office.log_in("vic", "staff") as client:
        for path in ("/approvals", f"/approvals/{id}"):
            html = (await client.get(path)).text
            own = {'<script src="/static/page.js" defer>'}
            assert set(re.findall(r"<script[^>]*>", html)) == own
            assert "<img" not in html
            assert "evil.example>" not in html
            assert "49" not in re.findall(r"<h1>.*?</h1>", html, re.DOTALL)[0]
            assert "onerror=alert(1)>" not in html


async def test_bidi_and_look_alikes_are_marked_on_the_page(office):
    id = office.hold("DELETE FROM оrders WHERE name = 'a\u202eb'")
    async with office.log_in("dana", "dba") as client:
        html = (await client.get(f"/approvals/{id}")).text
    assert "\u202e" not in html
    assert "⟨U+202E⟩" in html
    assert "CYRILLIC SMALL LETTER O" in html
    assert "letters that look like others" in html


async def test_an_id_in_the_address_must_be_whole(office):
    id = office.hold()
    async with office.log_in("dana", "dba") as client:
        assert (await client.get(f"/approvals/{id[-8:]}")).status_code == 404
        assert (await client.get("/approvals/nothing")).status_code == 404


async def test_the_runs_agent_cannot_log_in(office):
    client = office.client()
    token = form_token((await client.get("/login")).text)
    for pasted in (
        office.token("devin", "dba", human=False),
        office.token("devin", "dba", human=False, on_behalf_of="dana"),
        replace(AGENT).subject,
    ):
        answer = await client.post(
            "/login/token", data={"form_token": token, "token": pasted, "next": "/"}, headers={"Origin": ORIGIN}
        )
        assert answer.status_code == 403
    assert (await client.get("/approvals")).status_code == 303
    await client.aclose()
