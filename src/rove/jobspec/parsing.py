"""From the text of a job file to the API form of its job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rove.errors import RoveError

from .decode import decode_root
from .hcl import Diagnostic, HclError, Range
from .problem import Problem
from .reading import Reading, TooManyFindingsError


class JobFileError(RoveError):
    """A job file that cannot be read. `diagnostics` holds every finding; the text shows each with its line.

    Status 400, as the parse endpoint answers.
    """

    status = 400

    def __init__(self, diagnostics: Sequence[Diagnostic], filename: str) -> None:
        self.diagnostics = list(diagnostics)
        found = sum(each.is_error for each in self.diagnostics)
        plural = "problem" if found == 1 else "problems"
        listing = "\n".join(each.render() for each in self.diagnostics if each.is_error)
        super().__init__("job.file", f"{filename} was not read: {found} {plural}", why=listing, fix="mend the file")


class ParsedJob:
    """A job file that was read.

    api: the job as Nomad's API has it, None where the file says nothing. sources: where each part stands, by path as
    in `Problem.path`. warnings: findings that do not stop the job, ready to print.
    """

    __slots__ = ("api", "diagnostics", "sources")

    def __init__(self, api: dict[str, Any], sources: dict[str, Range], diagnostics: list[Diagnostic]) -> None:
        self.api = api
        self.sources = sources
        self.diagnostics = diagnostics

    @property
    def warnings(self) -> list[str]:
        """Every warning with its line and caret."""
        return [each.render() for each in self.diagnostics]


def parse_job(
    text: str | bytes,
    *,
    filename: str = "job.nomad.hcl",
    variables: Mapping[str, str] | None = None,
    var_files: Sequence[tuple[str, str]] = (),
    env: Mapping[str, str] | None = None,
    hcl1: bool = False,
    strict: bool = True,
    files: Any = None,
) -> ParsedJob:
    """Read a job file: HCL2, or its JSON form when the first character is ``{``. Bytes must be UTF-8.

    variables: values by name, as text. var_files: (filename, text) in order. env: only NOMAD_VAR_* counts.
    strict: a var file that sets an undeclared variable is an error. files: the HCL file functions, None for none.
    hcl1: accepted and refused with a plain word: the old syntax is no longer read for jobs.
    Raises JobFileError with everything found.
    """
    from .hcl.module import evaluate_file
    from .hcl.parser import parse

    if hcl1:
        raise RoveError(
            "job.hcl1", "HCL1 job files are not read",
            why="the first version of the language is no longer supported for jobs",
            fix="leave the option out; most files are HCL2 already", status=400,
        )  # fmt: skip
    try:
        body = parse(text, filename)
        root = evaluate_file(
            body, variables=variables, var_files=var_files, env=env, strict=strict, files=files
        )  # fmt: skip
    except HclError as error:
        raise JobFileError(error.diagnostics, filename) from None
    reading = Reading(is_json=body.json)
    reading.diagnostics += root.warnings
    api = None
    with suppress(TooManyFindingsError):
        api = decode_root(root, reading)
    if api is None or any(each.is_error for each in reading.diagnostics):
        reading.diagnostics.sort(key=lambda each: each.range.start_offset if each.range else -1)
        raise JobFileError(reading.diagnostics, filename)
    reading.settle()
    return ParsedJob(api, reading.sources, reading.diagnostics)


def locate(parsed: ParsedJob, path: str) -> Range | None:
    """Where a problem's path stands in the file; the nearest enclosing block if the thing itself is missing."""
    sources = parsed.sources
    while path:
        if path in sources:
            return sources[path]
        path = path.rpartition(" > ")[0]
    return sources.get("")


def render_problems(parsed: ParsedJob, problems: Iterable[Problem]) -> str:
    """Problems as text for a terminal, each with file, line, column, the line and a caret."""
    found = [Diagnostic("error", str(each), "", locate(parsed, each.path)) for each in problems]
    found.sort(key=lambda each: each.range.start_offset if each.range else -1)
    return "\n".join(each.render() for each in found)
