"""Booleans, durations and numbers in query strings; keys in bodies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rove.api.call import decode_body
from rove.api.dispatch import DispatchBody
from rove.api.govalues import parse_bool, parse_duration, parse_int, parse_uint, shown
from rove.api.nodes import DrainBody
from rove.api.scale import ScaleBody
from rove.errors import BadRequestError


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_every_go_spelling_of_true_is_true(text: str) -> None:
    assert parse_bool("x", text) is True


@pytest.mark.parametrize("text", ["yes", "tRUE", "2", "on", ""])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(BadRequestError):
        parse_bool("x", text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("123ms", 123_000_000),
        ("5m", 300 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("1.5s", 1_500_000_000),
        (".5s", 500_000_000),
        ("60000ms", 60 * 10**9),
        ("-1s", -(10**9)),
        ("3us", 3000),
    ],
)
def test_durations(text: str, ns: int) -> None:
    assert parse_duration("wait", text) == ns


@given(st.text(max_size=80))
def test_no_text_crashes_the_readers(text: str) -> None:
    for reader in (parse_duration, parse_uint, parse_int, parse_bool):
        try:
            reader("x", text)
        except BadRequestError as error:
            assert error.status == 400


@pytest.mark.parametrize("text", ["-1", "1.0", "18446744073709551616", "９", "1 "])
def test_a_wrong_unsigned_number_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError):
        parse_uint("index", text)


def test_text_shown_to_people_has_no_control_characters() -> None:
    assert "\n" not in shown("a\nb\x00c")
    assert len(shown("x" * 10_000)) < 200


def test_body_keys_match_without_regard_to_case_and_nulls_mean_absent() -> None:
    body = decode_body(
        b'{"drainspec": {"DEADLINE": 5, "ignoresystemjobs": null}, "Unknown": [1], "META": null}', DrainBody
    )
    assert body.drain_spec is not None
    assert body.drain_spec.deadline == 5
    assert body.meta == {}


def test_an_exact_key_wins_over_one_in_another_case() -> None:
    assert decode_body(b'{"COUNT": 1, "Count": 2, "count": 3}', ScaleBody).count == 2


def test_base64_becomes_bytes() -> None:
    assert decode_body(b'{"Payload": "aGk=", "idempotency_token": "x"}', DispatchBody).payload == b"hi"


@pytest.mark.parametrize(
    "raw",
    [b"", b"  ", b"[]", b"null", b"{", b'{"Count": "3"}', b'{"Meta": []}', b'{"Count": 1.5}', b"\xff", b"[" * 100_000],
)
def test_a_bad_body_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(BadRequestError):
        decode_body(raw, ScaleBody)
