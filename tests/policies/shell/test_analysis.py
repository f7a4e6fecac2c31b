"""analyse() says what a command line does, and never raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.shell import analyse, command_of
from onrecord.policies.testing import session


def test_a_plain_pipeline_is_a_read_with_its_words_and_paths():
    found = analyse("ls -la /var/log | grep -v foo | head -n 5")
    assert found.action == "read"
    assert found.argv == (("ls", "-la", "/var/log"), ("grep", "-v", "foo"), ("head", "-n", "5"))
    assert set(found.programs) == {"ls", "grep", "head"}
    assert set(found.paths_read) == {"/var/log"}


@pytest.mark.parametrize(
    "line", ["", "\0", "ls\r", "ls \ud800", "(" * 5000, "$(" * 500, "a;" * 20000, "x" * 100000, "'", "<<<", "\\"]
)
def test_what_cannot_be_read_is_unknown_and_never_raises(line):
    assert analyse(line).action == ("read" if not line else "unknown")


@given(st.text(max_size=300))
def test_no_text_makes_the_analysis_raise(text):
    found = analyse(text)
    assert bool(found.reasons) == (found.action != "read")


@given(st.text(alphabet="$(){}`'\"\\<>&|;#\n ae=*~[]!", max_size=120))
def test_no_punctuation_makes_the_analysis_raise(text):
    analyse(text)


@pytest.mark.parametrize(
    "piece", ["(", "$(", "{ ", "`", "'", '"', "a|", "a && ", "if a; then ", "<(", "a <<E\n", "x=", "a{b,c}", "${x:-"]
)
@pytest.mark.parametrize("count", [100, 450, 2000, 16000])
@pytest.mark.timeout(60)
def test_nesting_and_length_are_bounded_and_end_as_unknown(piece, count):
    assert analyse(piece * count).action == "unknown"  # or the time limit of the test


def test_many_commands_are_unknown_and_no_more_are_read():
    found = analyse("ls;" * 1000)
    assert found.action == "unknown"
    assert len(found.argv) <= 400


def test_a_pager_on_a_terminal_is_unknown():
    assert analyse("git log").action == "read"
    assert analyse("git log", terminal=True).action == "unknown"
    assert analyse("git --no-pager log", terminal=True).action == "read"
    assert analyse("systemctl status x", terminal=True).action == "unknown"


def test_a_command_with_a_terminal_is_analysed_as_on_one():
    within = session("app1", type="ssh")
    assert command_of("git log", within).action == "read"
    assert command_of("git log", within, interactive=True).action == "unknown"


@pytest.mark.parametrize("line", ["dpkg -l", "apt list", "< file", "nohup ls"])
def test_what_a_terminal_makes_of_a_read_is_none(line):
    assert analyse(line).action == "read"
    assert analyse(line, terminal=True).action != "read"


@pytest.mark.parametrize("line", ["merge x", "revert HEAD", "pull"])
def test_an_editor_that_git_opens_on_a_terminal_is_unknown(line):
    assert analyse(f"git --no-pager {line}").action == "write"
    assert analyse(f"git --no-pager {line}", terminal=True).action == "unknown"
    assert analyse(f"git --no-pager {line} --ff-only", terminal=True).action == (
        "unknown" if "revert" in line else "write"
    )


@pytest.mark.parametrize("name", ["COLUMNS", "LINES"])
@pytest.mark.parametrize("form", ["{}={} ls", "export {}={}; ls", "env {}={} ls"])
def test_a_size_of_the_terminal_is_a_number_as_mksh_runs_commands_in_others(name, form):
    assert analyse(form.format(name, 80)).action == "read"
    assert analyse(form.format(name, "'x[$(id)]'")).action == "unknown"
    assert analyse(form.format(name, "$x")).action == "unknown"


@pytest.mark.parametrize("name", ["galiases", "saliases", "dis_aliases", "nameddirs", "dirstack", "histchars"])
def test_variables_by_which_zsh_reads_a_line_otherwise_are_unknown(name):
    assert analyse(f"{name}=x; ls").action == "unknown"
