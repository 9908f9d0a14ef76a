"""Coverage-guided fuzzing of the job language: anything but a job or an error with places is a finding.

    python tests/oracle/fuzz_hcl.py -max_total_time=600

Text is read as a job file (or as the older syntax), worked out, laid out, decoded, filled with defaults, checked and
printed; text that begins with `{` is read as an API body too. Seeds are the corpora of the tests. Needs atheris;
without it, the file says so and ends.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    atheris = None

CORPUS = Path(__file__).parent.parent / "corpus"


def one_input(data: bytes) -> None:
    """Do with the bytes all that the command line and the server would."""
    if data.startswith(b"{"):
        api_body(data)
    hcl1 = len(data) % 7 == 0
    language(data, hcl1)
    if not hcl1:
        job_file(data)


def language(data: bytes, hcl1: bool) -> None:
    """Read, work out and lay out whatever the bytes are."""
    from rove.jobspec.hcl import HclError, evaluate_file, format_source, parse

    try:
        body = parse(data, "fuzz.hcl", hcl1=hcl1)
    except HclError as failure:
        check(failure)
        return
    if not hcl1 and not body.json:
        made = format_source(data.decode("utf-8"))
        if format_source(made) != made:
            raise AssertionError("laid out twice, it looks different")
    try:
        evaluate_file(body)
    except HclError as failure:
        check(failure)


def job_file(data: bytes) -> None:
    """A whole job file, up to the printed form."""
    from rove.errors import RoveError
    from rove.jobspec import JobFileError, canonicalize, job_to_hcl, parse_job, render_problems, validate

    try:
        parsed = parse_job(data, filename="fuzz.hcl")
    except JobFileError as failure:
        check(failure)
        return
    try:
        job = canonicalize(parsed.api)
    except RoveError:
        return
    render_problems(parsed, validate(job))
    use(job)
    parse_job(job_to_hcl(parsed.api))


def api_body(data: bytes) -> None:
    """A job as the API takes it."""
    from rove.errors import RoveError
    from rove.jobspec import canonicalize, decode_api_job

    try:
        job = canonicalize(decode_api_job(data))
    except RoveError as failure:
        if failure.status not in (400, 500) or not failure.what:
            raise AssertionError("an error that says nothing") from failure
        return
    use(job)


def use(job: Any) -> None:
    """Everything that is done with a job, valid or not."""
    from rove.jobspec import add_implied_constraints, annotate, canonicalize, diff_jobs, job_to_api, validate, warnings

    validate(job)
    warnings(job)
    add_implied_constraints(job)
    annotate(diff_jobs(None, job, contextual=True), {})
    if canonicalize(job_to_api(job)) != job:
        raise AssertionError("defaults filled in twice make another job")


def check(failure: Any) -> None:
    """An error must say something, and where."""
    errors = [each for each in failure.diagnostics if each.is_error]
    if not errors or any(each.range is None or not each.render() for each in errors):
        raise AssertionError("an error without a place")


def seeds(folder: Path) -> None:
    """Write API bodies made from the corpus."""
    import msgspec

    from rove.jobspec import canonicalize, job_to_api, parse_job

    for file in CORPUS.glob("jobs/*.hcl"):
        api = parse_job(file.read_text()).api
        (folder / f"{file.stem}.json").write_bytes(msgspec.json.encode({"Job": api}))
        (folder / f"{file.stem}.whole.json").write_bytes(msgspec.json.encode(job_to_api(canonicalize(api))))


def main() -> int:
    """Fuzz until told to stop."""
    if atheris is None:
        print("atheris is not installed: pip install atheris", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["rove.jobspec"]):
        import rove.jobspec
        import rove.jobspec.hcl.functions.text
        import rove.jobspec.hcl.json_form
        import rove.jobspec.hcl.module
        import rove.jobspec.hcl.parser

        for name in rove.jobspec.__all__:
            getattr(rove.jobspec, name)
    with tempfile.TemporaryDirectory() as made:
        seeds(Path(made))
        # The first folder is where new inputs are kept: nothing is to be written into the corpora.
        new = Path(made) / "new"
        new.mkdir()
        atheris.Setup([*sys.argv, str(new), str(CORPUS / "hcl"), str(CORPUS / "jobs"), made], one_input)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
