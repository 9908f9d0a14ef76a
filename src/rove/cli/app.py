"""What a command has at hand: environment, clock, terminal, and a client when it asks for one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rove.sdk.client import Client
    from rove.sdk.settings import Settings


@dataclass
class App:
    """One run of the command line. Tests give their own environment, clock and streams."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    now: Any = time.time
    sleep: Any = time.sleep
    given: dict[str, Any] = field(default_factory=dict)
    """The global flags that were given, by their name in `Settings` or "no_color", "force_color"."""
    _client: Client | None = None

    def settings(self) -> Settings:
        """Where the API is: flags first, then the environment."""
        from rove.sdk.settings import Settings

        names = Settings.__dataclass_fields__
        flags = {name: value for name, value in self.given.items() if name in names and value not in ("", None)}
        return replace(Settings.from_env(self.environ), **flags)

    def client(self) -> Client:
        """The client, opened on first use."""
        if self._client is None:
            from rove.sdk.client import Client

            self._client = Client(settings=self.settings())
        return self._client

    def close(self) -> None:
        """Close what was opened."""
        if self._client is not None:
            self._client.close()

    def in_namespace(self, namespace: str) -> None:
        """Make all later calls in this namespace: that of the thing a prefix has found."""
        client = self.client()
        client.settings = replace(client.settings, namespace=namespace)

    def color_choice(self) -> bool | None:
        """What the user says about colours; None: they are for terminals."""
        if self.given.get("no_color") or self._env("CLI_NO_COLOR") or self.environ.get("NO_COLOR"):
            return False
        if self.given.get("force_color") or self._env("CLI_FORCE_COLOR"):
            return True
        return False if self.environ.get("TERM") == "dumb" else None

    def colored(self) -> bool:
        """Whether to write colours: a terminal, unless the user says otherwise."""
        choice = self.color_choice()
        return sys.stdout.isatty() if choice is None else choice

    def debugging(self) -> bool:
        """Whether to show tracebacks."""
        return self._env("DEBUG") not in ("", "0")

    def _env(self, name: str) -> str:
        return self.environ.get(f"ROVE_{name}", "") or self.environ.get(f"NOMAD_{name}", "")


def current() -> App:
    """The running command's App."""
    app = click.get_current_context().find_object(App)
    if app is None:
        raise RuntimeError("no command is running")
    return app
