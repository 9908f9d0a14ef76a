"""When a silent node counts as lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rove.server.nodes.core import Deadlines


def test_a_node_is_lost_when_its_time_is_up_and_only_once() -> None:
    deadlines = Deadlines()
    deadlines.extend("n", 10)
    assert deadlines.expired(9.9) == []
    assert deadlines.expired(10) == ["n"]
    assert deadlines.expired(20) == []


def test_a_sign_of_life_moves_the_deadline() -> None:
    deadlines = Deadlines()
    deadlines.extend("n", 10)
    deadlines.extend("n", 30)
    assert deadlines.expired(20) == []
    assert deadlines.expired(30) == ["n"]


def test_a_deadline_may_come_nearer() -> None:
    deadlines = Deadlines()
    deadlines.extend("n", 100)
    deadlines.extend("n", 10)
    assert deadlines.expired(10) == ["n"]


def test_a_forgotten_node_is_not_lost() -> None:
    deadlines = Deadlines()
    deadlines.extend("n", 10)
    deadlines.forget("n")
    assert deadlines.expired(50) == []
    assert "n" not in deadlines


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 50), st.booleans()), max_size=60))
def test_it_agrees_with_looking_at_every_node(steps: list[tuple[str, int, bool]]) -> None:
    deadlines, naive, now = Deadlines(), {}, 0
    for node, amount, advance in steps:
        if advance:
            now += amount
            lost = sorted(name for name, until in naive.items() if until <= now)
            assert sorted(deadlines.expired(now)) == lost
            for name in lost:
                del naive[name]
        else:
            deadlines.extend(node, now + amount)
            naive[node] = now + amount
