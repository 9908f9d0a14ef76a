"""What if? A cluster in memory: the real store, scheduler and roll-outs, on nodes that only say they run things.

    cluster = Cluster.of([node("n1", cpu=4000, memory=8192), node("n2", cpu=4000, memory=8192)])
    outcome = cluster.submit(Path("web.nomad.hcl").read_text())
    assert outcome.is_complete, outcome.why
    assert outcome.by_node == {"n1": 2, "n2": 1}

- `Cluster.of(nodes)`, `Cluster.from_snapshot(path or bytes)`: where to begin.
- `add_node`, `remove_node`, `drain_node`, `fail_node`, `submit`, `stop`, `advance`: change something; each gives
  an `Outcome`: what was placed and stopped by it, and what is missing, with the reasons.
- `placements`, `missing`, `explain`, `why`, `nodes`, `to_snapshot`: look.

Time is virtual and nothing is random but for the seed: equal steps give equal outcomes.
"""

from __future__ import annotations

from .cluster import Cluster
from .nodes import node, nodes_from_text
from .outcome import Missing, Outcome, Placed
from .snapshot import ClusterDump, read_dump

__all__ = ["Cluster", "ClusterDump", "Missing", "Outcome", "Placed", "node", "nodes_from_text", "read_dump"]
