"""`rove job init`."""

from __future__ import annotations

from pathlib import Path

import click

from rove.cli.command import argument, command, switch
from rove.errors import BadRequestError

DEFAULT_NAME = "example.nomad.hcl"


@command()
@argument("path", metavar="[FILE]", required=False, default=DEFAULT_NAME)
@switch("--short", "Without the explanations.")
@switch("--connect", "Accepted for Nomad's sake.")
def init(path: str, short: bool, connect: bool) -> None:
    """Write an example job file, example.nomad.hcl unless FILE is given."""
    from rove import jobspec

    text = jobspec.EXAMPLE_JOB_SHORT if short else jobspec.EXAMPLE_JOB
    file = Path(path)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise BadRequestError(
            "cli.file_exists", f"{path} was not written", "there is such a file already", "name another, or remove it"
        ) from None
    click.echo(f"Wrote {path}. Start it with `rove job run {path}`.")
