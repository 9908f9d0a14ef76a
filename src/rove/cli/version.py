"""`rove version`."""

from __future__ import annotations

import click

from rove import __version__
from rove.cli.command import command, switch


@command()
@switch("--json", "Print JSON.", "as_json")
def version(as_json: bool) -> None:
    """Print the version."""
    click.echo(f'{{"Version": "{__version__}"}}' if as_json else f"Rove v{__version__}")
