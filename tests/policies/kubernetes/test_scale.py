"""How many replicas a write asks for."""

from __future__ import annotations

import pytest

from onrecord.policies.kubernetes import replicas


@pytest.mark.parametrize(
    ("resource", "subresource", "body", "patch_type", "expected"),
    [
        ("deployments", "scale", {"spec": {"replicas": 0}}, "", 0),
        ("deployments", "", {"spec": {"replicas": 0}}, "merge", 0),
        ("statefulsets", "", {"spec": {"replicas": 3}}, "strategic", 3),
        ("deployments", "", [{"op": "replace", "path": "/spec/replicas", "value": 0}], "json", 0),
        ("deployments", "", [{"op": "add", "path": "/spec", "value": {"replicas": 0}}], "json", 0),
        ("deployments", "scale", [{"op": "replace", "path": "/spec/replicas", "value": 0}], "json", 0),
        ("widgets", "scale", {"spec": {"replicas": 0}}, "merge", 0),
        ("widgets", "", {"spec": {"replicas": 0}}, "merge", None),
        ("deployments", "status", {"spec": {"replicas": 0}}, "merge", None),
        ("deployments", "", {"spec": {}}, "merge", None),
        ("deployments", "", {"spec": {"replicas": True}}, "merge", None),
        ("deployments", "", "junk", "json", None),
        ("deployments", "", [{"op": "copy", "from": "/a", "path": "/spec/replicas"}], "json", 0),
        ("deployments", "scale", [{"op": "move", "from": "/a", "path": "/spec"}], "json", 0),
        ("deployments", "", [{"op": "copy", "from": "/a", "path": "/spec/paused"}], "json", None),
    ],
)
def test_replicas(resource, subresource, body, patch_type, expected):
    assert replicas(resource, subresource, body, patch_type) == expected
