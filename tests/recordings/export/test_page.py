"""The HTML file: opened from disk in a real browser, with everything hostile in it, and its proofs checked."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.model import Identity, Outcome
from onrecord.recordings.evidence.checkpoint import Verifier
from onrecord.recordings.evidence.custody import vkey_path
from onrecord.recordings.evidence.merkle import leaf_hash, verify_inclusion
from onrecord.recordings.export.material import Archive
from onrecord.recordings.export.writing import render
from onrecord.recordings.records import ChunkRecord
from tests.recordings.console.story import Story, shop_story

# what would set data-owned on <html>, were it markup or script
PAYLOADS: list[str] = json.loads((Path(__file__).parents[2] / "corpora/html_attacks.json").read_text())
HOSTILE = "\n".join(PAYLOADS)
TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "table", "tr", "th", "td"} | {
    "details", "summary", "div", "span", "pre", "mark", "script",
}  # fmt: skip


class Tags(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def opened(path: Path, tmp_path: Path) -> str:
    """The document as Chromium has it after its scripts ran."""
    browser = shutil.which("chromium")
    assert browser is not None, "chromium is missing: scripts/setup-debian chromium:chromium"
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND", path.as_uri()],
        capture_output=True, text=True, timeout=110, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    return done.stdout


def page(story: Story, id: str, path: Path) -> str:
    with Archive(story.path) as archive:
        content = "".join(render(archive, archive.subject(id), "html", story.path, story.state))
    path.write_text(content, encoding="utf-8")
    return content


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    made = shop_story(tmp_path_factory.mktemp("page"))
    made.store()
    yield made
    made.close()


def block(content: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', content, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_nothing_recorded_becomes_markup_or_script(tmp_path):
    story = Story(tmp_path)
    identity = Identity(issuer=HOSTILE, subject=HOSTILE, groups=(HOSTILE,), on_behalf_of=HOSTILE)
    session = story.session(run="run", identity=identity, on=HOSTILE, protocol=HOSTILE)
    rows = {"columns": PAYLOADS, "rows": [PAYLOADS]}
    story.command(
        session, HOSTILE, action=HOSTILE, verdict="deny", reason=HOSTILE, hint=HOSTILE,
        detail={HOSTILE: HOSTILE, "parameters": PAYLOADS},
        outcome=Outcome(status="refused", code=HOSTILE, error=HOSTILE, sample=rows, masked={HOSTILE: 1}),
    )  # fmt: skip
    story.command(
        session, HOSTILE, kind="ssh",
        chunks=(ChunkRecord(direction="to_client", size=9, data=HOSTILE, channel="terminal"),),
        outcome=Outcome(status="ok", code="0", sample={"body": HOSTILE, HOSTILE: HOSTILE}),
    )  # fmt: skip
    story.store()
    path = tmp_path / "page.html"
    content = page(story, "run", path)
    parser = Tags()
    parser.feed(content)
    assert {tag for tag, _ in parser.found} <= TAGS
    allowed = {"lang", "charset", "http-equiv", "content", "name", "class", "data-cast", "type", "id", "open"}
    assert {name for _, attributes in parser.found for name in attributes} <= allowed
    document = opened(path, tmp_path)
    assert "data-owned" not in document.partition("<body")[0]
    assert "ap-player" in document  # the scripts that are ours did run
    assert document.count("<iframe") == 0
    story.close()


def test_the_page_fetches_nothing_and_allows_by_hash_only(shop, tmp_path):
    content = page(shop, "restart-app", tmp_path / "page.html")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', content)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].replace("&#x27;", "'").split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe-inline" not in rules["script-src"] + rules["style-src"]
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        for inline in re.findall(rf"<{tag}>(.*?)</{tag}>", content, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in rules[rule]
    parser = Tags()
    parser.feed(content)
    assert not any({"src", "href"} & attributes.keys() for _, attributes in parser.found)


def test_without_a_terminal_there_is_no_script_at_all(shop, tmp_path):
    content = page(shop, "fix-invoices", tmp_path / "page.html")
    assert "script-src &#x27;none&#x27;" in content
    assert "<script>" not in content
    assert "a<mark>***</mark>@e<mark>***</mark>.com" in content
    assert "unfiltered DELETE on orders" in content


def test_masked_columns_and_pseudonyms_are_marked(tmp_path):
    story = Story(tmp_path)
    session = story.session(run="masks")
    word = "0123456789abcdef0123"
    sample = {"columns": ["id", "name"], "rows": [["7", "Xqz"], [f"{word}@pseudonym.invalid", None]], "masked": [1]}
    story.command(session, "SELECT 1", outcome=Outcome(status="ok", sample=sample))
    story.store()
    content = page(story, "masks", tmp_path / "page.html")
    for part in (
        "<th>name▒</th>",
        "<td><mark>Xqz</mark></td>",
        "<mark>NULL</mark>",
        f"<mark>{word}@pseudonym.invalid</mark>",
    ):
        assert part in content
    assert "<td>7</td>" in content
    story.close()


def test_the_terminal_plays_from_disk(shop, tmp_path):
    path = tmp_path / "page.html"
    content = page(shop, "restart-app", path)
    assert "deploy@app1" in block(content, "cast-0")
    document = opened(path, tmp_path)
    assert 'class="ap-player' in document
    assert "--term-cols: 60" in document


def test_its_proofs_hold_for_who_has_only_the_public_key(shop, tmp_path):
    content = page(shop, "fix-invoices", tmp_path / "page.html")
    proofs = block(content, "proofs")
    checkpoint = Verifier.parse(vkey_path(shop.state).read_text()).open(proofs["checkpoint"])
    records = proofs["records"]
    assert len(records) == 2 + 5 + 4  # sessions, commands, outcomes
    texts = b""
    for record in records:
        leaf = base64.b64decode(record["leaf"])
        path = [base64.b64decode(step) for step in record["path"]]
        assert verify_inclusion(leaf_hash(leaf), record["number"], checkpoint.size, path, checkpoint.root)
        texts += leaf
    assert b"DELETE FROM orders" in texts


def test_an_altered_record_is_not_proved_and_the_page_says_so(tmp_path):
    import sqlite3
    from contextlib import closing

    story = shop_story(tmp_path)
    story.close()
    with closing(sqlite3.connect(story.path, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE records SET leaf = CAST(replace(leaf, 'customers', 'castomers') AS BLOB) WHERE seq = 1"
        )
    content = page(story, "fix-invoices", tmp_path / "page.html")
    assert "records were altered" in content


def test_the_player_is_the_one_that_is_named():
    folder = Path(__file__).parents[3] / "recordings/export/vendor"
    named = dict(re.findall(r"\| (\S+) \| ([0-9a-f]{64}) \|", (folder / "README.md").read_text()))
    assert set(named) == {path.name for path in folder.iterdir()} - {"README.md", "LICENSE"}
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
