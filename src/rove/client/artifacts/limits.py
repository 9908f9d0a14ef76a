"""The bounds of one artifact, from the agent's ``artifact`` stanza."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rove.structs.job import Artifact

from .fetch import Limits
from .source import parse_source

FOREVER_S = 10 * 365 * 86400.0


def limits_of(artifact: Artifact, options: Mapping[str, Any]) -> Limits:
    """Bounds for `artifact`. options: of the stanza, times in seconds and sizes in bytes; 0 there means no bound.

    Raises `ArtifactError` if the source cannot be read.
    """
    default, source = Limits(), parse_source(artifact)
    timeout_s = options.get("git_timeout_s" if source.kind == "git" else "http_read_timeout_s", default.timeout_s)
    files_max = options.get("decompression_file_count_limit", default.unpacked_files_max)
    unpacked_max = options.get("decompression_size_limit_bytes", default.unpacked_bytes_max)
    return Limits(
        timeout_s=float(timeout_s) or FOREVER_S,
        bytes_max=int(options.get("http_max_size_bytes", default.bytes_max)) or sys.maxsize,
        unpacked_files_max=int(files_max) or sys.maxsize,
        unpacked_bytes_max=int(unpacked_max) or sys.maxsize,
    )
