"""shims/ssh/environment.py: which variables of a client go on."""

from __future__ import annotations

import pytest

from onrecord.shims.ssh.environment import passed_on


@pytest.mark.parametrize("value", [b"", b"C", b"POSIX", b"C.UTF-8", b"de_DE.utf8", b"de_DE.UTF-8@euro"])
def test_a_locale_in_utf_8_goes_on(value):
    assert passed_on({b"LC_ALL": value, b"LANG": value}, ()) == {b"LC_ALL": value, b"LANG": value}


@pytest.mark.parametrize(
    "value", [b"zh_CN.GBK", b"zh_TW", b"ja_JP.SJIS", b"../x.UTF-8", b"/tmp/x", b"C.UTF-8\n", b"a" * 70]
)
def test_a_locale_in_which_the_shell_would_read_other_words_does_not(value):
    assert passed_on({b"LC_ALL": value, b"LC_CTYPE": value, b"LANG": value}, ()) == {}


def test_what_programs_load_from_does_not_go_on_unless_it_is_wanted():
    given = {
        b"LD_PRELOAD": b"/tmp/x",
        b"BASH_ENV": b"/tmp/x",
        b"LC_x": b"C",
        b"GIT_PROTOCOL": b"version=2",
        b"APP": b"1",
    }
    assert passed_on(given, ("APP",)) == {b"GIT_PROTOCOL": b"version=2", b"APP": b"1"}
