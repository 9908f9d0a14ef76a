"""Jobs as text: any value survives, nothing obvious is said, and formatting keeps what people wrote."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rove.jobspec import (
    EXAMPLE_JOB,
    EXAMPLE_JOB_SHORT,
    canonicalize,
    format_hcl,
    job_to_hcl,
    parse_job,
    validate,
    warnings,
)
from rove.structs.job import Job

PIECES = st.sampled_from(
    ["$", "%", "{", "}", "${", "%{", "$${", "%%{", "${a.b}", "${NOMAD_X}", "${var.x}", "${1+1}", '"', "\\", "\n", "\t",
     "\r",
     "EOT", "EOT\n", "~", "é", "\u2028", "\x00", "\x1f", "{{ a/b }}", "${\"x\"}", "${if}", "${true}"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PIECES, st.text(st.characters(exclude_categories=["Cs"]), max_size=4)), max_size=8).map(
    lambda parts: unicodedata.normalize("NFC", "".join(parts))
)
"""HCL keeps texts in Unicode's composed form, so only such texts can come back unchanged."""
PLAIN = st.one_of(TEXTS, st.integers(-(2**63), 2**63 - 1), st.booleans())
FREE = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(["a", "b-c", "for", "a.b"]), TEXTS.filter(bool)), inner, max_size=3),
    ),
    max_leaves=6,
)


def job_with(config: dict[str, Any], meta: dict[str, str], data: str) -> Job:
    task = {
        "Name": "t",
        "Driver": "plugin",
        "Config": config,
        "Templates": [{"EmbeddedTmpl": data, "DestPath": "local/x"}],
    }
    return canonicalize({"ID": "j", "Meta": meta, "TaskGroups": [{"Name": "g", "Tasks": [task]}]})


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_any_text_survives_in_an_attribute(data: str) -> None:
    job = job_with({}, {}, data)
    assert canonicalize(parse_job(job_to_hcl(job)).api) == job


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=4))
def test_any_map_survives(meta: dict[str, str]) -> None:
    job = job_with({}, meta, "x")
    assert canonicalize(parse_job(job_to_hcl(job)).api) == job


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b-c", "d_e", "for", "if", "null"]), FREE, max_size=4))
def test_any_driver_config_survives(config: dict[str, Any]) -> None:
    job = job_with(config, {}, "x")
    assert canonicalize(parse_job(job_to_hcl(job)).api) == job


def test_what_goes_without_saying_is_not_said(make_job: Callable[..., Job]) -> None:
    text = job_to_hcl(make_job())
    lines = [line.strip() for line in text.splitlines() if line.strip(" }")]
    assert lines == [
        'job "j" {', 'type = "service"', 'group "g" {', "count = 1", 'task "t" {', 'driver = "raw_exec"', "config {",
        'command = "x"',
    ]  # fmt: skip


def test_what_only_the_server_writes_is_left_out(make_job: Callable[..., Job]) -> None:
    import msgspec

    stored = msgspec.structs.replace(make_job(), version=3, modify_index=9, submit_time=8, stable=True)
    assert job_to_hcl(stored) == job_to_hcl(make_job())


def test_several_lines_are_a_heredoc(make_job: Callable[..., Job]) -> None:
    text = job_to_hcl(make_job(task='template {\n data = "a\\n${x.y}\\n"\n destination = "local/x"\n}'))
    assert "= <<EOT\na\n${x.y}\nEOT\n" in text


@pytest.mark.parametrize("example", [EXAMPLE_JOB, EXAMPLE_JOB_SHORT], ids=["long", "short"])
def test_the_examples_are_valid_and_in_layout(example: str) -> None:
    job = canonicalize(parse_job(example).api)
    assert validate(job) == []
    assert format_hcl(example) == example


def test_the_long_example_deserves_no_advice() -> None:
    assert warnings(canonicalize(parse_job(EXAMPLE_JOB).api)) == []


def test_formatting_keeps_comments_and_meaning() -> None:
    text = 'job "j"   {\n# why\n   priority=3 // because\n  group "g" {   }\n}\n'
    tidy = format_hcl(text)
    assert "# why" in tidy
    assert "// because" in tidy
    assert parse_job(tidy).api == parse_job(text).api
