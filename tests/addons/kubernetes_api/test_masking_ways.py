"""The quick way through a document shows nothing that the slow way masks, in whatever spelling."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.addons.kubernetes_api.answers import WatchMask
from onrecord.addons.kubernetes_api.handed_out import HandedOut
from onrecord.addons.kubernetes_api.masking import ObjectMask
from onrecord.policies.masking import MaskError, Masks

CARD, MAIL, VALUE = "4111 1111 1111 1111", "alice.smith@example.com", "hunter2-in-clear"
SECRETS = (CARD, CARD.replace(" ", ""), MAIL, VALUE)
LONG = "z" * 5000  # from 4096 bytes on a list is taken apart
ENV = f'{{"env":[{{"name":"DB_PASSWORD","value":"{VALUE}"}}]}}'


def spelt(text: str) -> str:
    """Every character as JSON's escape."""
    return "".join(f"\\u{ord(c):04x}" for c in text)


def inside(name: str, text: str) -> str:
    """A JSON text whose string is `text` as it stands."""
    return f'{{"{name}":"{text}"}}'


def pairs(found: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Every member, also one whose name stands twice."""
    return found


def made() -> ObjectMask:
    masks = Masks(key=b"k" * 32, detect={"email": "redact", "payment_card": "redact"})
    return ObjectMask(masks, HandedOut(), secrets=False, env=True)


def texts(value: Any) -> Iterator[str]:
    """All that a reader may see in a document, and in the JSON that stands in its strings."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)
    else:
        yield str(value)
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            try:
                inner = json.loads(value, object_pairs_hook=pairs)
            except ValueError:
                return
            yield from texts(inner)


def shown(data: bytes) -> set[str]:
    seen = "\n".join(texts(json.loads(data.decode("utf-8-sig"), object_pairs_hook=pairs)))
    return {text for text in SECRETS if text in seen}


def long(**members: Any) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "PodList", **members, "columnDefinitions": LONG}).encode()


@pytest.mark.parametrize(
    "data",
    [
        json.dumps({"metadata": {"annotations": {"a": inside("card", spelt(CARD))}}}).encode(),
        json.dumps({"metadata": {"annotations": {"a": ' ["alice.smith\\u0040example.com"]'}}}).encode(),
        json.dumps({"a": json.dumps({"b": inside("c", spelt(MAIL))})}).encode(),
        json.dumps({"metadata": {"annotations": {"a": " " + ENV}}}).encode(),
        json.dumps({"metadata": {"annotations": {"a": ENV.replace("PASSWORD", "P\\u0041SSWORD")}}}).encode(),
        json.dumps({"metadata": {"annotations": {"a": ENV.replace('":"DB', '" :\n "DB')}}}).encode(),
        ENV.replace("PASSWORD", "P\\u0041SSWORD").encode(),
        ENV.replace("name", "n\\u0061me").encode(),
        json.dumps({"spec": {"kind": [CARD], "apiVersion": {"x": MAIL}}}).encode(),
        json.dumps({"spec": {"kind": CARD, "apiVersion": MAIL}}).encode(),
        long(items=[1], metadata={"annotations": {"a": MAIL}}),
        long(items=[1], metadata={"annotations": {"a": ENV}}),
        long(items=[{"a": 1}], name="DB_PASSWORD", value=VALUE),
        long(items=[1], **{CARD: 1}),
        long(items=[None, 4111111111111111, MAIL, [MAIL], {MAIL: 1}]),
        long(rows=[{"cells": [MAIL], "object": {"metadata": {"annotations": {"a": f'"{MAIL}"'}}}}]),
        b"\xef\xbb\xbf" + long(items=[{"a": MAIL}]),
        long(items=[{"a": MAIL}]).replace(b'"items"', b'"items":[{"b":1}],"items"'),
        long(items=[{"a": MAIL}]).replace(b'"columnDef', b'"items":[1],"columnDef'),
        long(items=[{"a": 1}]).replace(b'"a": 1', b'"a": "%s", "a": 1' % MAIL.encode()),
    ],
)  # fmt: skip
def test_no_spelling_and_no_shape_shows_a_value(data: bytes) -> None:
    assert shown(data)
    assert not shown(made().document(data))
    event = WatchMask(made()).feed(data.removeprefix(b"\xef\xbb\xbf") + b"\n")
    assert event.endswith(b"\n")  # clients tell events apart by their lines
    assert not shown(event)


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-32"])
def test_json_in_another_charset_is_refused(charset: str) -> None:
    with pytest.raises(MaskError):
        made().document(json.dumps({"a": MAIL}).encode(charset))


_INNER = st.sampled_from(
    ["ok", CARD, MAIL, ENV, " " + ENV, inside("a", spelt(MAIL)), f"[{inside('a', spelt(CARD))}]", inside(MAIL, "x"),
     json.dumps({"x": inside("c", spelt(CARD))}), '{"n":4111111111111111}', "[", '{"a":']
)  # fmt: skip
_NAMES = st.sampled_from(
    ["name", "value", "kind", "apiVersion", "metadata", "items", "rows", "annotations", "labels", "object", "a", CARD]
)
_TREES = st.recursive(
    _INNER | st.sampled_from([None, 1, 1.5, 4111111111111111]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=10,
)


@given(_TREES, st.lists(_TREES, max_size=4), st.sampled_from(["items", "rows"]), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_both_ways_show_the_same_of_any_list(
    metadata: Any, parts: list[Any], name: str, is_last: bool, spaced: bool
) -> None:
    rest = {"kind": "PodList", "metadata": metadata, "columnDefinitions": LONG}
    document = {**rest, name: parts} if is_last else {name: parts, **rest}
    data = json.dumps(document, indent=1 if spaced else None).encode()
    assert shown(made().document(data)) == shown(made()._whole(data))
