"""`rove config validate`."""

from __future__ import annotations

import click

from rove.cli.command import argument, command


@command()
@argument("paths", metavar="PATH...", nargs=-1, required=True)
def validate(paths: tuple[str, ...]) -> None:
    """Check the files or folders of an agent's configuration, taken together."""
    from rove.agent.config_files import load_config

    config = load_config(paths)
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo("The configuration is valid")
