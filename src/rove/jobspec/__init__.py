"""Job files in, jobs out: reading, defaults, rules, differences and printing. Everything here is pure.

The path of a job is `parse_job` (text) or `decode_api_job` (API body) -> `canonicalize` -> `validate`.
Names are imported on first use, so that `import rove.jobspec` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .advice import warnings
    from .api import decode_api_job, job_to_api
    from .canonical import canonicalize
    from .cron import CronError, CronSchedule, parse_cron
    from .diff import annotate, diff_jobs, spec_changed
    from .example import EXAMPLE_JOB, EXAMPLE_JOB_SHORT
    from .implied import add_implied_constraints
    from .parsing import JobFileError, ParsedJob, locate, parse_job, render_problems
    from .printing import format_hcl, job_to_hcl
    from .problem import Problem
    from .validate_job import validate

_HOME = {
    "warnings": "advice",
    "decode_api_job": "api",
    "job_to_api": "api",
    "canonicalize": "canonical",
    "CronError": "cron",
    "CronSchedule": "cron",
    "parse_cron": "cron",
    "annotate": "diff",
    "diff_jobs": "diff",
    "spec_changed": "diff",
    "EXAMPLE_JOB": "example",
    "EXAMPLE_JOB_SHORT": "example",
    "add_implied_constraints": "implied",
    "JobFileError": "parsing",
    "ParsedJob": "parsing",
    "locate": "parsing",
    "parse_job": "parsing",
    "render_problems": "parsing",
    "format_hcl": "printing",
    "job_to_hcl": "printing",
    "Problem": "problem",
    "validate": "validate_job",
}

__all__ = [
    "EXAMPLE_JOB",
    "EXAMPLE_JOB_SHORT",
    "CronError",
    "CronSchedule",
    "JobFileError",
    "ParsedJob",
    "Problem",
    "add_implied_constraints",
    "annotate",
    "canonicalize",
    "decode_api_job",
    "diff_jobs",
    "format_hcl",
    "job_to_api",
    "job_to_hcl",
    "locate",
    "parse_cron",
    "parse_job",
    "render_problems",
    "spec_changed",
    "validate",
    "warnings",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value
