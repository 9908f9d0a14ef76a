"""click, taught Go's flags: one dash or two, ``-flag=value``, ``-flag=false``, and commands imported when used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from rove.cli.app import App
from rove.errors import RoveError

GLOBAL_HELP = {
    "address": "Address of the agent. ROVE_ADDR or NOMAD_ADDR; default http://127.0.0.1:4646.",
    "region": "Region to ask. ROVE_REGION, NOMAD_REGION.",
    "namespace": "Namespace to work in. ROVE_NAMESPACE, NOMAD_NAMESPACE.",
    "token": "Secret id of the ACL token. ROVE_TOKEN, NOMAD_TOKEN.",
    "ca-cert": "PEM file of the authorities to trust.",
    "ca-path": "Folder of PEM files of the authorities to trust.",
    "client-cert": "PEM file of the own certificate.",
    "client-key": "PEM file of its key.",
    "tls-server-name": "Name to expect in the agent's certificate.",
}
GLOBAL_FLAGS = {
    "tls-skip-verify": "Do not check the agent's certificate.",
    "no-color": "Write no colours.",
    "force-color": "Write colours even where it is no terminal.",
}


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    app = ctx.ensure_object(App)
    if param.name and value not in (None, "", False):
        app.given[param.name] = value


def global_options() -> list[click.Option]:
    """The flags that every command takes."""
    texts = [
        click.Option(
            [f"--{name}"], metavar=name.upper().replace("-", "_"), help=text, expose_value=False, callback=_keep
        )
        for name, text in GLOBAL_HELP.items()
    ]
    flags = [
        click.Option([f"--{name}"], is_flag=True, help=text, expose_value=False, callback=_keep)
        for name, text in GLOBAL_FLAGS.items()
    ]
    return texts + flags


def go_arguments(params: Sequence[click.Parameter], args: Sequence[str], *, interspersed: bool) -> list[str]:
    """Arguments as click reads them, from arguments as Go's flag package reads them.

    ``-name`` becomes ``--name``, ``-f=x`` becomes ``-f x``, and a flag's ``=true`` or ``=false`` is
    resolved. A value is never changed, whatever it begins with. Without `interspersed` everything after
    the first plain argument is left as it is.
    """
    options = {
        name: param
        for param in params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    found: list[str] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            return [*found, arg, *rest]
        if not arg.startswith("-") or arg == "-":
            found.append(arg)
            if not interspersed:
                # "--" keeps click from reading the flags of somebody else's command.
                return [*found[:-1], "--", arg, *rest]
            continue
        written, equals, value = arg.partition("=")
        name = _known(options, written)
        if name is None:
            found.append(arg if len(written) <= 2 or _bundle(options, arg) else "--" + arg.lstrip("-"))
            continue
        if options[name].is_flag or options[name].count:
            found += _flag(options[name], name, value, bool(equals))
        elif equals:
            found += [f"{name}={value}"] if name.startswith("--") else [name, value]
        else:
            found.append(name)
            if rest:
                found.append(rest.pop(0))
    return found


def _known(options: dict[str, click.Option], written: str) -> str | None:
    bare = written.lstrip("-")
    for name in (f"--{bare}", f"-{bare}"):
        if name in options:
            return name
    return None


def _bundle(options: dict[str, click.Option], arg: str) -> bool:
    """Whether this is several one-letter switches in one word, as in ``-it``."""
    letters = arg[1:]
    return all(f"-{letter}" in options and options[f"-{letter}"].is_flag for letter in letters)


def _flag(param: click.Option, name: str, value: str, has_value: bool) -> list[str]:
    if not has_value or value in ("1", "t", "T", "true", "TRUE", "True"):
        return [name]
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        # A switch that is on by itself has a name for off.
        return param.secondary_opts[:1]
    raise click.UsageError(f"{name} is a switch: it takes true or false, not {value!r}.")


class Command(click.Command):
    """A verb. It takes the global flags too, and reads its flags as Go programs do.

    error_exit: the exit code of a run that ends with an error.
    """

    def __init__(self, *args: Any, error_exit: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.error_exit = error_exit
        self.own_params = list(self.params)
        taken = {name for param in self.params for name in param.opts}
        self.params += [option for option in global_options() if option.opts[0] not in taken]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        if any(arg in ("-h", "-help", "--help") for arg in _before_plain(args, ctx.allow_interspersed_args)):
            args = ["--help"]
        with self._errors():
            normal = go_arguments(self.params, args, interspersed=ctx.allow_interspersed_args)
            return super().parse_args(ctx, normal)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        app = ctx.find_object(App)
        ctx.color = None if app is None else app.color_choice()
        with self._errors():
            return super().invoke(ctx)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Note the exit code on every failure that passes."""
        try:
            yield
        except (RoveError, click.ClickException, OSError) as error:
            error.cli_exit_code = self.error_exit  # type: ignore[union-attr]
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the own flags, then the global ones."""
        own = [record for param in self.own_params if (record := param.get_help_record(ctx)) is not None]
        if own:
            with formatter.section("Options (one dash or two)"):
                formatter.write_dl(own)
        with formatter.section("Global options, explained by `rove -help`"):
            names = [*GLOBAL_HELP, *GLOBAL_FLAGS]
            formatter.write_text(" ".join(f"-{name}" for name in names))


def _before_plain(args: Sequence[str], interspersed: bool) -> list[str]:
    found = []
    for arg in args:
        if arg == "--" or (not interspersed and not arg.startswith("-")):
            break
        found.append(arg)
    return found


class Tree(click.Group):
    """A noun. Its verbs are named in a table as ``module:attribute`` and imported when they are called."""

    def __init__(self, name: str, verbs: dict[str, Any], help: str, **kwargs: Any) -> None:
        super().__init__(name=name, help=help, **kwargs)
        self.verbs = verbs
        self.params += global_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the flags before the verb."""
        if args and args[0] in ("-h", "-help", "--help"):
            args = ["--help"]
        return super().parse_args(ctx, _leading(self.params, args))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the table, aliases left out."""
        return [name for name, entry in self.verbs.items() if not entry.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        entry = self.verbs.get(cmd_name)
        return None if entry is None else entry.load(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which ones are close."""
        if args and args[0] not in self.verbs and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], list(self.verbs), n=3)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f'"{ctx.command_path}" has no command "{args[0]}".{hint}', ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs, and at the top the global flags too."""
        self.format_commands(ctx, formatter)
        if ctx.parent is None:
            records = [record for param in self.params if (record := param.get_help_record(ctx)) is not None]
            with formatter.section("Global options, for every command"):
                formatter.write_dl(records)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        rows = [(name, self.verbs[name].summary) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _leading(params: Sequence[click.Parameter], args: list[str]) -> list[str]:
    """Go's flags before the verb made click's; the verb and all after it stay as they are."""
    normal = go_arguments(params, args, interspersed=False)
    if "--" in normal and "--" not in args:
        normal.remove("--")
    return normal


class Verb:
    """An entry of the table: where a command is, and one line about it."""

    def __init__(self, target: str, summary: str, *, hidden: bool = False) -> None:
        self.target = target
        self.summary = summary
        self.hidden = hidden

    def load(self, name: str) -> click.Command:
        """Import the command."""
        module, _, attribute = self.target.partition(":")
        found: click.Command = getattr(import_module(f"rove.cli.{module}"), attribute)
        return found


class Noun:
    """An entry of the table that holds verbs of its own."""

    def __init__(self, summary: str, verbs: dict[str, Any], *, hidden: bool = False) -> None:
        self.summary = summary
        self.verbs = verbs
        self.hidden = hidden

    def load(self, name: str) -> click.Command:
        """Make the group."""
        return Tree(name, self.verbs, self.summary)


def command(name: str = "", **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a verb."""

    def decorate(function: Callable[..., Any]) -> Command:
        return click.command(name or None, cls=Command, **settings)(function)

    return decorate


