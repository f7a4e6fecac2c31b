"""Exports of one story: each format says the same, in its own words, and what is not on record is not made up."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.export.material import Archive
from onrecord.recordings.export.writing import render, write_file
from onrecord.recordings.queries import Filters, NotFoundError
from tests.recordings.console.story import EVIL, Story, shop_story


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    made = shop_story(tmp_path_factory.mktemp("export"))
    made.store()
    yield made
    made.close()


@pytest.fixture
def archive(story: Story) -> Iterator[Archive]:
    with Archive(story.path) as opened:
        yield opened


def exported(archive: Archive, story: Story, id: str, format: Any, **more: int) -> str:
    return "".join(render(archive, archive.subject(id), format, story.path, None, **more))


def test_a_run_a_session_and_a_command_are_found(archive: Archive) -> None:
    run = archive.subject("fix-invoices")
    assert (run.what, len(run.sessions), len(run.numbers)) == ("run", 2, 5)
    session = archive.subject(run.sessions[0]["id"])
    assert (session.what, len(session.numbers)) == ("session", 4)
    command = next(archive.commands_of(session))
    assert archive.subject(command["id"]).what == "command"
    with pytest.raises(NotFoundError):
        archive.subject("no-such-run")


def test_jsonl_is_what_show_prints(archive: Archive, story: Story) -> None:
    lines = [json.loads(line) for line in exported(archive, story, "fix-invoices", "jsonl").splitlines()]
    assert [line["text"] for line in lines] == [
        "SELECT id, email FROM customers WHERE id > $1", "DELETE FROM orders",
        "POST https://billing.internal/v1/invoices?draft=1", "SELECT 1/0", "SELECT pg_sleep(60)",
    ]  # fmt: skip
    for line in lines:
        shown = archive.show(line["id"])
        assert line == json.loads(json.dumps(shown))
    (shell,) = [json.loads(line) for line in exported(archive, story, "restart-app", "jsonl").splitlines()]
    assert [chunk["channel"] for chunk in shell["chunks"]] == ["resize", "terminal", "terminal", "terminal"]
    assert shell == json.loads(json.dumps(archive.show(shell["id"])))


def test_har_holds_the_requests_and_only_them(archive: Archive, story: Story) -> None:
    log = json.loads(exported(archive, story, "fix-invoices", "har"))["log"]
    assert log["version"] == "1.2"
    assert set(log["creator"]) >= {"name", "version"}
    (entry,) = log["entries"]
    assert set(entry) >= {"startedDateTime", "time", "request", "response", "cache", "timings"}
    request, response = entry["request"], entry["response"]
    assert set(request) >= {
        "method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize",
    }  # fmt: skip
    assert set(response) >= {
        "status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL", "headersSize",
        "bodySize",
    }  # fmt: skip
    assert (request["method"], request["url"]) == ("POST", "https://billing.internal/v1/invoices?draft=1")
    assert request["postData"]["text"] == '{"it\'s": 1}'
    assert (response["status"], response["statusText"], response["content"]["text"]) == (201, "Created", '{"id": 7}')
    assert entry["_onrecord"]["verdict"]["type"] == "allow"
    assert json.loads(exported(archive, story, "restart-app", "har"))["log"]["entries"] == []


# what the schema requires of either class (schema.ocsf.io, 1.5: API Activity, Datastore Activity)
COMMON = {
    "activity_id",
    "actor",
    "category_uid",
    "class_uid",
    "metadata",
    "severity_id",
    "src_endpoint",
    "time",
    "type_uid",
}
REQUIRED = {6003: COMMON | {"api"}, 6005: COMMON | {"database"}}


def test_ocsf_has_what_the_schema_requires(archive: Archive, story: Story) -> None:
    events = [json.loads(line) for line in exported(archive, story, "fix-invoices", "ocsf").splitlines()]
    events += [json.loads(line) for line in exported(archive, story, "restart-app", "ocsf").splitlines()]
    assert [event["class_uid"] for event in events] == [6005, 6005, 6003, 6005, 6005, 6003]
    for event in events:
        assert REQUIRED[event["class_uid"]] <= event.keys()
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert {"version", "product"} <= event["metadata"].keys()
        assert event["severity_id"] in range(7)
        assert isinstance(event["time"], int)
    denied = events[1]
    assert (denied["action_id"], denied["disposition_id"], denied["status_id"]) == (2, 2, 2)
    assert denied["firewall_rule"]["name"] == "guard_orders"
    assert (events[2]["activity_id"], events[1]["activity_id"], events[0]["activity_id"]) == (1, 7, 4)
    assert events[4]["status_id"] == 0  # it still runs
    assert events[0]["actor"]["invoked_by"] == "alice@example.com"


@pytest.mark.parametrize("version", [2, 3])
def test_a_shell_is_a_cast(archive: Archive, story: Story, version: int) -> None:
    lines = exported(archive, story, "restart-app", "cast", cast_version=version).splitlines()
    assert json.loads(lines[0])["version"] == version
    assert any("deploy@app1" in line for line in lines[1:])
    with pytest.raises(NotFoundError, match="html or jsonl"):
        exported(archive, story, "fix-invoices", "cast")


def test_nothing_hostile_is_in_any_export(tmp_path: Path) -> None:
    story = Story(tmp_path)
    session = story.session(run="evil")
    story.command(
        session, "SELECT " + EVIL, detail={"method": EVIL, "scheme": "https", "host": EVIL, "port": 1, "path": EVIL}
    )
    story.store()
    with Archive(story.path) as archive:
        for format in ("jsonl", "har", "ocsf", "html"):
            out = exported(archive, story, "evil", format)
            assert not set("\x1b\x07\x9b\u202e\u2066\x7f\u200b\r") & set(out), format
            if format != "html":
                for line in out.splitlines() if format != "har" else [out]:
                    json.loads(line)
    story.close()


def test_a_file_is_private_whole_and_never_replaced_by_accident(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_file(path, ["a\n", "b\n"], force=False)
    assert path.read_text() == "a\nb\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(OnrecordError, match="--force"):
        write_file(path, ["c\n"], force=False)

    def breaks() -> Iterator[str]:
        yield "half"
        raise NotFoundError("gone")

    with pytest.raises(NotFoundError):
        write_file(path, breaks(), force=True)
    assert path.read_text() == "a\nb\n"
    assert list(tmp_path.iterdir()) == [path]


def test_log_and_exports_find_the_same_commands(archive: Archive) -> None:
    run = [view["id"] for view in archive.commands_of(archive.subject("fix-invoices"))]
    assert run == [view["id"] for view in archive.log(Filters(run="fix-invoices"))]
