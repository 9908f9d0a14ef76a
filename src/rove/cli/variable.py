"""`rove var`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rove.cli.app import App, current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.output import block, emit, moment, table, title
from rove.errors import BadRequestError, ConflictError, NotFoundError

Json = dict[str, Any]


@command("list")
@argument("prefix", metavar="[PREFIX]", required=False, default="")
@forms
@option("--filter", "filter_text", default="", help="Filter expression.")
@option("--out", "out", type=click.Choice(["table", "json", "terse"]), default="table", help="table, json or terse.")
def list_(prefix: str, as_json: bool, template: str | None, filter_text: str, out: str) -> None:
    """List variables whose path begins with PREFIX. Their items are not shown."""
    found = current().client().variables.list(prefix=prefix, filter=filter_text) or []
    if emit(found, as_json or out == "json", template):
        return
    if out == "terse":
        for each in found:
            click.echo(each["Path"])
        return
    rows = [[each.get("Namespace"), each["Path"], moment(each.get("ModifyTime"))] for each in found]
    click.echo(table(["Namespace", "Path", "Last Updated"], rows) if rows else "No variables")


@command()
@argument("path", metavar="PATH")
@option("--item", "item", default="", help="Print this item's value only.")
@option(
    "--out",
    "out",
    type=click.Choice(["table", "json", "hcl", "go-template", "none"]),
    default="table",
    help="table, json, hcl, go-template or none.",
)
@option("--template", "-t", "template", default="", metavar="TEMPLATE", help="The template of -out go-template.")
@switch("--json", "Print JSON.", "as_json")
def get(path: str, item: str, out: str, template: str, as_json: bool) -> None:
    """Print a variable."""
    found = current().client().variables.read(path)
    items: dict[str, str] = found.get("Items") or {}
    if item:
        if item not in items:
            raise NotFoundError("var.no_such_item", f'variable "{path}" has no item "{item}"',
                                f"its items: {', '.join(sorted(items))}")  # fmt: skip
        click.echo(items[item])
        return
    if not emit(found, as_json or out == "json", template or None):
        _show(found, out)


def _show(found: Json, out: str) -> None:
    if out == "none":
        return
    if out == "hcl":
        click.echo(f"path = {json.dumps(found['Path'])}\n\nitems {{")
        for key, value in sorted((found.get("Items") or {}).items()):
            click.echo(f"  {json.dumps(key)} = {json.dumps(value)}")
        click.echo("}")
        return
    pairs = [
        ("Namespace", found.get("Namespace")),
        ("Path", found["Path"]),
        ("Create Time", moment(found.get("CreateTime"))),
        ("Modify Time", moment(found.get("ModifyTime"))),
        ("Check Index", found.get("ModifyIndex")),
    ]
    click.echo(block(pairs))
    title("Items")
    click.echo(block(sorted((found.get("Items") or {}).items())))


@command()
@argument("words", metavar="[PATH] [KEY=VALUE|@FILE|-]...", nargs=-1, required=True)
@switch("--force", "Write whatever is there now.")
@option("--check-index", type=int, help="Only if the variable's modify index is this.")
@option("--in", "form", type=click.Choice(["json", "hcl"]), default=None, help="Form of the file.")
@option("--out", "out", type=click.Choice(["table", "json", "hcl", "none"]), default="none", help="What to print.")
@switch("--verbose", "Say what happens.")
def put(
    words: tuple[str, ...], force: bool, check_index: int | None, form: str | None, out: str, verbose: bool
) -> None:
    """Write a variable from KEY=VALUE pairs, from a FILE (@FILE), or from standard input (-).

    A value of @FILE is read from that file. Items that are there already stay unless a file is given.
    """
    app = current()
    path, items, whole = _wanted(app, list(words), form)
    index = check_index
    found: Json = {}
    if not force or not whole:
        try:
            found = app.client().variables.read(path)
        except NotFoundError:
            found = {}
    if not whole:
        items = {**(found.get("Items") or {}), **items}
    if index is None and not force:
        index = int(found.get("ModifyIndex") or 0)
    try:
        stored = app.client().variables.put(path, items, check_index=None if force else index)
    except ConflictError:
        raise ConflictError(
            "var.moved", f'variable "{path}" was not written', "somebody has changed it meanwhile",
            "look at it with `rove var get`, then repeat with -check-index INDEX or -force",
        ) from None  # fmt: skip
    if out == "none":
        click.echo(f'Variable "{path}" is written, modify index {stored.get("ModifyIndex")}')
    elif not emit(stored, out == "json", None):
        _show(stored, out)


def _wanted(app: App, words: list[str], form: str | None) -> tuple[str, dict[str, str], bool]:
    """Path, items, and whether these are all items the variable is to have."""
    path, items, whole = "", {}, False
    if words and "=" not in words[0] and not words[0].startswith("@") and words[0] != "-":
        path = words.pop(0)
    for word in words:
        if word == "-" or word.startswith("@"):
            text = app.stdin.read() if word == "-" else Path(word[1:]).read_text(encoding="utf-8")
            described = _described(text, form, word)
            path = path or str(described.get("Path") or described.get("path") or "")
            items.update(_texts(described.get("Items") or described.get("items") or {}))
            whole = True
            continue
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise BadRequestError("var.bad_item", f"{word!r} was not understood", fix="write KEY=VALUE, @FILE or -")
        items[name] = Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
    if not path:
        raise BadRequestError("var.no_path", "no variable was named", fix="write `rove var put PATH KEY=VALUE`")
    if not items:
        raise BadRequestError("var.no_items", f'variable "{path}" was not written', "there are no items to write")
    return path, items, whole


def _described(text: str, form: str | None, name: str) -> Json:
    if form == "json" or (form is None and text.lstrip().startswith("{")):
        try:
            value = json.loads(text)
        except ValueError as error:
            raise BadRequestError("var.bad_json", f"{name} is not JSON", str(error)) from None
        return value if isinstance(value, dict) else {}
    from rove.agent.config_hcl import parse_hcl

    return parse_hcl(text, name).plain()


def _texts(items: Any) -> dict[str, str]:
    if not isinstance(items, dict):
        raise BadRequestError("var.bad_items", "the items were not understood", "they are no map of names to texts")
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in items.items()}


@command()
@argument("path", metavar="PATH")
@option("--check-index", type=int, help="Only if the variable's modify index is this.")
def purge(path: str, check_index: int | None) -> None:
    """Remove a variable."""
    current().client().variables.delete(path, check_index=check_index)
    click.echo(f'Variable "{path}" is removed')