option = click.option

COMPLETED_BY = {
    "JOB": "jobs", "ALLOC": "allocs", "NODE": "nodes", "EVALUATION": "evals", "DEPLOYMENT": "deployment",
    "NAMESPACE": "namespaces",
}  # fmt: skip
"""What an argument of that name is, in the words of the search endpoint; the shell completes it."""


def argument(name: str, *, metavar: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A plain argument. One whose metavar names a kind of thing is completed by the shell."""
    context = COMPLETED_BY.get(metavar.strip("[].").removesuffix("..."))
    if context:

        def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
            return _completions(ctx, context, incomplete)

        settings["shell_complete"] = complete
    return click.argument(name, metavar=metavar, **settings)


def _completions(ctx: click.Context, context: str, incomplete: str) -> list[str]:
    """Ids that begin so. A shell that waits for completion is not told of failures."""
    app = ctx.find_object(App) or App()
    try:
        found = app.client().search.prefix(incomplete, context=context) or {}
    except RoveError:
        return []
    return list((found.get("Matches") or {}).get(context) or [])


def switch(name: str, help: str, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A flag without a value."""
    return click.option(name, *names, is_flag=True, help=help)


def forms(function: Callable[..., Any]) -> Callable[..., Any]:
    """The flags ``-json`` and ``-t`` of commands that print data."""
    function = click.option("-t", "template", metavar="TEMPLATE", help="Print through a Go template.")(function)
    return click.option("--json", "as_json", is_flag=True, help="Print the API's JSON.")(function)
