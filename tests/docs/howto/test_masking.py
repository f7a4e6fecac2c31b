"""docs/howto/masking.md: its configuration loads and masks as it says."""

from __future__ import annotations

import re
from pathlib import Path

from onrecord.policies.config import load_config
from onrecord.policies.masking import Rule, masks_for

TEXT = (Path(__file__).resolve().parents[3] / "docs/howto/masking.md").read_text()
KEY = b"k" * 32
MAIL = "john.doe@example.com"


def test_the_sample_masks_as_it_says(tmp_path):
    path = tmp_path / "mitm.toml"
    path.write_text(re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0])
    config = load_config(path)
    agents = masks_for(config, "orders", ["agents"], key=KEY)
    support = masks_for(config, "orders", ["agents", "support"], key=KEY)
    assert agents is not None
    assert support is not None
    rule = agents.column("public", "customers", "email", "text")
    assert rule is not None
    assert str(rule.apply(MAIL)).endswith("@pseudonym.invalid")
    assert support.column("public", "customers", "email", "text") is None
    assert support.detectors is not None
    assert support.detectors.clean(MAIL, {}) == "[redacted]"


def test_the_strategies_give_what_the_table_says():
    assert Rule(name="x", strategy="partial", key=KEY).apply(MAIL) == "j***@e***.com"
    assert Rule(name="x", strategy="redact").apply(MAIL) == "[redacted]"
    assert Rule(name="x", strategy="null").apply(MAIL) is None
    assert len(str(Rule(name="x", strategy="format", key=KEY).apply(MAIL))) == len(MAIL)
