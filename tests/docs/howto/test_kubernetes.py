"""What docs/howto/kubernetes.md shows is true."""

from __future__ import annotations

import re
from pathlib import Path

from onrecord.policies import Deny, Hold
from onrecord.policies.config import KubernetesResource, load_config
from onrecord.policies.testing import answer, kubernetes

PAGE = (Path(__file__).resolve().parents[3] / "docs/howto/kubernetes.md").read_text()


def sample(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found[0])


def test_the_configuration_loads(tmp_path: Path) -> None:
    path = tmp_path / "mitm.toml"
    path.write_text(sample("toml"))
    found = load_config(path).resources["prod"]
    assert isinstance(found, KubernetesResource)
    assert found.impersonate


def test_the_policy_decides_as_it_says(tmp_path: Path) -> None:
    policy = tmp_path / "guard_shop.py"
    policy.write_text(sample("python"))
    assert isinstance(answer(policy, kubernetes("list", "secrets")), Deny)
    assert isinstance(answer(policy, kubernetes("deletecollection", "pods", namespace="shop")), Deny)
    assert isinstance(answer(policy, kubernetes("create", "pods/exec", name="web", argv=["sh"])), Hold)
    assert answer(policy, kubernetes("create", "pods/exec", name="web", argv=["cat", "/etc/motd"])) is None
    body = {"metadata": {"labels": {"tier": "payment"}}}
    assert isinstance(answer(policy, kubernetes("update", "deployments", group="apps", name="pay", body=body)), Hold)


def test_the_extras_of_the_role_are_those_that_are_sent() -> None:
    import yaml

    from onrecord.addons.kubernetes_api.impersonation import impersonation
    from onrecord.policies.model import Identity, Run, Session

    role = yaml.safe_load(sample("yaml"))
    named = {one.partition("/")[2] for rule in role["rules"] for one in rule["resources"] if "/" in one}
    config = KubernetesResource(name="prod", type="kubernetes", hosts=("a",), impersonate=True)
    identity = Identity(issuer="i", subject="s", on_behalf_of="h", agent="a")
    within = kubernetes("list", "pods").session
    session = Session(
        id="x", run=Run("r"), identity=identity, resource=within.resource, protocol="http", client="c", started_at=0
    )
    sent = {name.decode().lower().removeprefix("impersonate-extra-") for name, _ in impersonation(config, session)}
    assert named == {name for name in sent if not name.startswith("impersonate-")}
