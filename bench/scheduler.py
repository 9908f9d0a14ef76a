"""The scheduler's figures: the published 120 cases, single evaluations, verification, the container replays.

    make bench-scheduler            # every case, 7 runs each
    make bench-scheduler QUICK=1    # 3 runs each, ends within five minutes

The shape is that of Nomad's public scheduler benchmark: nodes in racks, half of the racks eligible, each
copy asking for 6,000 MHz and 6,000 MB; the plan is made in memory and not submitted. Every feasible node is
scored. Runs of all cases are interleaved; the medians are printed and written to bench/out/scheduler.json. Replays, the
rate end to end and the loss of a node are those of bench/fleet.py.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import platform
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import fleet as big

from rove.server.scheduler import schedule, verify
from rove.structs.job import Affinity, Constraint, Job, Spread
from rove.testing.builders import a_job, a_node, an_evaluation
from rove.testing.fleet import FakeView

NODES = (500, 1_000, 5_000, 10_000)
RACKS = (25, 50, 75)
COUNTS = (50, 300, 600, 900, 1_200)
NOW = 1_700_000_000.0
MILLION, TWO_MILLION = "1,000 jobs of 1,000 on 5,000 nodes", "2,000 jobs of 1,000 on 6,100 nodes"
OUT = Path(__file__).parent / "out" / "scheduler.json"


def a_fleet(nodes: int, racks: int) -> FakeView:
    """Nodes of three sizes in racks r1, r2, ..."""
    sizes = ((14_000, 32_000), (28_000, 64_000), (56_000, 128_000))
    return FakeView(
        a_node(
            f"node-{n:05d}",
            cpu=sizes[n % 3][0],
            memory=sizes[n % 3][1],
            disk=500_000,
            meta={"rack": f"r{n % racks}", "half": str(n % racks % 2)},
        )
        for n in range(nodes)
    )


def the_job(count: int, spread: bool) -> Job:
    """The benchmark's job."""
    fields: dict[str, Any] = {"spreads": (Spread(attribute="${meta.rack}", weight=100),)} if spread else {}
    return a_job(
        "bench", count=count, cpu=6_000, memory=6_000, disk=150,
        constraints=(Constraint(l_target="${meta.half}", operand="=", r_target="0"),), **fields,
    )  # fmt: skip


def run(view: FakeView, job: Job, seed: int) -> tuple[float, int]:
    """(seconds, copies placed) of one evaluation."""
    ids = itertools.count()
    evaluation = an_evaluation(job)
    rng = random.Random(seed)
    gc.collect()
    start = time.perf_counter()
    result = schedule(evaluation, view, now=NOW, rng=rng, new_id=lambda: f"id-{next(ids)}")
    seconds = time.perf_counter() - start
    return seconds, sum(len(placement) for placement in result.plan.placements)


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def repeated(work: Callable[[int], object], times: int) -> dict[str, float]:
    """p50, p99 in ms."""
    taken = []
    for n in range(times):
        start = time.perf_counter()
        work(n)
        taken.append((time.perf_counter() - start) * 1e3)
    return {"p50_ms": percentile(taken, 0.5), "p99_ms": percentile(taken, 0.99), "runs": times}


def the_120(rounds: int) -> list[dict[str, Any]]:
    """The published cases, interleaved."""
    fleets = {(nodes, racks): a_fleet(nodes, racks) for nodes in NODES for racks in RACKS}
    for fleet in fleets.values():
        fleet.fleet()
    cases = [
        (nodes, racks, count, spread)
        for nodes in NODES
        for racks in RACKS
        for count in COUNTS
        for spread in (False, True)
    ]
    times: dict[tuple[int, int, int, bool], list[float]] = {case: [] for case in cases}
    placed: dict[tuple[int, int, int, bool], int] = {}
    for seed in range(rounds):
        for (nodes, racks), fleet in fleets.items():
            for count in COUNTS:
                for spread in (False, True):
                    job = the_job(count, spread)
                    fleet._newest[job.key] = job
                    fleet.jobs[job.namespace, job.id, job.version] = job
                    case = (nodes, racks, count, spread)
                    seconds, placed[case] = run(fleet, job, seed)
                    times[case].append(seconds)
    rows = []
    for case in cases:
        nodes, racks, count, spread = case
        median = statistics.median(times[case])
        rows.append(
            {
                "nodes": nodes,
                "racks": racks,
                "count": count,
                "spread": spread,
                "placed": placed[case],
                "ms": median * 1e3,
                "min_ms": min(times[case]) * 1e3,
                "max_ms": max(times[case]) * 1e3,
                "evaluations_per_s": 1 / median,
                "placements_per_s": placed[case] / median,
            }
        )
    return rows


