"""What garbage collection takes, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rove.server.collection.core import AT_ONCE, HOUR_S, Thresholds, rubbish
from rove.structs.alloc import Allocation, AllocStatus, Desired
from rove.structs.deployment import Deployment, DeploymentStatus
from rove.structs.evaluation import EvalStatus, Evaluation
from rove.structs.job import Job, JobStatus, JobType
from rove.structs.node import Node, NodeStatus

NOW = 100 * HOUR_S
LONG_AGO = int(1 * HOUR_S * 1e9)
JUST_NOW = int((NOW - 60) * 1e9)


@dataclass
class View:
    """A state from plain lists."""

    all_jobs: list[Job] = field(default_factory=list)
    all_nodes: list[Node] = field(default_factory=list)
    all_evaluations: list[Evaluation] = field(default_factory=list)
    all_deployments: list[Deployment] = field(default_factory=list)
    all_allocs: list[Allocation] = field(default_factory=list)

    def jobs(self, namespace: str | None = None) -> Iterable[Job]:
        return self.all_jobs

    def job(self, namespace: str, job_id: str) -> Job | None:
        return next((job for job in self.all_jobs if job.key == (namespace, job_id)), None)

    def nodes(self) -> Iterable[Node]:
        return self.all_nodes

    def evaluations(self) -> Iterable[Evaluation]:
        return self.all_evaluations

    def evaluations_of_job(self, namespace: str, job_id: str) -> Iterable[Evaluation]:
        return [e for e in self.all_evaluations if e.job_key == (namespace, job_id)]

    def deployments(self) -> Iterable[Deployment]:
        return self.all_deployments

    def allocs_of_evaluation(self, evaluation_id: str) -> Iterable[Allocation]:
        return [a for a in self.all_allocs if a.eval_id == evaluation_id]

    def allocs_of_job(self, namespace: str, job_id: str) -> Iterable[Allocation]:
        return [a for a in self.all_allocs if a.job_key == (namespace, job_id)]

    def all_allocs_of_node(self, node_id: str) -> Iterable[Allocation]:
        return [a for a in self.all_allocs if a.node_id == node_id]

    def allocs_of_deployment(self, deployment_id: str) -> Iterable[Allocation]:
        return [a for a in self.all_allocs if a.deployment_id == deployment_id]


def a_job(**fields: object) -> Job:
    return Job(id="web", **{"status": JobStatus.RUNNING, "submit_time": LONG_AGO, **fields})


def an_evaluation(name: str, *, index: int = 1, ended: int = LONG_AGO, **fields: object) -> Evaluation:
    values = {"namespace": "default", "job_id": "web", "status": EvalStatus.COMPLETE, "modify_time": ended}
    return Evaluation(id=name, create_index=index, **{**values, **fields})


def an_alloc(name: str, evaluation: str, *, over: bool = True, **fields: object) -> Allocation:
    ended = {"desired_status": Desired.STOP, "client_status": AllocStatus.COMPLETE}
    running = {"client_status": AllocStatus.RUNNING}
    return Allocation(
        id=name, namespace="default", job_id="web", eval_id=evaluation, **{**(ended if over else running), **fields}
    )


def test_a_dead_job_goes_with_everything_it_had() -> None:
    view = View(
        all_jobs=[a_job(status=JobStatus.DEAD, stop=True)],
        all_evaluations=[an_evaluation("e")],
        all_allocs=[an_alloc("a", "e", deployment_id="d")],
        all_deployments=[Deployment(id="d", namespace="default", job_id="web", status=DeploymentStatus.SUCCESSFUL)],
    )
    found = rubbish(view, NOW, Thresholds())
    assert found.jobs == (("default", "web"),)
    assert found.evaluation_ids == ("e",)
    assert [a.id for a in found.allocations] == ["a"]
    assert found.deployment_ids == ("d",)


def test_a_job_that_died_a_moment_ago_stays_until_told_otherwise() -> None:
    view = View(all_jobs=[a_job(status=JobStatus.DEAD, stop=True, submit_time=JUST_NOW)])
    assert rubbish(view, NOW, Thresholds()).is_empty
    assert rubbish(view, NOW, AT_ONCE).jobs == (("default", "web"),)


def test_a_job_with_something_still_running_stays() -> None:
    view = View(
        all_jobs=[a_job(status=JobStatus.DEAD, stop=True)],
        all_evaluations=[an_evaluation("e")],
        all_allocs=[an_alloc("a", "e", over=False)],
    )
    assert rubbish(view, NOW, AT_ONCE).is_empty


def test_a_service_that_was_not_stopped_is_never_taken() -> None:
    assert rubbish(View(all_jobs=[a_job(status=JobStatus.DEAD)]), NOW, AT_ONCE).is_empty


def test_old_evaluations_of_a_living_job_go_but_the_latest_stays() -> None:
    view = View(
        all_jobs=[a_job()],
        all_evaluations=[an_evaluation("old", index=1), an_evaluation("new", index=2)],
        all_allocs=[an_alloc("a", "old"), an_alloc("b", "new", over=False)],
    )
    found = rubbish(view, NOW, Thresholds())
    assert found.evaluation_ids == ("old",)
    assert [a.id for a in found.allocations] == ["a"]


def test_an_evaluation_with_a_living_allocation_stays() -> None:
    view = View(
        all_jobs=[a_job()],
        all_evaluations=[an_evaluation("old", index=1), an_evaluation("new", index=2)],
        all_allocs=[an_alloc("a", "old"), an_alloc("b", "old", over=False)],
    )
    assert rubbish(view, NOW, AT_ONCE).is_empty


def test_a_failed_allocation_that_waits_for_its_replacement_stays() -> None:
    waiting = an_alloc("a", "old", desired_status=Desired.RUN, client_status=AllocStatus.FAILED, followup_eval_id="f")
    view = View(
        all_jobs=[a_job()],
        all_evaluations=[an_evaluation("old", index=1), an_evaluation("new", index=2)],
        all_allocs=[waiting],
    )
    assert rubbish(view, NOW, AT_ONCE).is_empty


def test_a_batch_job_remembers_what_it_has_finished() -> None:
    done = an_alloc("a", "old", desired_status=Desired.RUN)
    view = View(
        all_jobs=[a_job(type=JobType.BATCH)],
        all_allocs=[done],
        all_evaluations=[an_evaluation("old", index=1, type="batch"), an_evaluation("new", index=2, type="batch")],
    )
    assert "old" not in rubbish(view, NOW, AT_ONCE).evaluation_ids


def test_pending_and_blocked_evaluations_stay() -> None:
    for status in (EvalStatus.PENDING, EvalStatus.BLOCKED):
        view = View(all_evaluations=[an_evaluation("e", status=status)])
        assert rubbish(view, NOW, AT_ONCE).is_empty


def test_a_node_goes_when_it_is_down_for_long_and_holds_nothing() -> None:
    down = Node(id="n", status=NodeStatus.DOWN, status_updated_at=int(1 * HOUR_S))
    assert rubbish(View(all_nodes=[down]), NOW, Thresholds()).node_ids == ("n",)
    busy = View(all_nodes=[down], all_allocs=[an_alloc("a", "e", over=False, node_id="n")])
    assert rubbish(busy, NOW, AT_ONCE).node_ids == ()
    fresh = Node(id="n", status=NodeStatus.DOWN, status_updated_at=int(NOW - 60))
    assert rubbish(View(all_nodes=[fresh]), NOW, Thresholds()).node_ids == ()
    ready = Node(id="n", status=NodeStatus.READY)
    assert rubbish(View(all_nodes=[ready]), NOW, AT_ONCE).node_ids == ()


def test_an_active_deployment_stays() -> None:
    active = Deployment(id="d", namespace="default", job_id="web", status=DeploymentStatus.RUNNING)
    assert rubbish(View(all_jobs=[a_job()], all_deployments=[active]), NOW, AT_ONCE).is_empty
