"""Rove: a workload orchestrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rove.sdk import AsyncClient, Client

__version__ = "0.1.0"
SPOKEN_VERSION = "1.9.0"
"""The version of Nomad whose API and job files are matched; told where clients and constraints ask for one."""
__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported on first use: most processes that import a part of the package make no API calls.
    if name in ("AsyncClient", "Client"):
        import rove.sdk

        return getattr(rove.sdk, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
