"""`rove config validate`."""

from __future__ import annotations

import click

from rove.cli.command import argument, command
from rove.errors import BadRequestError


@command()
@argument("paths", metavar="PATH...", nargs=-1, required=True)
def validate(paths: tuple[str, ...]) -> None:
    """Check the files or folders of an agent's configuration, taken together."""
    from rove.agent.config_effect import unsafe_to_ignore, without_effect
    from rove.agent.config_files import load_config

    config = load_config(paths)
    for warning in (*config.warnings, *without_effect(config)):
        click.echo(f"warning: {warning}", err=True)
    if unsafe := unsafe_to_ignore(config):
        raise BadRequestError("agent.not_built", "an agent would not start with this configuration", unsafe)
    click.echo("The configuration is valid")
