"""Roll-outs: what becomes of a deployment as its allocations turn healthy or fail.

`core` decides, `waits` explains, `loop` watches every running deployment, `verbs` are what people ask for.
"""

from .asking import Asking, Fetch
from .loop import Deployments
from .verbs import DeploymentChanged, DeploymentVerbs

__all__ = ["Asking", "DeploymentChanged", "DeploymentVerbs", "Deployments", "Fetch"]
