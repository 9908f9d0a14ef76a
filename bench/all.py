"""All figures of the README: a table, and bench/out/bench.json. ``--quick`` takes fewer runs."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

from bench import first_light, jobspec, rollouts
from bench.table import is_quick

OUT = Path(__file__).parent / "out"
PARTS = {"a whole agent": first_light.run, "job language": jobspec.run, "roll-outs": rollouts.run}


def machine() -> dict[str, object]:
    """What was measured on."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_gib, 1),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }


def main() -> None:
    """Measure and write."""
    quick = is_quick(__doc__)
    on = machine()
    print(f"{on['cores']} cores, {on['memory_gib']} GiB, Python {on['python']}; load before: {on['load_before']:.1f}")
    figures = {}
    for name, run in PARTS.items():
        print(f"-- {name}", flush=True)
        figures[name] = run(quick)
    OUT.mkdir(exist_ok=True)
    (OUT / "bench.json").write_text(json.dumps({"machine": on, "quick": quick, "figures": figures}, indent=2))
    print(f"written: {OUT / 'bench.json'}")


if __name__ == "__main__":
    main()
