"""`rove job validate`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click

from rove.cli.app import App, current
from rove.cli.command import argument, command, option
from rove.cli.jobfile import Given, JobFile, jobfile_options, read_job, warn
from rove.errors import BadRequestError, RoveError, UnavailableError

Json = dict[str, Any]

ASK_TIMEOUT_S = 5.0
REFUSALS = (400, 500)
"""Nomad answers 500 where a job is invalid."""


@command()
@argument("path", metavar="FILE")
@jobfile_options
@option("--vault-namespace", help="Accepted for Nomad's sake.")
def validate(
    path: str, as_json: bool, variables: tuple[str, ...], var_files: tuple[str, ...], strict: str,
    vault_namespace: str | None,
) -> None:  # fmt: skip
    """Check a job FILE (- for standard input): its syntax, its values, and what the servers say of it.

    Without an agent at the address the file is checked on this machine only.
    """
    app = current()
    file = read_job(app, path, Given(as_json, variables, var_files, strict != "false"))
    warnings = list(file.warnings)
    checked = local_check(file)
    warnings += checked
    answer = _ask(app, file.api)
    if answer is not None:
        errors = answer.get("ValidationErrors") or ([answer["Error"]] if answer.get("Error") else [])
        if errors:
            warn(warnings)
            raise BadRequestError(
                "job.invalid", f'job "{file.api.get("ID")}" is not valid', "\n".join(f"* {each}" for each in errors)
            )
        if answer.get("Warnings"):
            told = {line.strip() for warning in warnings for line in warning.splitlines()}
            lines = str(answer["Warnings"]).splitlines()
            warnings += [line for line in lines if line.strip().removeprefix("* ") not in told]
    warn(warnings)
    suffix = "" if answer is not None else " (checked on this machine; no agent was asked)"
    click.echo(f"The job is valid{suffix}")
    sys.exit(0)


def local_check(file: JobFile) -> list[str]:
    """Check a job on this machine and return its warnings. Raises BadRequestError with every problem."""
    from rove import jobspec

    job = jobspec.canonicalize(jobspec.decode_api_job(file.api))
    problems = jobspec.validate(job)
    if problems:
        if file.parsed is not None:
            text = jobspec.render_problems(file.parsed, problems)
        else:
            text = "\n".join(f"* {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise BadRequestError("job.invalid", f'job "{file.api.get("ID")}" is not valid: {count}', text)
    return [str(problem) for problem in jobspec.warnings(job)]


@contextmanager
def shown_in_file(file: JobFile) -> Iterator[None]:
    """Where the servers refuse a job that this machine finds wrong too, say it with places in the file."""
    try:
        yield
    except RoveError as error:
        if file.parsed is not None and error.status in REFUSALS:
            local_check(file)
        raise


def _ask(app: App, job: Json) -> Json | None:
    """The servers' opinion, None when there is no agent to ask."""
    client = app.client()
    client.settings = replace(client.settings, timeout_s=ASK_TIMEOUT_S)
    try:
        answer: Json = client.jobs.validate(job)
    except UnavailableError:
        return None
    except RoveError as error:
        if error.status in (404, 405):
            return None
        raise
    return answer
