"""Errors, notices and notifications: no value of a masked column, and still what the client needs to know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.postgres.masking.texts import mask_fields, mask_notification
from onrecord.shims.postgres.messages import decode_fields, encode_error
from onrecord.shims.postgres.wire import message
from tests.shims.postgres.masking.conftest import ALL, masks_of

MASKS = masks_of(detect=ALL)
R = "[redacted]"


def masked(fields: dict[str, str], own: tuple[str, ...] = (), *, by_column: bool = True) -> dict[str, str]:
    assert MASKS.detectors is not None
    data = encode_error(fields)
    return decode_fields(mask_fields(data, MASKS.detectors.clean, {}, by_column=by_column, own=own))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"C": "23505", "M": 'duplicate key value violates unique constraint "k"', "t": "people", "n": "k",
             "D": "Key (email)=(bob) already exists."},
            {"M": 'duplicate key value violates unique constraint "k"', "D": f"Key (email)=({R}) already exists."},
        ),
        (
            {"C": "23503", "D": 'Key (a, lower(b))=(1)=(x), "y") is not present in table "people".', "t": "orders"},
            {"D": f'Key (a, lower(b))=({R}) is not present in table "{R}".'},
        ),
        (
            {"C": "23P01", "D": "Key (r)=([1,5)) conflicts with existing key (r)=([2,3))."},
            {"D": f"Key (r)=({R})."},
        ),
        ({"C": "23514", "D": "Failing row contains (1, bob (x), null)."}, {"D": f"Failing row contains ({R})."}),
        ({"C": "44000", "D": "Failing row contains (1, bob)."}, {"D": f"Failing row contains ({R})."}),
        (
            {"C": "22P02", "M": 'invalid input syntax for type integer: "bo"b"'},
            {"M": f'invalid input syntax for type integer: "{R}"'},
        ),
        (
            {"C": "22021", "M": 'invalid byte sequence for encoding "UTF8": 0xff 0x41'},
            {"M": f'invalid byte sequence for encoding "{R}": 0xff 0x41'},
        ),
        ({"C": "22P02", "M": "invalid input syntax for type json", "D": 'Token "bob" is invalid.',
          "W": "JSON data, line 1: bob..."},
         {"D": R, "W": f"JSON data, line 1: {R}"}),
        ({"C": "P0001", "M": "the phone is 12345", "W": "PL/pgSQL function f() line 3 at RAISE"}, {"M": R}),
        ({"C": "00000", "M": "bob", "W": "PL/pgSQL function f() line 3 at RAISE"}, {"M": R}),
        ({"C": "42000", "M": "bob", "W": "PL/pgSQL function f() line 3 at RAISE"}, {"M": R}),
        ({"C": "42P01", "M": 'relation "bob" does not exist'}, {"M": f'relation "{R}" does not exist'}),
        ({"C": "42601", "M": 'syntax error at or near "bob"', "q": "SELECT bob"}, {"q": R}),
        ({"C": "42601", "M": "mail bob@example.com"}, {"M": f"mail {R}"}),
        ({"C": "25001", "M": "there is already a transaction in progress"},
         {"M": "there is already a transaction in progress"}),
    ],
)  # fmt: skip
def test_values_are_taken_out_of_every_field(fields: dict[str, str], expected: dict[str, str]) -> None:
    found = masked(fields)
    assert found["C"] == fields["C"]
    for letter, text in expected.items():
        if letter == "M" and fields["C"] == "22021":
            assert "0x41" not in found[letter] or R in found[letter]
        else:
            assert found[letter] == text
    assert "bob" not in " ".join(value for letter, value in found.items() if letter not in "stcdn")


def test_what_the_client_said_itself_stays() -> None:
    own = ("INSERT INTO people (email) VALUES ('bob')", "abc")
    found = masked({"C": "23505", "D": "Key (email)=(bob) already exists."}, own)
    assert found["D"] == "Key (email)=(bob) already exists."
    assert masked({"C": "22P02", "M": 'invalid input: "abc"'}, own)["M"] == 'invalid input: "abc"'
    assert masked({"C": "42P01", "M": 'relation "people" does not exist'}, own)["M"].endswith('"people" does not exist')


def test_without_rules_for_columns_only_detectors_speak() -> None:
    found = masked({"C": "23505", "D": "Key (a)=(x) bob@example.com"}, by_column=False)
    assert found["D"] == f"Key (a)=(x) {R}"


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=9, max_size=30))
def test_no_value_in_quotes_or_keys_survives(value: str) -> None:
    marker = f"zz{value}zz"
    for fields in (
        {"C": "22P02", "M": f'invalid input syntax for type integer: "{marker}"'},
        {"C": "42P01", "M": f'relation "{marker}" does not exist'},
        {"C": "23505", "D": f"Key (email)=({marker}) already exists."},
        {"C": "23514", "D": f"Failing row contains (1, {marker})."},
        {"C": "P0001", "M": marker},
        {"C": "22007", "M": f"invalid value: {marker}", "D": marker},
    ):
        assert marker not in " ".join(masked(fields).values())


def test_notifications_hide_what_is_not_known() -> None:
    assert MASKS.detectors is not None
    data = message(b"A", (7).to_bytes(4, "big") + b"channel\0call bob@example.com\0")
    clean = MASKS.detectors.clean
    assert b"call [redacted]\0" in mask_notification(data, clean, {}, by_column=False, own=())
    assert b"channel\0[redacted]\0" in mask_notification(data, clean, {}, by_column=True, own=())
    plain = message(b"A", (7).to_bytes(4, "big") + b"channel\0hello\0")
    assert mask_notification(plain, clean, {}, by_column=True, own=("NOTIFY channel, 'hello'",)) is plain
    assert mask_notification(plain, clean, {}, by_column=False, own=()) is plain


@pytest.mark.parametrize(
    "fields",
    [
        {"C": "22003", "M": "Wert »bob« ist außerhalb des gültigen Bereichs für Typ integer"},
        {"C": "22003", "M": "el valor «bob» está fuera de rango para el tipo integer"},
        {"C": "22003", "M": "la valeur « bob » est en dehors des limites pour le type integer"},
        {"C": "22003", "M": "la valeur «\u00a0bob\u00a0» est en dehors des limites pour le type integer"},
        {"C": "22003", "M": '値"bob"は型integerの範囲外です'},
        {"C": "22P02", "M": "ungültige Eingabesyntax für Typ json", "D": "Token »bob« ist ungültig.",
         "W": "JSON-Daten, Zeile 1: bob..."},
        {"C": "22P02", "M": "json型の入力構文が不正です", "W": "JSONデータ、1行目: bob..."},
        {"C": "22P02", "M": "неверный синтаксис для типа json", "W": "данные JSON, строка 1: bob..."},
        {"C": "22P02", "M": "x", "W": "COPY people, Zeile 1, Spalte email: »bob«"},
        {"C": "22P02", "M": "x", "W": "COPY people, ligne 1, colonne email : « bob »"},
        {"C": "23505", "M": "x", "D": "Schlüssel »(email)=(bob)« existiert bereits."},
        {"C": "23514", "M": "x", "D": "Fehlgeschlagene Zeile enthält (1, bob)."},
        {"C": "54000", "M": "it is bob", "W": "PL/pgSQL-Funktion f() Zeile 3 bei RAISE"},
    ],
)  # fmt: skip
def test_a_server_of_another_language_tells_no_value(fields: dict[str, str]) -> None:
    assert "bob" not in " ".join(masked(fields).values())


def test_names_of_a_server_of_another_language_stay() -> None:
    own = ("SELECT email FROM people",)
    for text in (
        "Relation »people« existiert nicht",
        "no existe la relación «people»",
        "la relation « people » existe",
    ):
        assert masked({"C": "42P01", "M": text}, own)["M"] == text
