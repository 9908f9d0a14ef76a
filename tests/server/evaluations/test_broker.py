"""Which evaluation is worked on next."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from rove.server.evaluations.core import DELIVERIES_MAX, Broker
from rove.structs.base import from_unix
from rove.structs.evaluation import Evaluation


def an_evaluation(name: str, job: str = "", priority: int = 50, index: int = 1, **fields: object) -> Evaluation:
    return Evaluation(id=name, namespace="default", job_id=job or name, priority=priority, create_index=index, **fields)


def test_higher_priority_comes_first_then_the_older_one() -> None:
    broker = Broker()
    for evaluation in (
        an_evaluation("c", index=3),
        an_evaluation("b", index=2),
        an_evaluation("a", priority=90, index=9),
    ):
        broker.enqueue(evaluation, 0)
    names = [broker.dequeue(0).evaluation.id for _ in range(3)]
    assert names == ["a", "b", "c"]
    assert broker.dequeue(0) is None


def test_only_one_evaluation_of_a_job_is_in_flight() -> None:
    broker = Broker()
    broker.enqueue(an_evaluation("one", job="web", index=1), 0)
    broker.enqueue(an_evaluation("two", job="web", index=2), 0)
    first = broker.dequeue(0)
    assert broker.dequeue(0) is None
    assert broker.ack(first) == []
    assert broker.dequeue(0).evaluation.id == "two"


def test_of_those_that_waited_only_the_newest_goes_on() -> None:
    broker = Broker()
    for index, name in enumerate(("one", "two", "three", "four"), 1):
        broker.enqueue(an_evaluation(name, job="web", index=index), 0)
    first = broker.dequeue(0)
    assert {evaluation.id for evaluation in broker.ack(first)} == {"two", "three"}
    assert broker.dequeue(0).evaluation.id == "four"


def test_a_delayed_evaluation_waits_for_its_time() -> None:
    broker = Broker()
    broker.enqueue(an_evaluation("later", wait_until=from_unix(0) + timedelta(seconds=10)), 0)
    assert broker.dequeue(9.9) is None
    assert broker.next_due() == 10
    assert broker.dequeue(10).evaluation.id == "later"


def test_a_returned_evaluation_comes_again_later_and_not_for_ever() -> None:
    broker = Broker()
    broker.enqueue(an_evaluation("hard"), 0)
    now = 0.0
    for _ in range(DELIVERIES_MAX - 1):
        delivery = broker.dequeue(now)
        assert broker.nack(delivery, now)
        assert broker.dequeue(now) is None
        now += 100
    last = broker.dequeue(now)
    assert not broker.nack(last, now)
    broker.ack(last)
    assert len(broker) == 0


def test_a_postponed_evaluation_comes_again_later_however_often() -> None:
    broker = Broker()
    broker.enqueue(an_evaluation("unlucky"), 0)
    now = 0.0
    for _ in range(DELIVERIES_MAX * 3):
        broker.postpone(broker.dequeue(now), now)
        assert broker.dequeue(now) is None
        now = broker.next_due()
    assert broker.nack(broker.dequeue(now), now), "postponing was counted"


def test_an_old_token_changes_nothing() -> None:
    broker = Broker()
    broker.enqueue(an_evaluation("x"), 0)
    first = broker.dequeue(0)
    broker.nack(first, 0)
    second = broker.dequeue(100)
    assert broker.ack(first) == []
    assert broker.in_flight == 1
    broker.ack(second)
    assert broker.in_flight == 0


def test_a_removed_evaluation_lets_the_next_one_of_its_job_go() -> None:
    broker = Broker()
    broker.enqueue(an_evaluation("one", job="web", index=1), 0)
    broker.enqueue(an_evaluation("two", job="web", index=2), 0)
    broker.remove(["one"])
    assert broker.dequeue(0).evaluation.id == "two"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 100), st.booleans()), max_size=40))
def test_every_evaluation_ends_acked_or_superseded_and_jobs_never_overlap(steps: list[tuple[str, int, bool]]) -> None:
    broker = Broker()
    known: set[str] = set()
    ended: set[str] = set()
    flying: dict[str, object] = {}
    for number, (job, priority, work) in enumerate(steps):
        name = f"e{number}"
        known.add(name)
        broker.enqueue(an_evaluation(name, job=job, priority=priority, index=number), 0)
        delivery = broker.dequeue(0) if work else None
        if delivery is not None:
            key = delivery.evaluation.job_id
            assert key not in flying
            flying[key] = delivery
        elif flying:
            _, delivery = flying.popitem()
            ended |= {delivery.evaluation.id, *(e.id for e in broker.ack(delivery))}
    while flying or len(broker):
        delivery = broker.dequeue(0)
        if delivery is None:
            _, delivery = flying.popitem()
        ended |= {delivery.evaluation.id, *(e.id for e in broker.ack(delivery))}
    assert ended == known
