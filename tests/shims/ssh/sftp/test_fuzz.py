"""Requests in any order with any fields, to a real server: each is answered once, and nothing breaks inside."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onrecord.shims.ssh.sftp import attributes, wire
from onrecord.shims.ssh.sftp.wire import Attrs
from tests.shims.ssh.sftp.lab import running_lab
from tests.shims.ssh.sftp.raw import Raw

# Nothing that leads out of the test's own folder: it is a real server that takes them.
_BYTES = st.binary(max_size=8).filter(lambda value: b"/" not in value and value != b"..")
_PATHS = st.sampled_from([b"a", b"b/c", b"b", b".", b"", b"x/", b"a/../a", b"\xff", b"l", b"l/a"]) | _BYTES
_HANDLES = st.sampled_from([b"\0\0\0\0", b"\0\0\0\1", b"\0\0\0\2"]) | _BYTES
_ATTRS = st.sampled_from(
    [wire.attrs(wire.Attrs()), wire.attrs(wire.Attrs(size=3)), wire.attrs(wire.Attrs(permissions=0o600))]
)
_FLAGS = st.integers(0, 63)
_PARTS = st.lists(
    st.builds(wire.string, _PATHS)
    | st.builds(wire.string, _HANDLES)
    | _ATTRS
    | st.builds(wire.u32, st.integers(0, 70))
    | st.builds(wire.u64, st.integers(0, 100)),
    max_size=4,
)
_REQUESTS = st.one_of(
    st.tuples(st.integers(3, 20) | st.sampled_from([0, 99, 200]), _PARTS),
    st.tuples(st.just(wire.OPEN), st.tuples(_PATHS.map(wire.string), _FLAGS.map(wire.u32), _ATTRS).map(list)),
    st.tuples(st.just(wire.OPENDIR), st.tuples(_PATHS.map(wire.string)).map(list)),
    st.tuples(st.sampled_from([wire.CLOSE, wire.FSTAT, wire.READDIR]), st.tuples(_HANDLES.map(wire.string)).map(list)),
    st.tuples(
        st.just(wire.WRITE),
        st.tuples(
            _HANDLES.map(wire.string), st.integers(0, 50).map(wire.u64), st.binary(max_size=9).map(wire.string)
        ).map(list),
    ),
    st.tuples(
        st.just(wire.READ),
        st.tuples(_HANDLES.map(wire.string), st.integers(0, 50).map(wire.u64), st.integers(0, 99).map(wire.u32)).map(
            list
        ),
    ),
    st.tuples(st.just(wire.SYMLINK), st.tuples(_PATHS.map(wire.string), _PATHS.map(wire.string)).map(list)),
)


# The same with the fields of versions 4 to 6.
_LATER_ATTRS = st.sampled_from([Attrs(), Attrs(size=3), Attrs(permissions=0o600), Attrs(mtime=1), Attrs(bits=(1, 1))])
_LATER = st.one_of(
    _REQUESTS,
    st.tuples(
        st.just(wire.OPEN),
        st.tuples(
            _PATHS.map(wire.string),
            st.integers(0, 0x1FF).map(wire.u32),
            st.integers(0, 0x7FF).map(wire.u32),
            _LATER_ATTRS.map(lambda value: attributes.encoded(value, 6)),
        ).map(list),
    ),
    st.tuples(
        st.sampled_from([wire.STAT, wire.LSTAT, wire.FSTAT]),
        st.tuples((_PATHS | _HANDLES).map(wire.string), st.integers(0, 2**32 - 1).map(wire.u32)).map(list),
    ),
    st.tuples(
        st.sampled_from([wire.RENAME, wire.LINK, wire.REALPATH]),
        st.tuples(
            _PATHS.map(wire.string), _PATHS.map(wire.string), st.integers(0, 3).map(wire.u32) | st.binary(max_size=1)
        ).map(list),
    ),
    st.tuples(
        st.sampled_from([wire.SETSTAT, wire.MKDIR, wire.FSETSTAT]),
        st.tuples(
            (_PATHS | _HANDLES).map(wire.string), _LATER_ATTRS.map(lambda value: attributes.encoded(value, 6))
        ).map(list),
    ),
)


@pytest.mark.parametrize("version", [4, 5, 6])
def test_any_requests_of_later_versions_are_answered_and_leave_whole_records(version: int) -> None:
    with TemporaryDirectory() as folder, running_lab(Path(folder)) as lab:
        lab.serve_with_asyncssh(version)

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(_LATER, max_size=40))
        def talk(requests: list[tuple[int, list[bytes]]]) -> None:
            with Raw(lab, version=version) as raw:
                ids = [raw.send(kind, *parts) for kind, parts in requests]
                answered = [int.from_bytes(raw.packet()[1:5], "big") for _ in ids]
            assert sorted(answered) == ids

        talk()
    assert lab.ends == []
    assert all(one["outcome"] is not None for one in lab.commands())


@pytest.mark.parametrize("ordered", [True, False])
def test_any_requests_are_answered_and_leave_whole_records(ordered: bool) -> None:
    with TemporaryDirectory() as folder, running_lab(Path(folder)) as lab:
        lab.settings["ordered"] = ordered

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(_REQUESTS, max_size=30))
        def talk(requests: list[tuple[int, list[bytes]]]) -> None:
            with Raw(lab) as raw:
                ids = [raw.send(kind, *parts) for kind, parts in requests]
                answered = [int.from_bytes(raw.packet()[1:5], "big") for _ in ids]
            assert sorted(answered) == ids

        talk()
    assert lab.ends == []
    assert all(one["outcome"] is not None for one in lab.commands())
