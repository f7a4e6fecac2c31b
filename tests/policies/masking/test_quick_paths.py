"""What was made fast finds what the plain way finds: each search against a slow one that is written out."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from onrecord.policies.masking.detectors import addresses, national, numbers
from onrecord.policies.masking.detectors.unit import GAP

_RUN = re.compile(rf"[0-9](?:{GAP}[0-9]){{11,}}", re.ASCII)
_LOCAL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&*+-.?^_`~'")


def _cards(text: str) -> set[tuple[int, int]]:
    """Every row of whole groups in every run, tried one by one."""
    found = set()
    for run in _RUN.finditer(text):
        if re.fullmatch(r"[0-9]+\.[0-9]+", run[0]):
            continue
        groups = [match.span() for match in re.finditer("[0-9]+", run[0])]
        for first in range(len(groups)):
            for last in range(first, min(len(groups), first + numbers.MAX_GROUPS)):
                digits = "".join(run[0][a:b] for a, b in groups[first : last + 1])
                if 12 <= len(digits) <= 19 and numbers.is_card(digits):
                    found.add((run.start() + groups[first][0], run.start() + groups[last][1]))
    return found


_DIGITS = st.lists(
    st.one_of(
        st.text("0123456789", min_size=1, max_size=20),
        st.sampled_from(
            ["4111", "1111", "4242424242424242", "378282246310005", "5555 5555 5555 4444", "6759649826438453"]
        ),
        st.sampled_from([" ", "-", ".", "/", "_", "\u00a0", "  ", "    ", "a", "\n\0\n", "€"]),
    ),
    max_size=30,
).map("".join)


@given(_DIGITS)
@example("4111 1111 1111 1111 4242-4242-4242-4242")
@example("12345.6789012345678")
@example("123 4111111111111111")
def test_cards_are_found_as_by_trying_every_row(text: str) -> None:
    assert set(numbers.find_cards(text)) == _cards(text)


def _start_of_local(text: str, end: int, floor: int) -> int:
    at, least = end, max(floor, end - 320)
    while at > least and (text[at - 1] in _LOCAL or (text[at - 1] > "\x7f" and not text[at - 1].isspace())):
        at -= 1
    while at < end and text[at] in "'.`*!?&#$%^~":
        at += 1
    return at


_WORDS = st.lists(
    st.one_of(
        st.text("abcXYZ019._-+'*!?&#%^~` @\"<>é€\u3000\u00a0", max_size=60),
        st.sampled_from(
            ["@", "@example.com", "@x.co", "@xn--bcher-kva.example", "@a.xn--p1ai", "@bücher.de", "@a-b.c"]
        ),
    ),
    max_size=12,
).map("".join)


@given(_WORDS)
@example("a" * 500 + "@example.com")
def test_the_local_part_of_an_address_begins_where_it_did_character_by_character(text: str) -> None:
    for match in re.finditer("@", text):
        end = match.start()
        if end and text[end - 1] != '"':
            assert addresses._local(text, end, 0) == _start_of_local(text, end, 0)


@given(_WORDS)
@example("@example.com.")
@example("@example.com-x")
@example("@a.bc_d.ef")
@example("@example.comé")
def test_a_plain_domain_ends_where_a_domain_of_any_script_ends(text: str) -> None:
    for match in re.finditer("@", text):
        quick = addresses._PLAIN_DOMAIN.match(text, match.end())
        if quick is not None:
            slow = addresses._DOMAIN.match(text, match.end())
            assert slow is not None
            assert slow.end() == quick.end()


@given(st.text("0123456789 -aX.", max_size=40))
@example("12 345 678 901")
@example("x12 345 678 901")
@example("812 345 678 901")
def test_the_edge_of_a_form_is_asked_behind_its_first_digit_as_before_it(text: str) -> None:
    for form in (r"[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}", r"[0-9]{6} ?[0-9]{5}", r"[0-9]{1}[A-Z]"):
        before = re.compile(rf"(?<![0-9A-Za-z])(?:{form})(?![0-9A-Za-z])", re.ASCII | re.IGNORECASE)
        behind = re.compile(national._at_its_edge(form) + r"(?![0-9A-Za-z])", re.ASCII | re.IGNORECASE)
        assert behind.pattern != before.pattern
        assert [match.span() for match in behind.finditer(text)] == [match.span() for match in before.finditer(text)]
