"""Attributes and requests of versions 4 to 6: what is read is what is sent, and junk raises only SftpError."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.ssh.sftp import attributes, wire
from onrecord.shims.ssh.sftp.access import Access, access_of
from onrecord.shims.ssh.sftp.places import names, read_attrs
from onrecord.shims.ssh.sftp.requests import Request, asked, read_request
from onrecord.shims.ssh.sftp.wire import Attrs, Fields, SftpError

_VERSIONS = st.sampled_from([4, 5, 6])
_U32, _U64, _TEXT = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=20)
_FRACTIONS = st.tuples(_U32, _U32, _U32, _U32)


@st.composite
def _attrs(draw: st.DrawFn, *, settable: bool) -> Attrs:
    named = draw(st.booleans())
    made = Attrs(
        size=draw(st.none() | _U64),
        owner=draw(_TEXT) if named else None,
        group=draw(_TEXT) if named else None,
        permissions=draw(st.none() | _U32),
        atime=draw(st.none() | _U64),
        createtime=draw(st.none() | _U64),
        mtime=draw(st.none() | _U64),
        kind=draw(st.integers(1, 9)),
    )
    if settable:
        return made
    return made._replace(
        acl=draw(st.none() | _TEXT),
        bits=draw(st.none() | st.tuples(_U32, _U32)),
        allocation=draw(st.none() | _U64),
        text_hint=draw(st.none() | st.integers(0, 255)),
        mime_type=draw(st.none() | _TEXT),
        links=draw(st.none() | _U32),
        untranslated=draw(st.none() | _TEXT),
        ctime=draw(st.none() | _U64),
    )


@given(_attrs(settable=False), _FRACTIONS)
def test_attributes_of_version_6_survive_the_way(value: Attrs, parts: tuple[int, int, int, int]) -> None:
    times = (value.atime, value.createtime, value.mtime, value.ctime)
    a, b, c, d = (part if time is not None else 0 for time, part in zip(times, parts, strict=True))
    for one in (value, value._replace(fractions=(a, b, c, d))):
        fields = Fields(attributes.encoded(one, 6), 0)
        assert attributes.read(fields, 6) == one
        fields.end()


@given(_attrs(settable=False), st.sampled_from([4, 5]))
def test_what_a_version_does_not_have_is_not_sent_in_it(value: Attrs, version: int) -> None:
    fields = Fields(attributes.encoded(value, version), 0)
    found = attributes.read(fields, version)
    fields.end()
    assert (found.allocation, found.ctime, found.links, found.text_hint) == (None, None, None, None)
    assert (found.size, found.owner, found.acl) == (value.size, value.owner, value.acl)
    assert found.bits == (value.bits if version == 5 else None)


@given(_attrs(settable=True), _VERSIONS, st.binary(max_size=40).filter(lambda path: b"\0" not in path))
def test_what_is_read_is_what_is_sent(value: Attrs, version: int, path: bytes) -> None:
    body = wire.string(path) + attributes.encoded(value, version)
    request = read_request(wire.packet(wire.SETSTAT, 5, body)[4:], version)
    assert isinstance(request, Request)
    assert request.encode() == body


@given(_VERSIONS, st.sampled_from([*range(24), 101, 102, 103, 104, 105, 200, 201]), st.binary(max_size=80))
def test_junk_raises_only_sftp_error(version: int, kind: int, data: bytes) -> None:
    packet = bytes([kind]) + data
    for read in (read_request, read_attrs, names):
        with contextlib.suppress(SftpError):
            read(packet, version)
    with contextlib.suppress(SftpError):
        attributes.read(Fields(data, 0), version)
    with contextlib.suppress(SftpError):
        asked(packet)


@given(st.sampled_from([3, 4]), _U32)
def test_flags_of_versions_3_and_4_are_understood_whole_or_refused(version: int, flags: int) -> None:
    found = access_of(version, (flags,))
    assert isinstance(found, Access) is (flags <= wire.ALL_FLAGS)


@given(st.sampled_from([5, 6]), st.integers(0, 0x1FF) | _U32, st.integers(0, 0x7FF) | _U32)
def test_an_open_that_only_reads_says_nothing_that_could_change_a_file(version: int, access: int, flags: int) -> None:
    found = access_of(version, (access, flags))
    if isinstance(found, Access) and not found.writes:
        assert found.reads
        assert access & ~0x181 == 0
        assert flags & ~0x400 == 2


@pytest.mark.parametrize(("version", "flags"), [(5, 0x402), (4, 0x40)])
def test_flags_of_a_later_version_are_refused(version: int, flags: int) -> None:
    numbers = (1, flags) if version == 5 else (flags,)
    assert isinstance(access_of(version, numbers), str)
