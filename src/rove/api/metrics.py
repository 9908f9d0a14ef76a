"""/v1/metrics: numbers of the moment, as JSON or in Prometheus' text form."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable

import msgspec
from aiohttp import web

from rove.structs.base import from_unix

from .backend import Snapshot
from .call import Call, Reply
from .replies import FIXED_HEADERS
from .routes import READ, Place, Route

_UNSAFE = re.compile(r"[^a-zA-Z0-9_]")
PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Gauge(msgspec.Struct, frozen=True, rename="pascal"):
    """A number that may rise and fall."""

    name: str
    value: float
    labels: dict[str, str] = {}


def state_gauges(snapshot: Snapshot) -> list[Gauge]:
    """What the state says in numbers."""
    jobs = Counter(job.status.value for job in snapshot.jobs())
    nodes = Counter(node.status.value for node in snapshot.nodes())
    evaluations = Counter(evaluation.status.value for evaluation in snapshot.evaluations())
    found = [Gauge("rove.state.index", snapshot.index)]
    for name, counts in (("job_status", jobs), ("nodes", nodes), ("evaluations", evaluations)):
        found += [Gauge(f"rove.{name}", count, {"status": status}) for status, count in sorted(counts.items())]
    return found + list(summary_gauges(snapshot))


def summary_gauges(snapshot: Snapshot) -> Iterable[Gauge]:
    """Allocations by job, group and what they do."""
    for job in snapshot.jobs():
        summary = snapshot.job_summary(job.namespace, job.id)
        if summary is None or job.parent_id:
            continue
        for group, counts in summary.summary.items():
            labels = {"namespace": job.namespace, "exported_job": job.id, "task_group": group}
            for status in counts.__struct_fields__:
                yield Gauge(f"rove.job_summary.{status}", getattr(counts, status), labels)


def agent_gauges(call: Call) -> list[Gauge]:
    """This agent's own numbers."""
    return [Gauge(f"rove.{name}", value) for name, value in sorted(call.backend.agent.gauges().items())]


async def metrics(call: Call) -> Reply | web.StreamResponse:
    """Numbers of the moment."""
    gauges = agent_gauges(call)
    if call.backend.server is not None:
        gauges += await asyncio.to_thread(state_gauges, call.store.snapshot())
    if call.query.get("format", "") == "prometheus":
        headers = {**FIXED_HEADERS, "Content-Type": PROMETHEUS_TYPE}
        return web.Response(text=None, body=prometheus_text(gauges).encode(), headers=headers)
    return Reply(
        {
            "Timestamp": f"{from_unix(call.backend.clock.now()):%Y-%m-%d %H:%M:%S} +0000 UTC",
            "Gauges": gauges,
            "Points": [],
            "Counters": [],
            "Samples": [],
        }
    )


def prometheus_text(gauges: Iterable[Gauge]) -> str:
    """Prometheus' exposition format, version 0.0.4: the lines of a family stand together."""
    families: dict[str, list[str]] = {}
    for gauge in gauges:
        name = _UNSAFE.sub("_", gauge.name)
        labels = ",".join(f'{_UNSAFE.sub("_", key)}="{_escape(value)}"' for key, value in gauge.labels.items())
        value = _number(gauge.value)
        families.setdefault(name, []).append(f"{name}{{{labels}}} {value}" if labels else f"{name} {value}")
    return "".join(f"# TYPE {name} gauge\n" + "\n".join(lines) + "\n" for name, lines in families.items())


def _number(value: float) -> str:
    """All digits: a counter that is cut to six of them seems to stand still, then to jump."""
    return str(int(value)) if value == value // 1 else repr(float(value))


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


ROUTES = (
    Route(
        methods=READ,
        path="/v1/metrics",
        handler=metrics,
        summary="Numbers of the moment",
        place=Place.AGENT,
        query=("format",),
    ),
)
