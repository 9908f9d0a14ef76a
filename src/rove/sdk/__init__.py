"""The SDK: Rove's HTTP API from Python, blocking and asynchronous.

    import rove
    client = rove.Client("http://127.0.0.1:4646")
    for job in client.jobs.list():
        print(job["ID"], job["Status"])

`Client` blocks and uses only the standard library. `AsyncClient` has the same resources with the same
methods, each of which returns an awaitable. Values are plain dicts and lists with the keys of the API
(``ID``, ``TaskGroups``, ``MemoryMB``), durations are nanoseconds. Every failure is a `RoveError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rove.sdk.asynchronous import AsyncClient
    from rove.sdk.client import Client
    from rove.sdk.request import Reply, Request
    from rove.sdk.settings import Settings

__all__ = ["AsyncClient", "Client", "Reply", "Request", "Settings"]

_HOMES = {
    "AsyncClient": "rove.sdk.asynchronous",
    "Client": "rove.sdk.client",
    "Reply": "rove.sdk.request",
    "Request": "rove.sdk.request",
    "Settings": "rove.sdk.settings",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `rove version` must not pay for an HTTP client.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
