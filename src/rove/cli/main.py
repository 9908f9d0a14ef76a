"""The entry point: runs a command, turns failures into text and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from rove.cli.app import App
from rove.cli.command import Tree
from rove.cli.tree import TREE
from rove.errors import RoveError

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130

HELP = """Rove runs applications on a fleet of machines.

Start with `rove agent -dev`, then `rove job init` and `rove job run example.nomad.hcl`."""


def root() -> Tree:
    """The whole command line."""
    return Tree("rove", TREE, HELP, no_args_is_help=True)


def run(args: Sequence[str], app: App | None = None) -> int:
    """Run one command line and return its exit code. Failures are written to stderr."""
    app = app or App()
    args = ["version", *args[1:]] if args and args[0] in ("-v", "-version", "--version") else list(args)
    try:
        root().main(args=list(args), prog_name="rove", standalone_mode=False, obj=app)
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        click.echo(help_wanted.format_message())
        return EXIT_ERROR
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except SystemExit as stop:
        return _code_of(stop)
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`rove ... | head`): not a failure worth words.
        _silence()
        return EXIT_ERROR
    except Exception as error:
        if app.debugging():
            raise
        from rove.cli.output import clean

        click.echo(clean(explain(error)), err=True)
        return getattr(error, "cli_exit_code", EXIT_ERROR)
    finally:
        app.close()
    return 0


def explain(error: Exception) -> str:
    """A failure as text for a person: what, why, fix."""
    if isinstance(error, RoveError):
        return error.text()
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "rove"
        return RoveError("cli.usage", error.format_message(), fix=f"see `{path} -help`").text()
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        why = f"{name}{(error.strerror or str(error)).lower()}"
        return RoveError("cli.os_error", "the operating system refused", why).text()
    return RoveError(
        "cli.bug", "this command failed in a way it should not", f"{type(error).__name__}: {error}",
        "run it again with ROVE_DEBUG=1 and report what it prints",
    ).text()  # fmt: skip


def _code_of(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    return stop.code if isinstance(stop.code, int) else EXIT_ERROR


def _silence() -> None:
    import os

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stdout.fileno())


def main() -> None:
    """`rove` as installed."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
