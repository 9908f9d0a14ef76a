"""The HTTP API: Nomad's `/v1`, decoded, authorised, called and encoded, one file a resource.

app = create_app(Backend(server=server, client=client, agent=AgentInfo(...), region="global"))
mount_internal(app, serve_node)      # only on the agents' own listener (port 4647)
"""

from __future__ import annotations

from .app import create_app
from .backend import AgentInfo, Backend
from .internal import mount_internal
from .local import LocalNode, local_node

__all__ = ["AgentInfo", "Backend", "LocalNode", "create_app", "local_node", "mount_internal"]
