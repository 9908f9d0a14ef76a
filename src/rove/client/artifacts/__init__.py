"""Artifacts: files, archives and repositories that a task needs, fetched before it starts.

Everything is first made in a private staging folder, checked there, and only then moved to its place below
the allocation's directory, without following a link on the way.
"""

from .errors import ArtifactError
from .fetch import Limits, fetch_artifact
from .limits import limits_of

__all__ = ["ArtifactError", "Limits", "fetch_artifact", "limits_of"]
