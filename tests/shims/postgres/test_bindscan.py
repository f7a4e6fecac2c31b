"""A large Bind read in pieces is what it would be read as in one."""

from __future__ import annotations

import hashlib
import hmac
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.postgres import bindscan
from onrecord.shims.postgres.bindscan import BindScanner
from onrecord.shims.postgres.messages import Bind, decode_bind
from onrecord.shims.postgres.wire import WireError, message


def digest() -> hmac.HMAC:
    return hmac.new(b"key", digestmod="sha256")


def encoded(bind: Bind) -> bytes:
    parts = [bind.portal.encode() + b"\0" + bind.statement.encode() + b"\0"]
    parts.append(struct.pack(f">H{len(bind.formats)}h", len(bind.formats), *bind.formats))
    parts.append(struct.pack(">H", len(bind.values)))
    parts += [struct.pack(">i", -1) if one is None else struct.pack(">i", len(one)) + one for one in bind.values]
    parts.append(struct.pack(f">H{len(bind.result_formats)}h", len(bind.result_formats), *bind.result_formats))
    return message(b"B", b"".join(parts))


names = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=63)
codes = st.lists(st.integers(0, 1), max_size=1).map(tuple)
binds = st.builds(Bind, names, names, codes, st.lists(st.none() | st.binary(max_size=40), max_size=6).map(tuple), codes)


def scan(data: bytes, cuts: list[int]) -> BindScanner:
    scanner, at = BindScanner(digest), 0
    for cut in sorted({*cuts, len(data)}):
        if at < min(cut, len(data)):
            scanner.feed(data[at:cut])
            at = cut
    return scanner


@given(binds, st.lists(st.integers(1, 400), max_size=8))
def test_any_chunking_gives_what_the_whole_gives(bind: Bind, cuts: list[int]) -> None:
    data = encoded(bind)
    scanner = scan(data, cuts)
    assert scanner.bind == decode_bind(data) == bind
    assert not scanner.large


@given(st.binary(max_size=60), st.lists(st.integers(1, 60), max_size=4))
def test_junk_is_refused_where_the_whole_would_be(junk: bytes, cuts: list[int]) -> None:
    data = message(b"B", junk)
    try:
        whole: Bind | None = decode_bind(data)
    except WireError:
        whole = None
    try:
        found: Bind | None = scan(data, cuts).bind
    except WireError:
        found = None
    assert found == whole


def test_large_values_are_told_by_size_and_digest_and_what_is_small_is_known_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bindscan, "LARGE_VALUE", 5)
    bind = Bind("p", "s", (1,), (b"small", b"larger", None, b"last"), (1,))
    scanner = scan(encoded(bind), [20, 21, 22, 23])
    assert scanner.bind == bind._replace(values=(b"small", None, None, b"last"))
    expected = hmac.new(b"key", b"larger", hashlib.sha256).hexdigest()
    assert scanner.large == {1: f"[6 bytes, keyed digest {expected}]"}
    assert scanner.kept == 9


def test_many_small_values_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindscan, "MAX_KEPT", 8)
    scanner = scan(encoded(Bind("", "", (), (b"12345",) * 4, ())), [])
    assert scanner.kept == 5
    assert set(scanner.large) == {1, 2, 3}
