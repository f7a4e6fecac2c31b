"""One gateway for all tests that only ask it things; tests that break it start their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from onrecord.scripts.parts.https_api import HttpsApi
from tests.addons.gateway_process import GatewayProcess, gateway_process
from tests.helpers import http_resource, make_config

SECRET = "Bearer upstream-secret-4711"
POLICY = """
from onrecord.policies import Deny


class Rules:
    def http(self, command):
        if command.method == "DELETE":
            return Deny("nothing is deleted by agents", hint="open a ticket")
        if command.body and b"forbidden" in command.body:
            return Deny("that word is not for agents")
        if command.path.startswith("/admin"):
            return Deny("admin is for people")
        return None


addons = [Rules()]
"""


@dataclass
class Scene:
    """A gateway in front of one API."""

    gateway: GatewayProcess
    api: HttpsApi


@pytest.fixture(scope="session")
def shared_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("http")
    (folder / "rules.py").write_text(POLICY)
    (folder / "rules.py").chmod(0o600)
    with HttpsApi("billing.internal", "second.internal") as api:
        setup = make_config(
            folder,
            resources={
                "billing": http_resource(api, headers={"Authorization": "env:BILLING_AUTH"}),
                "second": http_resource(api, hosts=["second.internal"], groups=["others"]),
                "large": http_resource(api, hosts=["large.internal"], unknown="allow"),
                "plain": http_resource(api, hosts=["plain.internal"], plaintext=True),
            },
            policies=[{"file": str(folder / "rules.py")}],
            recordings={"body_limit": "64 KiB"},
            env={"BILLING_AUTH": SECRET},
        )
        with gateway_process(setup) as gateway:
            yield Scene(gateway, api)


@pytest.fixture
def scene(shared_scene: Scene) -> Scene:
    """The shared gateway with an API that remembers only what this test sends."""
    shared_scene.api.requests.clear()
    return shared_scene
