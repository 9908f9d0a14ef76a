"""`rove operator api`: a call of the API as it is."""

from __future__ import annotations

import sys
from urllib.parse import parse_qsl, urlsplit

import click

from rove.cli.app import App, current
from rove.cli.command import argument, command, option, switch
from rove.sdk.request import Request


@command()
@argument("path", metavar="PATH")
@option("-X", "method", default="", help="The method; GET, or POST when there is a body on standard input.")
@switch("--dryrun", "Print the call as a curl command instead of making it.", "dry_run")
@switch("--verbose", "Print the call to standard error.")
def api(path: str, method: str, dry_run: bool, verbose: bool) -> None:
    """Call the API: PATH is /v1/jobs, or just jobs. A body is read from standard input when it is piped."""
    app = current()
    raw = _body(app, method)
    made = call_of(path, method or ("POST" if raw is not None else "GET"), raw)
    address = app.settings().address.rstrip("/")
    if dry_run or verbose:
        line = f"curl -X {made.method} {address}{made.target(app.client().settings)}"
        click.echo(line, err=not dry_run)
        if dry_run:
            return
    for piece in app.client().stream(made):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    if sys.stdout.isatty():
        click.echo("")


def call_of(path: str, method: str, raw: bytes | None) -> Request:
    """The call that a path with its query stands for."""
    parts = urlsplit(path)
    where = parts.path if parts.path.startswith("/") else f"/{parts.path}"
    if not where.startswith("/v1/") and where != "/.well-known/jwks.json":
        where = f"/v1{where}"
    params = tuple(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method.upper(), where, params, raw=raw, decode="bytes")


def _body(app: App, method: str) -> bytes | None:
    """Standard input, when somebody writes to it and the method takes a body."""
    if method.upper() in ("GET", "HEAD", "DELETE") or app.stdin.isatty():
        return None
    buffer = getattr(app.stdin, "buffer", None)
    data: bytes = buffer.read() if buffer else app.stdin.read().encode()
    return data or (b"" if method else None)
