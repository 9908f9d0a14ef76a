"""`rove fmt`."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from rove.cli.app import current
from rove.cli.command import argument, command, option, switch
from rove.cli.jobfile import read_text
from rove.errors import BadRequestError

SUFFIXES = (".nomad", ".hcl", ".rove")


@command()
@argument("paths", metavar="[PATH|-]...", nargs=-1)
@switch("--check", "Change nothing; end with 1 when a file is not in the usual layout.")
@switch("--recursive", "Look into folders in folders too.")
@option("--list", "names", default="true", metavar="BOOL", help="Print the names of files that change (default true).")
@option("--write", "write", default="true", metavar="BOOL", help="Rewrite the files (default true).")
@switch("--diff", "Print what changes.", "with_diff")
def fmt(paths: tuple[str, ...], check: bool, recursive: bool, names: str, write: bool | str, with_diff: bool) -> None:
    """Rewrite job and configuration files in the usual layout. Without PATH: those of this folder."""
    app = current()
    if paths == ("-",):
        text = read_text(app, "-")
        laid_out = _laid_out(text, "standard input")
        if not check:
            click.echo(laid_out, nl=False)
        sys.exit(1 if check and laid_out != text else 0)
    changed = False
    for file in files_of(paths or (".",), recursive):
        text = read_text(app, str(file))
        laid_out = _laid_out(text, str(file))
        if laid_out == text:
            continue
        changed = True
        if names != "false":
            click.echo(file)
        if with_diff:
            _print_diff(file, text, laid_out)
        if not check and write != "false":
            _replace(file, laid_out)
    sys.exit(1 if check and changed else 0)


def files_of(paths: tuple[str, ...], recursive: bool) -> Iterator[Path]:
    """The files that are to be laid out: those named, and in folders those with a known ending."""
    for name in paths:
        path = Path(name)
        if path.is_dir():
            found = path.rglob("*") if recursive else path.iterdir()
            yield from sorted(each for each in found if each.suffix in SUFFIXES and each.is_file())
        elif path.suffix in SUFFIXES:
            yield path
        else:
            raise BadRequestError(
                "cli.not_hcl", f"{name} was not rewritten", "only files that end with .nomad, .hcl or .rove are",
                "rename it, or pipe it through `rove fmt -`",
            )  # fmt: skip


def _laid_out(text: str, name: str) -> str:
    from rove.jobspec.hcl import HclError, format_source, parse

    try:
        parse(text, name)
    except HclError as error:
        raise BadRequestError("cli.bad_hcl", f"{name} was not rewritten", error.render()) from None
    return str(format_source(text))


def _print_diff(file: Path, old: str, new: str) -> None:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"old/{file}", f"new/{file}"
    )
    click.echo("".join(lines), nl=False)


def _replace(file: Path, text: str) -> None:
    """Write beside the file, then rename: a full disk must not cost the original."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.chmod(file.stat().st_mode & 0o7777)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
