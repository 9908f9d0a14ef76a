"""`Cluster`: the simulation as plain calls, for a test or a shell."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rove import jobspec
from rove.errors import BadRequestError, InvalidJobError, NotFoundError
from rove.server import scheduler
from rove.server.scheduler.explain import placement_sentence
from rove.server.state import PutNamespace, PutNodePool, Snapshot
from rove.structs.alloc import Allocation, AllocMetric, AllocStatus
from rove.structs.base import SECOND
from rove.structs.evaluation import EvalStatus
from rove.structs.job import Job, JobStatus, JobType
from rove.structs.node import DrainSpec, Namespace, Node, NodePool, NodeStatus, SchedulerConfiguration

from .nodes import distinct
from .outcome import Missing, Outcome, Placed, count_by_node, placed
from .snapshot import ClusterDump, read_dump
from .world import World

T = TypeVar("T")

JobLike = Job | Mapping[str, Any] | str | Path
NodeLike = Node | str
"""A node, or its id, the beginning of it, or its name."""

DEADLINE_S = 3600.0


class Cluster:
    """A simulated cluster. Calls return when everything that follows from them has happened.

    Not to be shared between threads. `close` (or a `with` block, or the garbage collector) lets go of it.
    """

    def __init__(self, dump: ClusterDump, seed: int = 0) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._is_closed = False
        self._world = self._run(lambda: World(dump, seed))
        self._finalizer = weakref.finalize(self, _close, self._world)

    @classmethod
    def of(
        cls,
        nodes: Iterable[Node] = (),
        *,
        scheduler_configuration: SchedulerConfiguration | None = None,
        seed: int = 0,
    ) -> Cluster:
        """A cluster of these nodes, with the built-in namespace and the pools that they name.

        Raises `BadRequestError` for two nodes of one name, and for what is no node.
        """
        listed = distinct(nodes)
        pools = sorted({node.node_pool for node in listed} - {"", "default", "all"})
        return cls(
            ClusterDump(
                nodes=listed,
                node_pools=tuple(NodePool(name=pool) for pool in pools),
                scheduler_configuration=scheduler_configuration or SchedulerConfiguration(),
            ),
            seed,
        )

    @classmethod
    def from_snapshot(cls, source: str | Path | bytes, *, seed: int = 0) -> Cluster:
        """A cluster as `rove operator simulate -save` (or `to_snapshot`) wrote it: a path, or bytes.

        What was pending in it is carried out first. Raises `BadRequestError` if it makes no sense.
        """
        return cls(read_dump(source), seed)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it. Outcomes stay as they are."""
        if self._finalizer.detach() is not None:
            self._run(self._world.close)
            self._is_closed = True
        if self._thread is not None:
            self._thread.shutdown()

    # -- steps

    def submit(self, job: JobLike, *, variables: Mapping[str, str] | None = None) -> Outcome:
        """Register a job: the text of a job file (HCL or JSON) or its path, its API form, or a `Job`.

        Raises `JobFileError` for text that cannot be read, `InvalidJobError` with every problem.
        """
        wanted = read_job(job, variables)
        return self._step(lambda: self._world.register(wanted), wanted.key)

    def stop(self, job_id: str, *, namespace: str = "default") -> Outcome:
        """Stop a job. Raises `NotFoundError`."""
        return self._step(lambda: self._world.deregister(namespace, job_id), (namespace, job_id))

    def add_node(self, *nodes: Node) -> Outcome:
        """Nodes join. Raises `BadRequestError` for one whose name or id is given twice or already there."""
        distinct(nodes, self.nodes())
        missing = {node.node_pool for node in nodes} - {pool.name for pool in self.snapshot().node_pools()}
        for name in sorted(missing):
            self._run(lambda name=name: self._world.loop.finish(self._put_pool(name)))  # type: ignore[misc]
        return self._step(lambda: self._world.put_nodes(nodes))

    def remove_node(self, *nodes: NodeLike) -> Outcome:
        """Nodes leave for good; what ran there is lost and replaced. Raises `NotFoundError`."""
        ids = [self.node(each).id for each in nodes]
        return self._step(lambda: self._world.forget(ids))

    def fail_node(self, *nodes: NodeLike) -> Outcome:
        """Nodes are found to be down, all at once. Raises `NotFoundError`."""
        ids = [self.node(each).id for each in nodes]
        return self._step(lambda: self._world.fail(ids))

    def restore_node(self, *nodes: NodeLike) -> Outcome:
        """Nodes that had failed are back."""
        found = [self.node(each) for each in nodes]
        return self._step(lambda: self._world.put_nodes(found))

    def drain_node(
        self, node: NodeLike, *, deadline_s: float = DEADLINE_S, ignore_system_jobs: bool = False
    ) -> Outcome:
        """Drain a node as a person would, `migrate` blocks honoured. deadline_s: 0 none, below 0 at once."""
        node_id = self.node(node).id
        spec = DrainSpec(
            deadline=-1 if deadline_s < 0 else int(deadline_s * SECOND), ignore_system_jobs=ignore_system_jobs
        )
        return self._step(lambda: self._world.drain(node_id, spec))

    def advance(self, seconds: float) -> Outcome:
        """Let virtual time pass. Raises `BadRequestError` unless it is a number of seconds."""
        if not (isinstance(seconds, int | float) and 0 <= seconds < math.inf):
            raise BadRequestError(
                "simulate.seconds", "no time has passed", f"{seconds!r} is not a number of seconds from 0 on"
            )

        async def nothing() -> None:
            await asyncio.sleep(seconds)

        return self._step(nothing)

    def add_namespace(self, name: str) -> None:
        """Make a namespace."""
        put = PutNamespace(namespace=Namespace(name=name))
        self._run(lambda: self._world.do(lambda: self._world.store.commit(put)))

    async def _put_pool(self, name: str) -> None:
        await self._world.store.commit(PutNodePool(pool=NodePool(name=name)))

    # -- looking

    def snapshot(self) -> Snapshot:
        """The state itself, as the server sees it; read only."""
        self._check_open()
        return self._world.snapshot()

    def nodes(self) -> tuple[Node, ...]:
        """Every node, in order of name."""
        return tuple(sorted(self.snapshot().nodes(), key=lambda node: (node.name, node.id)))

    def node(self, wanted: NodeLike) -> Node:
        """A node by id, beginning of its id, or name. Raises `NotFoundError`, also when several match."""
        name = wanted.id if isinstance(wanted, Node) else wanted
        exact = self.snapshot().node(name)
        if exact is not None:
            return exact
        every = list(self.snapshot().nodes())
        found = [node for node in every if node.name == name] or [n for n in every if name and n.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        why = f"{len(found)} nodes match" if found else f"there are {len(every)} nodes, none of that id or name"
        raise NotFoundError("node.unknown", f'no node "{name[:100]}"', why)

    def placements(self, job: str | Job | None = None, *, namespace: str = "default") -> tuple[Placed, ...]:
        """Live allocations of a job (None: of every job), in order of name."""
        snapshot = self.snapshot()
        if job is None:
            allocs = iter(snapshot.allocs())
        else:
            allocs = iter(snapshot.allocs_of_job(*_key_of(job, namespace)))
        live = (placed(alloc, _node_name(snapshot, alloc.node_id)) for alloc in allocs if not alloc.is_terminal)
        return tuple(sorted(live, key=_by_name))

    def explain(
        self, job: JobLike, node: NodeLike | None = None, *, group: str = "", namespace: str = "default"
    ) -> tuple[scheduler.NodeVerdict, ...]:
        """Every check that one more copy fails on a node (None: on all, the nearest miss first).

        job: the id of a registered one, or a job as `submit` takes it. group: its name, '' for the first.
        Raises `NotFoundError` for a node or a group that is not there.
        """
        snapshot = self.snapshot()
        known = snapshot.job(*_key_of(job, namespace)) if isinstance(job, str | Job) else None
        found = known or read_job(job)
        node_id = None if node is None else self.node(node).id
        names = [each.name for each in found.task_groups]
        if group and group not in names:
            raise NotFoundError(
                "simulate.group", f'job "{found.id}" has no group "{group[:100]}"', f"it has {', '.join(names)}"
            )
        return scheduler.explain(found, group or names[0], snapshot, node_id)

    def why(self, job: str | Job, *, namespace: str = "default") -> str:
        """One paragraph: what of the job's count is met, and what the rest waits for. Raises `NotFoundError`."""
        return self._why(self.snapshot(), _key_of(job, namespace))

    def missing(self) -> tuple[Missing, ...]:
        """What every job misses of its count now, with the reasons."""
        return self._missing(self.snapshot(), None)

    def to_snapshot(self) -> bytes:
        """The cluster as it is now, as JSON that `from_snapshot` reads."""
        snapshot = self.snapshot()
        jobs = [version for job in snapshot.jobs() for version in snapshot.job_versions(*job.key)]
        dump = ClusterDump(
            index=snapshot.index, taken_at=self._world.clock.now(), nodes=tuple(snapshot.nodes()), jobs=tuple(jobs),
            allocations=tuple(msgspec.structs.replace(alloc, job=None, metrics=None) for alloc in snapshot.allocs()),
            evaluations=tuple(each for each in snapshot.evaluations() if not each.is_terminal),
            deployments=tuple(snapshot.deployments()), namespaces=tuple(snapshot.namespaces()),
            node_pools=tuple(snapshot.node_pools()), scheduler_configuration=snapshot.scheduler_configuration(),
        )  # fmt: skip
        return msgspec.json.encode(dump)

    # -- inside

    def _run(self, work: Callable[[], T]) -> T:
        """Run `work` here, or on a thread of its own where an event loop of the caller is running."""
        self._check_open()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return work()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="simulation")
        return self._thread.submit(work).result()

    def _check_open(self) -> None:
        if self._is_closed:
            raise BadRequestError(
                "simulate.closed", "the simulation is closed", "close() was called, or its `with` block is over",
                "look at it and change it before that; outcomes stay as they are",
            )  # fmt: skip

    def _step(self, work: Callable[[], Any], job_key: tuple[str, str] | None = None) -> Outcome:
        before = self.snapshot()
        self._run(lambda: self._world.do(work))
        after = self.snapshot()
        began: list[Placed] = []
        ended: list[Placed] = []
        pushed_out: list[Placed] = []
        for alloc_id in self._world.assigned:
            old, new = before.alloc(alloc_id), after.alloc(alloc_id)
            was_live = old is not None and not old.is_terminal
            is_live = new is not None and not new.is_terminal
            if new is None or was_live == is_live:
                continue
            shown = placed(new, _node_name(before if was_live else after, new.node_id))
            (began if is_live else ended).append(shown)
            if was_live and new.preempted_by_allocation:
                pushed_out.append(shown)
        return Outcome(
            job_id=job_key[1] if job_key else "",
            placed=tuple(sorted(began, key=_by_name)),
            stopped=tuple(sorted(ended, key=_by_name)),
            preempted=tuple(sorted(pushed_out, key=_by_name)),
            by_node=count_by_node(self.placements(job_key[1], namespace=job_key[0]) if job_key else self.placements()),
            missing=self._missing(after, job_key),
            why=self._why_of_step(after, job_key),
        )

    def _why_of_step(self, snapshot: Snapshot, job_key: tuple[str, str] | None) -> str:
        if job_key is not None:
            return self._why(snapshot, job_key) if snapshot.job(*job_key) is not None else ""
        keys = dict.fromkeys((each.namespace, each.job_id) for each in self._missing(snapshot, None))
        return "\n".join(self._why(snapshot, key) for key in keys)

    def _why(self, snapshot: Snapshot, key: tuple[str, str]) -> str:
        job = snapshot.job(*key)
        if job is None:
            raise NotFoundError("job.unknown", "job not found", f'there is no job "{key[1]}" in namespace "{key[0]}"')
        return scheduler.why(job, snapshot, _failed(snapshot, key), self._world.clock.now())

    def _missing(self, snapshot: Snapshot, job_key: tuple[str, str] | None) -> tuple[Missing, ...]:
        keys = [job_key] if job_key is not None else [job.key for job in snapshot.jobs()]
        found = []
        for key in keys:
            job = snapshot.job(*key)
            if job is None or job.stop:
                continue
            failed = _failed(snapshot, key)
            for group, metric in sorted(failed.items()):
                why = f"{placement_sentence(metric)} {scheduler.nearest_miss(job, group, snapshot)}".rstrip()
                found.append(Missing(*key, group, metric.coalesced_failures + 1, why, metric))
            found += [
                Missing(*key, group, count, self._why(snapshot, key), AllocMetric())
                for group, count in _away(snapshot, job)
                if group not in failed
            ]
        return tuple(found)


