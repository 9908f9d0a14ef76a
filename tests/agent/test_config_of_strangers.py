"""Whatever stands in a configuration file, the answer is a configuration or a plain error."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rove.agent.config import AgentConfig
from rove.agent.config_decode import bytes_of, decode_config, seconds_of
from rove.agent.config_files import parse_config
from rove.agent.config_tree import from_dict
from rove.errors import BadRequestError

NAMES = st.sampled_from([each.encode_name for each in msgspec.structs.fields(AgentConfig)]) | st.text(max_size=8)
INNER = st.sampled_from(["enabled", "meta", "options", "reserved", "servers", "heartbeat_grace", "wait", "config"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | INNER, inner, max_size=4),
    max_leaves=12,
)


@given(values=st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_values_give_a_configuration_or_an_error(values: dict[str, Any]) -> None:
    try:
        assert isinstance(decode_config(from_dict(values, lambda name: "x:1")), AgentConfig)
    except BadRequestError as error:
        assert "x:1" in error.why


@given(text=st.text())
def test_any_text_is_a_duration_and_a_size_or_neither(text: str) -> None:
    for read in (seconds_of, bytes_of):
        try:
            assert read(text) == read(text)
        except ValueError as error:
            assert "expected" in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("0", 0),
        ("-5s", -5),
        ("1us", 1e-6),
        ("3µs", 3e-6),
    ],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "count"), [("1M", 10**6), ("16MiB", 16 * 2**20), ("1.5 kb", 1500), (7, 7), ("100GB", 10**11), ("5", 5)]
)
def test_sizes_are_read(text: Any, count: int) -> None:
    assert bytes_of(text) == count


HOSTILE = [
    "{" * 5000, "[" * 5000, "a = " + "[" * 5000, "a = " + "(" * 5000, "a {" * 5000, "\0", "a = \"${" * 2000,
    "a = <<EOT\n",
    "\ufeff", "a = \"\\u{110000}\"", "/*", "a = 1" + "0" * 20000, "a = 1e999999999", "server { enabled = true " * 3000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_gives_a_plain_error(text: str) -> None:
    try:
        decode_config(parse_config(text, "x.hcl"))
    except BadRequestError as error:
        assert error.why


def test_files_with_damage_give_a_plain_error_or_a_configuration() -> None:
    source = (Path(__file__).parent / "test_config_files.py").read_text(encoding="utf-8")
    full = source.partition('FULL = """')[2].partition('"""')[0]
    rng = random.Random(7)
    for _ in range(300):
        damaged = list(full)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged))
            damaged[at] = rng.choice(["", "{", "}", '"', "=", "\n", "\\", "$", "x", "\0", damaged[at] * 2])
        try:
            decode_config(parse_config("".join(damaged), "x.hcl"))
        except BadRequestError as error:
            assert "x.hcl" in error.why
