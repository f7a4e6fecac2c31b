"""addons/direct.py: which names are a listener's own, pure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.direct import Direct, DirectListeners
from onrecord.addons.egress import Destinations
from onrecord.addons.http_head import HeadError
from onrecord.policies.config import load_config
from tests.helpers import free_ports, make_config


@pytest.fixture
def direct(tmp_path: Path) -> Direct:
    (port,) = free_ports(1)
    resource = {"type": "kubernetes", "hosts": ["prod.k8s.internal", "*.prod.example.com"], "groups": ["agents"]}
    setup = make_config(tmp_path, resources={"prod": {**resource, "listen": f"127.0.0.1:{port}"}})
    config = load_config(setup.path)
    directs = DirectListeners(config, Destinations(config))
    (mode,) = directs.modes
    assert mode == f"reverse:tls://onrecord.invalid:443@127.0.0.1:{port}"
    return directs._found[mode]


@pytest.mark.parametrize(
    "name", [b"127.0.0.1", b"localhost:6443", b"PROD.k8s.internal.", b"a.prod.example.com", b"[::1]:9", b"10.1.2.3:80"]
)
def test_its_address_its_hosts_and_where_the_client_connected_are_its_own(direct: Direct, name: bytes) -> None:
    direct.check([name], None, "10.1.2.3")


@pytest.mark.parametrize(
    ("names", "sni"),
    [
        ([b"other.internal"], None),
        ([b"10.1.2.4"], None),
        ([b"prod.k8s.internal", b"localhost"], None),
        ([b"prod.k8s.internal"], "localhost"),
        ([b"prod.k8s.internal"], "other.internal"),
        ([b"prod.example.com"], None),
        ([b"prod.k8s.internal.evil.com"], None),
        ([b"evil\xff"], None),
        ([b""], None),
    ],
)
def test_every_other_name_is_refused(direct: Direct, names: list[bytes], sni: str | None) -> None:
    with pytest.raises(HeadError) as caught:
        direct.check(names, sni, "10.1.2.3")
    assert caught.value.status in (400, 421)


LISTENER = Direct("", None, None, ("prod.k8s.internal",), frozenset({"127.0.0.1"}))  # type: ignore[arg-type]


@given(st.binary(max_size=40), st.none() | st.text(max_size=20))
def test_junk_raises_only_a_head_error_and_never_passes(name: bytes, sni: str | None) -> None:
    object.__setattr__(LISTENER, "route", _Route())
    with pytest.raises(HeadError):
        LISTENER.check([name + b"x.evil"], sni, "127.0.0.1")


class _Route:
    class resource:  # noqa: N801
        name = "prod"
