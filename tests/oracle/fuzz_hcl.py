"""Coverage-guided fuzzing of the language: anything but a tree or an HclError with places is a finding.

    python tests/oracle/fuzz_hcl.py -max_total_time=600 tests/corpus/hcl tests/corpus/jobs

Needs atheris. Without it, the file says so and ends.
"""

from __future__ import annotations

import sys
from typing import Any

try:
    import atheris
except ImportError:
    atheris = None


def one_input(data: bytes) -> None:
    """Read, work out and lay out whatever the bytes are."""
    from rove.jobspec.hcl import HclError, evaluate_file, format_source, parse

    hcl1 = len(data) % 7 == 0
    try:
        body = parse(data, "fuzz.hcl", hcl1=hcl1)
    except HclError as failure:
        check(failure)
        return
    if not hcl1:
        made = format_source(data.decode("utf-8"))
        if format_source(made) != made:
            raise AssertionError("laid out twice, it looks different")
    try:
        evaluate_file(body)
    except HclError as failure:
        check(failure)


def check(failure: Any) -> None:
    """An error must say something, and where."""
    if not failure.diagnostics or any(each.range is None for each in failure.diagnostics) or not failure.render():
        raise AssertionError("an error without a place")


def main() -> int:
    """Fuzz until told to stop."""
    if atheris is None:
        print("atheris is not installed: pip install atheris", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["rove.jobspec.hcl"]):
        import rove.jobspec.hcl.functions.text
        import rove.jobspec.hcl.json_form
        import rove.jobspec.hcl.module
        import rove.jobspec.hcl.parser  # noqa: F401
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
