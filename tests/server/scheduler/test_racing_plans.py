"""Plans made on the same snapshot race for the same room: what is stored is never over-committed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from rove.server.scheduler import verify
from rove.structs.node import PreemptionConfig, SchedulerConfiguration
from rove.structs.plan import SchedulerResult
from rove.structs.resources import ports_of, usage_of
from rove.testing.builders import a_job, a_node
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]


def check(view: FakeView) -> None:
    """No node and no port is given twice."""
    for node in view.nodes.values():
        here = [a for a in view.allocs.values() if a.node_id == node.id and not a.is_terminal]
        used = [usage_of(a.allocated_resources) for a in here]
        assert sum(u.cpu for u in used) <= node.node_resources.cpu.cpu_shares
        assert sum(u.memory_mb for u in used) <= node.node_resources.memory.memory_mb
        ports = Counter(p.value for a in here for p in ports_of(a.allocated_resources))
        assert not ports or max(ports.values()) == 1
        cores = Counter(c for a in here for t in a.allocated_resources.tasks.values() for c in t.cpu.reserved_cores)
        assert not cores or max(cores.values()) == 1


@pytest.mark.parametrize("seed", range(60))
def test_racing_plans_are_cut_to_what_fits_and_settle_after_retries(seed: int, run: Run) -> None:
    rng = random.Random(seed)
    nodes = [
        a_node(f"n{i}", cpu=rng.choice((500, 2000)), memory=1000, min_dynamic_port=20_000, max_dynamic_port=20_004)
        for i in range(rng.randint(1, 5))
    ]
    jobs = [
        a_job(
            f"job{n}", type=rng.choice(("service", "batch", "system")), count=rng.randint(1, 6),
            priority=rng.choice((20, 50, 90)), cpu=rng.choice((100, 300)), memory=rng.choice((50, 300)), disk=1,
            ports=rng.choice(((), ("http",))), static_ports=rng.choice((None, None, {"s": 8080})),
        )
        for n in range(5)
    ]  # fmt: skip
    configuration = SchedulerConfiguration(
        preemption_config=PreemptionConfig(service_scheduler_enabled=rng.random() < 0.5)
    )
    view = FakeView(nodes, jobs, configuration=configuration)
    for attempt in range(8):
        stale = view
        for job in jobs:
            result = run(stale, job, seed=seed + attempt)
            view = view.carry_out(verify(result.plan, view)[0])
            check(view)
    for job in jobs:
        result = run(view, job, seed=seed)
        live = [a for a in view.allocs.values() if a.job_id == job.id and not a.is_terminal]
        if job.type.value != "system" and len(live) < job.task_groups[0].count:
            assert result.queued["api"] > 0 or result.plan.stops
            assert result.failed or result.plan.placements
