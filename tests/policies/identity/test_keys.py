from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
import uvloop

from onrecord.policies.errors import IdentityError
from onrecord.policies.identity import keys as keys_module
from onrecord.policies.identity.fetch import FetchError
from onrecord.policies.identity.jwks import PublicKey, parse_jwks
from onrecord.policies.identity.keys import FRESH, LOOKUP_BURST, LOOKUP_EVERY, FileKeys, RemoteKeys
from tests.policies.identity.signing import ec_key, ed_key, jwk, jwks

FIRST = parse_jwks(jwks(jwk(ec_key(), "first")))
SECOND = parse_jwks(jwks(jwk(ed_key(), "second")))


class Issuer:
    """An issuer whose answers and time the test sets."""

    def __init__(self, stale: float = 3600.0) -> None:
        self.now = 1000.0
        self.answer: tuple[PublicKey, ...] | str = FIRST
        self.asked = 0
        self.go = threading.Event()
        self.go.set()
        self.keys = RemoteKeys("https://idp.example.com", None, stale, fetch=self.fetch, clock=lambda: self.now)

    def fetch(self, issuer: str, ca: Path | None) -> tuple[PublicKey, ...]:
        self.asked += 1
        assert self.go.wait(10)
        if isinstance(self.answer, str):
            raise FetchError(self.answer)
        return self.answer


async def refusal(issuer: Issuer) -> str:
    with pytest.raises(IdentityError) as caught:
        await issuer.keys.current()
    return caught.value.detail


async def test_keys_are_fetched_once_and_again_when_they_are_old() -> None:
    issuer = Issuer()
    for _ in range(3):
        assert await issuer.keys.current() == FIRST
    assert issuer.asked == 1
    issuer.answer = SECOND
    issuer.now += FRESH
    assert await issuer.keys.current() == FIRST
    issuer.now += 1
    assert await issuer.keys.current() == SECOND


async def test_an_unknown_kid_asks_again_at_a_bounded_rate() -> None:
    issuer = Issuer()
    await issuer.keys.current()
    answers = [await issuer.keys.again() for _ in range(50)]
    assert answers == [FIRST] * LOOKUP_BURST + [None] * (50 - LOOKUP_BURST)
    issuer.now += LOOKUP_EVERY
    assert [await issuer.keys.again() for _ in range(50)].count(None) == 49
    assert issuer.asked == 1 + LOOKUP_BURST + 1


async def test_many_who_ask_at_once_share_one_fetch() -> None:
    issuer = Issuer()
    issuer.go.clear()
    waiting = [asyncio.create_task(issuer.keys.current()) for _ in range(50)]
    waiting += [asyncio.create_task(asyncio.wait_for(issuer.keys.current(), 0.01))]
    await asyncio.sleep(0.02)
    issuer.go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[:50] == [FIRST] * 50
    assert isinstance(results[50], TimeoutError)
    assert issuer.asked == 1


async def test_a_token_verified_late_is_believed_no_longer_than_the_key_it_was_verified_with() -> None:
    issuer = Issuer(stale=3600.0)
    fetched = issuer.now
    await issuer.keys.current()
    issuer.now += keys_module.FRESH - 1
    await issuer.keys.current()
    assert issuer.keys.usable_until == fetched + keys_module.FRESH
    issuer.answer = "connection refused"
    issuer.now += 2
    await issuer.keys.current()
    assert issuer.keys.usable_until == issuer.now + keys_module.LAST_BACKOFF


async def test_stale_keys_serve_while_the_issuer_is_down_and_then_no_longer() -> None:
    issuer = Issuer(stale=1000.0)
    await issuer.keys.current()
    issuer.answer = "connection refused"
    issuer.now += 999
    assert await issuer.keys.current() == FIRST
    assert issuer.keys.usable_until == issuer.now + 1
    issuer.now += 2
    assert "connection refused" in await refusal(issuer)
    issuer.answer = SECOND
    issuer.now += 60
    assert await issuer.keys.current() == SECOND


async def test_stale_keys_serve_soon_while_the_issuer_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer(stale=1000.0)
    await issuer.keys.current()
    monkeypatch.setattr(keys_module, "PATIENCE", 0.01)
    issuer.go.clear()
    issuer.now += 500
    assert await issuer.keys.current() == FIRST
    assert await issuer.keys.current() == FIRST
    issuer.answer = SECOND
    issuer.go.set()
    monkeypatch.setattr(keys_module, "PATIENCE", 10.0)
    assert await issuer.keys.current() == SECOND
    assert issuer.asked == 2


async def test_a_short_stale_time_also_shortens_how_long_keys_are_fresh() -> None:
    issuer = Issuer(stale=2.0)
    await issuer.keys.current()
    issuer.answer = "down"
    issuer.now += 2
    assert await issuer.keys.current() == FIRST
    issuer.now += 1
    assert "older than jwks_stale" in await refusal(issuer)


async def test_a_down_issuer_is_not_asked_for_every_token() -> None:
    issuer = Issuer()
    issuer.answer = "down"
    for _ in range(20):
        assert "down" in await refusal(issuer)
        assert await issuer.keys.again() is None
    assert issuer.asked == 1
    for _ in range(100):
        issuer.now += 1
        await refusal(issuer)
    assert issuer.asked < 12


async def test_a_second_loop_in_the_process_gets_keys_too() -> None:
    issuer = Issuer()
    issuer.go.clear()
    waiting = asyncio.create_task(issuer.keys.current())
    await asyncio.sleep(0)
    other = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(issuer.keys.current())))
    await asyncio.sleep(0.02)
    issuer.go.set()
    assert await waiting == FIRST
    assert await other == FIRST


def test_an_eager_loop_gets_keys() -> None:
    issuer = Issuer()

    async def ask() -> tuple[PublicKey, ...]:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        return (await asyncio.gather(issuer.keys.current(), issuer.keys.current()))[1]

    assert asyncio.run(ask()) == FIRST
    assert issuer.asked == 1


def test_a_uvloop_gets_keys() -> None:
    issuer = Issuer()
    assert uvloop.run(issuer.keys.current()) == FIRST


async def test_a_key_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    source = FileKeys(path)
    with pytest.raises(IdentityError) as caught:
        await source.current()
    assert "onrecord token" in caught.value.detail
    path.write_bytes(jwks(jwk(ec_key(), "first")))
    assert [key.kid for key in await source.current()] == ["first"]
    path.write_bytes(jwks(jwk(ec_key(), "first"), jwk(ed_key(), "second")))
    assert [key.kid for key in await source.current()] == ["first", "second"]
    assert await source.again() is None
    path.unlink()
    with pytest.raises(IdentityError):
        await source.current()


async def test_a_key_file_that_others_can_write_or_redirect_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(jwk(ec_key(), "first")))
    path.chmod(0o666)
    with pytest.raises(IdentityError) as caught:
        await FileKeys(path).current()
    assert "others can write" in caught.value.detail
    path.chmod(0o644)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    with pytest.raises(IdentityError):
        await FileKeys(link).current()
    path.write_bytes(b"{}")
    with pytest.raises(IdentityError) as caught:
        await FileKeys(path).current()
    assert "keys" in caught.value.detail
