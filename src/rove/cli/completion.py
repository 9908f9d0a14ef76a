"""`rove completion`: shell completion, worked out by click from the table of commands."""

from __future__ import annotations

import click

from rove.cli.command import argument, command

HOW = {
    "bash": 'eval "$(rove completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(rove completion zsh)"    # in ~/.zshrc',
    "fish": "rove completion fish | source    # in ~/.config/fish/config.fish",
}


@command()
@argument("shell", metavar="SHELL", type=click.Choice(sorted(HOW)))
def completion(shell: str) -> None:
    """Print the completion script of a SHELL: bash, zsh or fish.

    For instance: eval "$(rove completion bash)" in ~/.bashrc.
    """
    from click.shell_completion import get_completion_class

    from rove.cli.main import root

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    click.echo(found(root(), {}, "rove", "_ROVE_COMPLETE").source())
