"""recordings/admin/sessions.py: what a cookie stands for, and for how long."""

from __future__ import annotations

import time

import pytest

from onrecord.policies.approvals import Approver
from onrecord.recordings.admin.sessions import (
    ANONYMOUS_LIFETIME,
    MAX_ANONYMOUS,
    MAX_ANONYMOUS_OF_CLIENT,
    MAX_LOGINS,
    MAX_OF_IDENTITY,
    PendingLogin,
    Sessions,
)

DANA = Approver(issuer="https://idp.example.com", subject="dana", kind="human", auth_time=5.0)


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(clock):
    return Sessions(idle=900, lifetime=3600, clock=clock)


def log_in(sessions, person=DANA):
    cookie, _ = sessions.open()
    return sessions.log_in(cookie, person)


def test_a_login_changes_the_cookie_and_the_key(sessions):
    before, anonymous = sessions.open()
    after, session = sessions.log_in(before, DANA)
    assert before != after
    assert sessions.get(before) is None
    assert sessions.get(after) is session
    assert anonymous.token("form") != session.token("form")
    assert session.person == DANA


def test_a_session_ends_after_its_idle_time(sessions, clock):
    cookie, _ = log_in(sessions)
    clock.now += 899
    assert sessions.get(cookie) is not None
    clock.now += 899
    assert sessions.get(cookie) is not None
    clock.now += 901
    assert sessions.get(cookie) is None


def test_an_open_event_stream_keeps_nobody_logged_in(sessions, clock):
    cookie, _ = log_in(sessions)
    clock.now += 600
    assert sessions.alive(cookie)
    clock.now += 600
    assert not sessions.alive(cookie)


def test_a_session_ends_after_its_lifetime_however_busy_it_is(sessions, clock):
    cookie, _ = log_in(sessions)
    for _ in range(3):
        clock.now += 800
        assert sessions.get(cookie) is not None
    clock.now += 1300
    assert sessions.get(cookie) is None


def test_a_wall_clock_put_back_makes_no_session_younger(monkeypatch):
    sessions = Sessions(idle=900, lifetime=3600)
    cookie, _ = log_in(sessions)
    risen = time.monotonic() + 901
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(sessions, "_clock", lambda: risen)
    assert sessions.get(cookie) is None
    assert Sessions(idle=1, lifetime=1)._clock is time.monotonic


def test_a_logout_ends_it(sessions):
    cookie, _ = log_in(sessions)
    sessions.end(cookie)
    assert sessions.get(cookie) is None


def test_whoever_does_not_log_in_is_forgotten(sessions, clock):
    cookie, _ = sessions.open()
    clock.now += ANONYMOUS_LIFETIME
    assert sessions.get(cookie) is None
    sessions.open()
    clock.now += ANONYMOUS_LIFETIME
    sessions.sweep()
    assert len(sessions) == 0


def test_strangers_cannot_push_out_those_who_are_logged_in(sessions):
    cookie, _ = log_in(sessions)
    for number in range(MAX_ANONYMOUS + 50):
        sessions.open(f"192.0.2.{number % 100}")
    assert len(sessions) == MAX_ANONYMOUS + 1
    assert sessions.get(cookie) is not None


def test_a_flood_of_one_client_does_not_end_the_login_that_another_has_begun(sessions):
    honest, session = sessions.open("192.0.2.1")
    state = session.begin_login(PendingLogin("https://idp.example.com", "n", "v", "/", 0.0))
    for _ in range(MAX_ANONYMOUS * 2):
        sessions.open("198.51.100.7")
    assert len(sessions) == MAX_ANONYMOUS_OF_CLIENT + 1
    for number in range(MAX_ANONYMOUS * 2):
        sessions.open(f"203.0.113.{number % 20}")
    assert len(sessions) == MAX_ANONYMOUS
    found = sessions.get(honest)
    assert found is not None
    assert found.finish_login(state) is not None


def test_one_person_has_a_bounded_number_of_sessions(sessions):
    cookies = [log_in(sessions)[0] for _ in range(MAX_OF_IDENTITY + 3)]
    assert [sessions.get(cookie) is not None for cookie in cookies] == [False] * 3 + [True] * MAX_OF_IDENTITY


def test_tokens_are_for_one_session_and_one_purpose(sessions):
    _, one = log_in(sessions)
    _, other = log_in(sessions)
    assert one.holds("form", one.token("form"))
    assert not one.holds("form", other.token("form"))
    assert not one.holds("form", one.token("seen:a"))
    assert not one.holds("form", "")
    assert not one.holds("form", "é\ud800")


def test_the_answer_to_a_login_counts_once_and_only_in_its_session(sessions):
    _, one = sessions.open()
    _, other = sessions.open()
    state = one.begin_login(PendingLogin("https://idp.example.com", "n", "v", "/", 0.0))
    assert other.finish_login(state) is None
    assert one.finish_login(state) is not None
    assert one.finish_login(state) is None
    for _ in range(MAX_LOGINS + 5):
        one.begin_login(PendingLogin("https://idp.example.com", "n", "v", "/", 0.0))
    assert len(one.logins) == MAX_LOGINS
