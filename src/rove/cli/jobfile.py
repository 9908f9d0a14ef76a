"""Reading a job file from disk or standard input, with its variables, into what the API is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rove.cli.app import App
from rove.cli.output import clean
from rove.errors import BadRequestError

Json = dict[str, Any]

MAX_BYTES = 16 * 1024 * 1024
MAX_SUBMISSION = 1_000_000
"""Characters of source that are sent along with the job; longer ones are left at home."""


@dataclass(frozen=True)
class JobFile:
    """A parsed job file. `api` is the job as the API takes it, `submission` the source and variables."""

    api: Json
    source: str
    submission: Json
    warnings: tuple[str, ...] = ()
    parsed: Any = None
    """The parser's result with its positions; None for JSON."""


@dataclass(frozen=True)
class Given:
    """How a job file is to be read: the flags that all such commands share."""

    as_json: bool = False
    variables: tuple[str, ...] = ()
    var_files: tuple[str, ...] = ()
    strict: bool = True


def jobfile_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The flags about reading a job file, passed on as `as_json`, `variables`, `var_files`, `strict`."""
    for made in (
        click.option("--json", "as_json", is_flag=True, help="The file holds the job as JSON."),
        click.option("--var", "variables", multiple=True, metavar="NAME=VALUE", help="Set an input variable."),
        click.option("--var-file", "var_files", multiple=True, metavar="FILE", help="Read input variables."),
        click.option("--hcl2-strict", "strict", default="true", metavar="BOOL",
                     help="Refuse variables that the file does not declare (default true)."),
    ):  # fmt: skip
        function = made(function)
    return function


def read_job(app: App, path: str, given: Given) -> JobFile:
    """Read and parse a job file; `-` is standard input. Raises RoveError that shows where it is wrong."""
    source = read_text(app, path)
    if given.as_json or (path.endswith(".json") and _is_api_form(source)):
        return _from_json(path, source)
    variables = dict(_pair(text) for text in given.variables)
    var_files = [(name, read_text(app, name)) for name in given.var_files]
    from rove.cli.local_files import LocalFiles
    from rove.jobspec import parse_job

    name = "standard input" if path == "-" else path
    parsed = parse_job(
        source, filename=name, variables=variables, var_files=var_files, env=_environment(app.environ),
        strict=given.strict, files=LocalFiles(Path() if path == "-" else Path(path).parent),
    )  # fmt: skip
    return JobFile(
        api=dict(parsed.api),
        source=source,
        submission=_submission(source, "hcl2", variables, var_files),
        warnings=tuple(parsed.warnings),
        parsed=parsed,
    )


def read_text(app: App, path: str) -> str:
    """A file's text, or that of standard input for ``-``."""
    if path == "-":
        return _limited(app.stdin.read(MAX_BYTES + 1), "standard input")
    if path.startswith(("http://", "https://")):
        raise BadRequestError(
            "cli.remote_file", f"{path} was not read", "files are read from disk and standard input only",
            f"fetch it yourself, look at it, and pipe it in: `curl -fsS {path} | rove job run -`",
        )  # fmt: skip
    file = Path(path)
    if file.is_dir():
        raise BadRequestError("cli.not_a_file", f"{path} was not read", "it is a folder", "name a file in it")
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BadRequestError("cli.unreadable_file", f"{path} was not read", reason) from None
    try:
        return _limited(data.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise BadRequestError(
            "cli.not_utf8", f"{path} was not read", f"{path}:{line}:{column}: this byte is not UTF-8",
            "save the file as UTF-8",
        ) from None  # fmt: skip


def _limited(text: str, name: str) -> str:
    if len(text) > MAX_BYTES:
        raise BadRequestError(
            "cli.file_too_large", f"{name} was not read", f"it is larger than {MAX_BYTES // 2**20} MiB"
        )
    return text


def _from_json(path: str, source: str) -> JobFile:
    try:
        value = json.loads(source)
    except ValueError as error:
        raise BadRequestError("cli.bad_json", f"{path} is not JSON", str(error)) from None
    except RecursionError:
        raise BadRequestError("cli.bad_json", f"{path} is not usable JSON", "it is nested too deeply") from None
    job = value.get("Job", value) if isinstance(value, dict) else None
    if not isinstance(job, dict) or "ID" not in job:
        raise BadRequestError(
            "cli.no_job", f"{path} holds no job", 'expected an object with an "ID", or {"Job": {...}}',
            "print one with `rove job inspect JOB` or `rove job run -output FILE`",
        )  # fmt: skip
    return JobFile(api=job, source=source, submission=_submission(source, "json", {}, []))


def _is_api_form(source: str) -> bool:
    """Whether JSON holds a job as the API has it, rather than a job file in its JSON form."""
    if not source.lstrip().startswith("{"):
        return False
    try:
        value = json.loads(source)
    except (ValueError, RecursionError):
        return False  # the parser of job files shows where it is broken
    return isinstance(value, dict) and ("job" not in value or "ID" in value or "Job" in value)


def _submission(source: str, form: str, variables: Mapping[str, str], var_files: Sequence[tuple[str, str]]) -> Json:
    texts = "\n".join(text for _, text in var_files)
    if len(source) > MAX_SUBMISSION:
        source = ""
    return {"Source": source, "Format": form, "VariableFlags": dict(variables), "Variables": texts}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise BadRequestError(
            "cli.bad_variable", f'-var "{text}" was not understood', "it has no name, or no equals sign",
            "write -var name=value",
        )  # fmt: skip
    return name.strip(), value


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Input variables of the environment, all under the prefix that the parser knows."""
    theirs = {name: value for name, value in environ.items() if name.startswith("NOMAD_VAR_")}
    ours = {f"NOMAD_{name[5:]}": value for name, value in environ.items() if name.startswith("ROVE_VAR_")}
    return {**theirs, **ours}


def warn(warnings: Any) -> None:
    """Print warnings, which may be a text of several lines or a list."""
    lines = warnings.splitlines() if isinstance(warnings, str) else [str(line) for line in warnings or ()]
    for line in lines:
        text = clean(line).strip().removeprefix("* ")
        # The API's text begins with a line that only counts.
        if text and not re.fullmatch(r"\d+ warnings?:|\d+ errors? occurred:", text):
            click.echo(click.style(f"warning: {text}", fg="yellow"), err=True)
