"""The agent's artifact stanza bounds what one artifact may take."""

from __future__ import annotations

import sys

import msgspec

from rove.client.artifacts import Limits, limits_of
from rove.structs.job import Artifact

FILE = Artifact(getter_source="https://example.org/a.tar.gz")
REPOSITORY = Artifact(getter_source="git::https://example.org/a.git")


def test_an_empty_stanza_leaves_the_fetchers_own_limits() -> None:
    assert limits_of(FILE, {}) == Limits()


def test_every_option_of_the_stanza_is_taken_over() -> None:
    options = {
        "http_read_timeout_s": 5.0, "git_timeout_s": 7.0, "http_max_size_bytes": 100,
        "decompression_file_count_limit": 3, "decompression_size_limit_bytes": 200,
    }  # fmt: skip
    limits = limits_of(FILE, options)
    assert (limits.timeout_s, limits.bytes_max) == (5.0, 100)
    assert (limits.unpacked_files_max, limits.unpacked_bytes_max) == (3, 200)
    assert limits_of(REPOSITORY, options).timeout_s == 7.0


def test_zero_means_no_bound() -> None:
    options = dict.fromkeys(
        ("http_read_timeout_s", "http_max_size_bytes", "decompression_file_count_limit",
         "decompression_size_limit_bytes"), 0,
    )  # fmt: skip
    limits = limits_of(FILE, options)
    assert limits.timeout_s > 365 * 86400
    assert limits.bytes_max == limits.unpacked_files_max == limits.unpacked_bytes_max == sys.maxsize


def test_the_stanza_and_the_limits_speak_of_the_same_options() -> None:
    from rove.agent.config import ArtifactConfig

    written = msgspec.to_builtins(ArtifactConfig(http_max_size_bytes=77, decompression_file_count_limit=5))
    limits = limits_of(FILE, written)
    assert (limits.bytes_max, limits.unpacked_files_max) == (77, 5)