def _close(world: World) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        world.close()
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(world.close).result()


def read_job(job: JobLike, variables: Mapping[str, str] | None = None) -> Job:
    """A job in canonical form from any of its forms. A `Job` is taken as it is."""
    if isinstance(job, Job):
        return job
    if isinstance(job, Path):
        name, job = str(job), _text_of(job)
    else:
        name = "job.nomad.hcl"
    if isinstance(job, str):
        if not job.strip() or ("{" not in job and "\n" not in job):
            raise _no_job(f'"{job[:80]}" is not the text of a job file')
        text = job
        if text.lstrip().startswith("{"):
            api = jobspec.decode_api_job(text) if '"ID"' in text else dict(jobspec.parse_job(text).api)
        else:
            api = dict(jobspec.parse_job(text, filename=name, variables=variables).api)
    elif isinstance(job, Mapping):
        api = jobspec.decode_api_job(job)
    else:
        raise _no_job(f"{job!r:.80} is no job")
    made = jobspec.canonicalize(api)
    problems = [str(problem) for problem in jobspec.validate(made)]
    if problems:
        raise InvalidJobError(made.id, problems)
    return jobspec.add_implied_constraints(made, consul=False)


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise _no_job(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise _no_job(f"{path} is not text in UTF-8") from None


def _no_job(why: str) -> BadRequestError:
    return BadRequestError(
        "simulate.job", "no job was read", why,
        "pass the text of a job file, its pathlib.Path, or a job in the API's form",
    )  # fmt: skip


def _away(snapshot: Snapshot, job: Job) -> Iterator[tuple[str, int]]:
    """By group: how many copies of its count are not there, whether something waits to place them or not.

    After a failed roll-out, for instance, nothing does.
    """
    if job.type not in (JobType.SERVICE, JobType.BATCH) or job.is_periodic or job.is_parameterized:
        return
    if job.type is JobType.BATCH and job.status is JobStatus.DEAD:
        return  # it is over; its allocations may be collected already
    there = Counter(alloc.task_group for alloc in snapshot.allocs_of_job(*job.key) if _counts(job, alloc))
    for group in job.task_groups:
        if there[group.name] < group.count:
            yield group.name, group.count - there[group.name]


def _counts(job: Job, alloc: Allocation) -> bool:
    """Whether it is one of the job's count: it is live and no canary, or was a batch copy's last try."""
    if not alloc.is_terminal:
        return not alloc.is_canary
    if job.type is not JobType.BATCH or alloc.is_server_terminal or alloc.job_version != job.version:
        return False
    is_tried_again = alloc.followup_eval_id or alloc.next_allocation
    return alloc.client_status is AllocStatus.COMPLETE or (
        alloc.client_status is AllocStatus.FAILED and not is_tried_again
    )


def _failed(snapshot: Snapshot, key: tuple[str, str]) -> dict[str, AllocMetric]:
    """By group: why copies found no room, from the evaluation that waits for it."""
    failed: dict[str, AllocMetric] = {}
    for evaluation in snapshot.evaluations_of_job(*key):
        if evaluation.status is EvalStatus.BLOCKED:
            failed.update(evaluation.failed_tg_allocs)
    return failed


def _key_of(job: object, namespace: str) -> tuple[str, str]:
    return job.key if isinstance(job, Job) else (namespace, str(job))


def _node_name(snapshot: Snapshot, node_id: str) -> str:
    node = snapshot.node(node_id)
    return node_id if node is None else node.name or node.id


def _by_name(each: Placed) -> tuple[str, str, str, int, str]:
    head, _, index = each.name.rpartition("[")
    number = index.rstrip("]")
    return each.namespace, each.job_id, head, int(number) if number.isdigit() else -1, each.alloc_id


__all__ = ["Cluster", "JobLike", "NodeLike", "NodeStatus", "read_job"]