def singles(rounds: int) -> dict[str, dict[str, float]]:
    """One copy on 10,000 nodes in several shapes; a dry run of 100; verification of 1,200."""
    fleet = a_fleet(10_000, 75)
    ids = itertools.count()

    def evaluate(job: Job) -> Callable[[int], object]:
        fleet._newest[job.key] = job
        fleet.jobs[job.namespace, job.id, job.version] = job
        evaluation = an_evaluation(job)
        return lambda seed: schedule(
            evaluation, fleet, now=NOW, rng=random.Random(seed), new_id=lambda: f"id-{next(ids)}"
        )

    rack = Affinity(l_target="${meta.rack}", operand="=", r_target="r4", weight=50)
    found = {
        "one allocation": repeated(evaluate(the_job(1, False)), 50 * rounds),
        "one allocation, spread": repeated(evaluate(the_job(1, True)), 20 * rounds),
        "one allocation, affinity": repeated(evaluate(a_job("one", count=1, cpu=500, affinities=(rack,))), 20 * rounds),
        "one allocation, two ports": repeated(
            evaluate(a_job("one", count=1, cpu=500, ports=("http", "admin"))), 20 * rounds
        ),
        "dry run of 100": repeated(evaluate(the_job(100, False)), 50 * rounds),
        "100 with two ports each": repeated(
            evaluate(a_job("one", count=100, cpu=500, ports=("http", "admin"))), 5 * rounds
        ),
        "1,000 small": repeated(evaluate(a_job("one", count=1_000, cpu=50, memory=30)), 5 * rounds),
        "10,000 small": repeated(evaluate(a_job("one", count=10_000, cpu=50, memory=30)), rounds),
    }
    job = the_job(1_200, False)
    result = evaluate(job)(0)
    plan = result.plan  # type: ignore[attr-defined]
    found["verify 1,200"] = repeated(lambda _: verify(plan, fleet), 20 * rounds)
    return found


def of_fleet(quick: bool) -> dict[str, dict[str, float]]:
    """The container replays in full, and the parts with nodes over sockets in the size that fits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
    return {
        MILLION: big.child("replay", 1_000, 1_000, 5_000),
        TWO_MILLION: big.child("replay", 2_000, 1_000, 6_100),
        "end to end": big.rate(20, 1_000, 250) if quick else big.rate(100, 1_000, 1_000),
        "lost node": big.loss(500, 1_000, 1) if quick else big.loss(5_000, 10_000, 3),
    }


def goals(
    rows: list[dict[str, Any]], single: dict[str, dict[str, float]], large: dict[str, dict[str, float]]
) -> list[tuple[str, float, str, float, str]]:
    """(what, measured, "at most" or "at least", goal, unit)."""

    def worst(spread: bool) -> float:
        return max(r["ms"] for r in rows if r["nodes"] == 10_000 and r["count"] == 1_200 and r["spread"] == spread)

    replays, most, least = (large[MILLION], large[TWO_MILLION]), "at most", "at least"
    found = [
        ("10,000 nodes, count 1,200, slowest of three", worst(False), most, 15, "ms"),
        ("the same with spread", worst(True), most, 60, "ms"),
        ("one allocation on 10,000 nodes, p50", single["one allocation"]["p50_ms"], most, 1, "ms"),
        ("dry run of 100 on 10,000 nodes, p99", single["dry run of 100"]["p99_ms"], most, 20, "ms"),
        ("a million allocations, stored durably", large[MILLION]["seconds"], most, 25, "s"),
        ("two million on 6,100 nodes", large[TWO_MILLION]["seconds"], most, 60, "s"),
        ("memory an allocation", max(r["bytes of memory an allocation"] for r in replays), most, 400, "bytes"),
        ("event loop blocked in the replays", max(r["longest block of the loop, ms"] for r in replays), most, 50, "ms"),
    ]
    for part, key, word, goal, unit in (
        ("end to end", "submitted to running/s", least, 10_000, "allocations/s"),
        ("end to end", "longest block of the loop, ms", most, 50, "ms"),
        ("lost node", "noticed after, s (worst)", most, 5, "s"),
        ("lost node", "replaced after that, s (worst)", most, 2, "s"),
        ("lost node", "longest block of the loop, ms", most, 50, "ms"),
    ):
        if key in large[part]:
            found.append((f"{part}: {key}", large[part][key], word, goal, unit))
    return found


def print_cases(rows: list[dict[str, Any]]) -> None:
    """The 120 cases as a table."""
    print(f"{'nodes':>6} {'racks':>5} {'count':>5} {'spread':>6} {'placed':>6} {'ms':>8} {'min':>8} {'max':>8} "
          f"{'evals/s':>8} {'placed/s':>9}")  # fmt: skip
    for row in rows:
        print(
            f"{row['nodes']:>6} {row['racks']:>5} {row['count']:>5} {'yes' if row['spread'] else 'no':>6} "
            f"{row['placed']:>6} {row['ms']:>8.2f} {row['min_ms']:>8.2f} {row['max_ms']:>8.2f} "
            f"{row['evaluations_per_s']:>8.0f} {row['placements_per_s']:>9.0f}"
        )


def main() -> None:
    """Measure, print and write everything."""
    quick = bool(os.environ.get("QUICK")) or "--quick" in sys.argv
    rounds = 3 if quick else 7
    load = os.getloadavg()[0]
    rows = the_120(rounds)
    print_cases(rows)
    single = singles(rounds)
    print()
    for name, figures in single.items():
        print(
            f"{name:>28}: p50 {figures['p50_ms']:.3f} ms, p99 {figures['p99_ms']:.3f} ms ({figures['runs']:.0f} runs)"
        )
    large = of_fleet(quick)
    print()
    for name, figures in large.items():
        big.show(name, figures)
    print()
    for what, measured, word, goal, unit in goals(rows, single, large):
        missed = measured > goal if word == "at most" else measured < goal
        print(f"{what:>50}: {measured:>10,.2f} {unit} ({word} {goal:,}){'  MISSED' if missed else ''}")
    print(f"\nload before: {load:.1f}; other work on the machine lengthens all of this")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(
        json.dumps(
            {"python": sys.version, "machine": platform.machine(), "cpus": os.cpu_count(), "rounds": rounds,
             "load_before": load, "cases": rows, "single": single, "fleet": large},
            indent=1,
        )
    )  # fmt: skip
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()
