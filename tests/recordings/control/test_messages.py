"""recordings/control/messages.py"""

from __future__ import annotations

import contextlib
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.policies.errors import ControlError
from onrecord.policies.policy_set import PolicyFile, PolicySet
from onrecord.recordings.control.messages import (
    MAX_TO_PROCESS,
    MAX_TO_RECORDER,
    Commit,
    Heartbeat,
    Hello,
    PolicyFailed,
    Prepare,
    Ready,
    Refusals,
    clip,
    encode,
    to_process,
    to_recorder,
)

SET = PolicySet((PolicyFile(name="p", ref="p.py", source="x = 'ü\x00'\n", resources=("a",), groups=("b",)),))
UP = [Hello("gateway", 7, digest="sha256:0"), Ready("sha256:0", ok=False, error="no"), Refusals(3, "disk is full")]
DOWN = [Heartbeat(), Heartbeat("full"), Prepare(SET.digest, SET), Commit(SET.digest), PolicyFailed("broken", 1.5)]


@settings(deadline=None)  # a byte at a time is many draws
@given(st.data())
def test_any_chunking_gives_the_same_messages(data):
    for messages, limit, decoder in ((UP, MAX_TO_RECORDER, to_recorder()), (DOWN, MAX_TO_PROCESS, to_process())):
        wire = b"".join(encode(message, limit) for message in messages)  # type: ignore[arg-type]
        found: list[object] = []
        while wire:
            cut = data.draw(st.integers(1, len(wire)))
            found.extend(decoder.feed(wire[:cut]))
            wire = wire[cut:]
        assert found == messages


def test_a_policy_set_keeps_its_digest_on_the_way():
    (found,) = to_process().feed(encode(Prepare(SET.digest, SET), MAX_TO_PROCESS))
    assert isinstance(found, Prepare)
    assert found.policies.digest == SET.digest


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_junk_raises_only_control_error(chunks):
    for decoder in (to_recorder(), to_process()):
        try:
            for chunk in chunks:
                list(decoder.feed(chunk))
        except ControlError:
            pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "ok", "digest"]), inner),
    max_leaves=8,
)
TAGS = ["hello", "ready", "refusals", "heartbeat", "prepare", "commit", "policy_failed", "kill", None]


@given(
    st.dictionaries(st.sampled_from(["process", "pid", "digest", "ok", "count", "policies", "error"]), JSON),
    st.sampled_from(TAGS),
)
def test_objects_of_a_wrong_shape_raise_only_control_error(fields, tag):
    payload = json.dumps({"type": tag, **fields}).encode()
    for decoder in (to_recorder(), to_process()):
        with contextlib.suppress(ControlError):
            list(decoder.feed(struct.pack(">I", len(payload)) + payload))


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{}", b"[]", b"null", b'{"type": "kill"}', b'{"type": "hello"}',
        b'{"type": "hello", "process": 1, "pid": 2}',
        b'{"type": "ready", "digest": "x", "ok": 1}', b'{"type": "hello", "process": "a", "pid": 1, "admin": true}',
        b'{"type": "refusals", "count": -1, "reason": ""}', b'{"type": "commit", "digest": "x"}', b"\xff",
        b"[" * 50_000,
    ],
)  # fmt: skip
def test_what_is_no_message_to_the_recorder_is_refused(payload):
    with pytest.raises(ControlError):
        list(to_recorder().feed(struct.pack(">I", len(payload)) + payload))


def test_a_length_over_the_limit_is_refused_before_its_bytes_come():
    with pytest.raises(ControlError, match="over its limit"):
        list(to_recorder().feed(struct.pack(">I", MAX_TO_RECORDER + 1)))
    with pytest.raises(ControlError, match="over its limit"):
        encode(Refusals(1, "x" * MAX_TO_RECORDER), MAX_TO_RECORDER)


def test_long_texts_are_cut():
    assert clip("short") == "short"
    assert len(clip("x" * 100_000)) == 4000
