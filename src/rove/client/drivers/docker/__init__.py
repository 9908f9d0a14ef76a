"""docker: runs tasks as containers of a Docker (or podman) engine, which outlive the agent."""

from .driver import DockerDriver, create

__all__ = ["DockerDriver", "create"]
