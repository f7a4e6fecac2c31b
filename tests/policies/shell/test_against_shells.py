"""What bash and dash really run is what the analysis says, whenever it says that it knows."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from onrecord.policies.shell import analyse
from tests.policies.shell.stubs import SHELLS, Stubs, covers

EXAMPLES = int(os.environ.get("ONRECORD_SHELL_EXAMPLES", "60"))

# No "/" anywhere: whatever a shell makes of a line stays in its empty folder.
NAMES = ("ls", "cat", "head", "tail", "wc", "id", "rm", "touch", "grep", "echo", "true", "nice", "env")
WORDS = ("a", "b", "-n", "--", "-la", "x.y", "'a b'", '"a b"', "a\\ b", "''", "$x", '"$x"', "*", "~", "$HOME", "a=b", "E",
         "'$x'", "\\$x", "\"a'b\"", "$(id)", '"$(id -u)"', "`id`", "1", "2", "{", "}", "!", "#", "a#b", "if", "done", "in",
         "[", "]", "$((1+2))", "\\'", "'\"'", "é", "-", "=", "a\\\nb", "${x}", "[ab]", "?", "%s", "$(echo ls)", "{a,b}",
         "<(id)", "$'ls'", '$"ls"', "time", "'#'", "\\#", "x\\", "@(a)", "~x", "a~", "a=~")  # fmt: skip
PIECES = (" ", "  ", "\t", "\n", ";", "|", "&", "&&", "||", "(", ")", "{", "}", "{ ", "; }", "<", ">", ">>", "<<", "<<<", "2>",
          "2>&1", "&>", ">&", ">|", "$(", "`", "'", '"', "\\", "\\\n", "$", "${", "$((", "))", "#", " #", "!", "! ", "if ", "then ",
          "fi", "for x in ", "do ", "done", "while ", "case x in ", "esac", ";;", "~", "=", "x=", "*", "[ ", " ]", "[[ ", " ]]",
          "$'", '$"', "eval ", "exec ", "command ", "function ", "time ", "\r", "\x0b", "\xa0", "\u2028", "else ", "elif ", "until ",
          "select ", "x() ", "()", "coproc ", "|&", "<>", "&>>", "{x}>", "-", "<<-E\n", "<<E\n", "\nE\n", "<<'E'\n", "((", "let ",
          "local ", "export ", "sh -c ", "trap ", "1", "]", "[", "@(", "!(", "%", "^", ",", "..", ":", "+")  # fmt: skip

word = st.sampled_from(WORDS)
simple = st.builds(lambda name, words: " ".join([name, *words]), st.sampled_from(NAMES), st.lists(word, max_size=3))
redirect = st.sampled_from(
    ["", "", "", " > a", " 2>&1", " < a", " >> 'x y'", " 2> b", " >&2", " &> c", " >| e", " <&-", " > -"]
)
command = st.builds(lambda text, to: text + to, simple, redirect)
line = st.recursive(
    command,
    lambda inner: st.one_of(
        st.builds(lambda a, op, b: a + op + b, inner, st.sampled_from([" | ", " && ", " || ", "; ", " & ", "\n", ";", "|", "&"]), inner),
        st.builds("({})".format, inner),
        st.builds("{{ {}; }}".format, inner),
        st.builds("! {}".format, inner),
        st.builds("if {}; then {}; fi".format, inner, inner),
        st.builds("if {}\nthen {}\nelse {}\nfi".format, inner, inner, inner),
        st.builds("for x in a b; do {}; done".format, inner),
        st.builds("until {}; do {}; done".format, inner, inner),
        st.builds("case a in a|b) {};; *) {};; esac".format, inner, inner),
        st.builds("cd d && {}".format, inner),
        st.builds("cd d; {}".format, inner),
        st.builds("{{ cd d; {}; }}".format, inner),
        st.builds("echo $({})".format, inner),
        st.builds('echo "$({})"'.format, inner),
        st.builds("eval '{}'".format, inner.filter(lambda text: "'" not in text)),
        st.builds("sh -c '{}'".format, inner.filter(lambda text: "'" not in text)),
        st.builds("cat <<E\n$({})\nE\n".format, inner),
        st.builds("cat <<'E' | wc\n{}\nE\n{}".format, inner, inner),
        st.builds("{} # {}".format, inner, inner),
        st.builds("nice {}".format, inner),
        st.builds("x=a; {}".format, inner),
        st.builds("x=a {}".format, inner),
    ),
    max_leaves=4,
)  # fmt: skip


@st.composite
def mutated(draw):
    """A line with up to three pieces put in, taken out or doubled anywhere."""
    text = draw(line)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        kind = draw(st.integers(0, 2))
        if kind == 0:
            text = text[:at] + draw(st.sampled_from(PIECES)) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + draw(st.integers(1, 3)) :]
        else:
            text = text[:at] + draw(simple) + text[at:]
    return text


soup = st.lists(st.sampled_from([*PIECES, *NAMES, *WORDS]), max_size=12).map("".join)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    return Stubs(tmp_path_factory.mktemp("stubs"))


def check(stubs: Stubs, text: str) -> None:
    found = analyse(text)
    if found.action == "unknown":
        return
    for shell in SHELLS:
        calls, made = stubs.run(shell, text)
        for call in calls:
            assert call[0] in found.programs, (shell, call)
            assert covers(found.argv, call), (shell, call, found.argv)
        written = {path.removeprefix("./").removeprefix("~/") for path in found.paths_written}
        assert made <= written, (shell, made, written)


FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@FUZZ
@given(text=line)
@example(text="cat <<E; id\n$(ls)\nE")
@example(text="cd d && ls > a")
@example(text="ls &>x id")
@example(text="cd d && ls | cat > a")
@example(text="eval cd d; ls > -")
def test_every_program_that_a_shell_starts_is_in_argv(stubs, text):
    check(stubs, text)


@FUZZ
@given(text=mutated())
@example(text="echo a\\\n;id")
@example(text="ls;#id\nid")
@example(text="echo {ls,-a}")
def test_every_program_that_a_shell_starts_is_in_argv_after_mutation(stubs, text):
    check(stubs, text)


@FUZZ
@given(text=soup)
def test_no_soup_of_tokens_starts_a_program_unseen(stubs, text):
    check(stubs, text)


def test_the_stubs_see_what_runs(stubs):
    for shell in SHELLS:
        calls, made = stubs.run(shell, "ls -a 'b c' | wc > f; sh -c id")
        assert ("ls", "-a", "b c") in calls
        assert ("wc",) in calls
        assert ("sh", "-c", "id") in calls
        assert made == {"f"}
