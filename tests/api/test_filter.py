"""Filter expressions on lists."""

from __future__ import annotations

import pytest

from rove.api import filter as filter_module
from rove.api.filter import parse_filter
from rove.errors import BadRequestError
from rove.structs.job import Job, JobStatus, Service, Task, TaskGroup
from rove.structs.node import Node

JOB = Job(
    id="web",
    priority=70,
    status=JobStatus.RUNNING,
    datacenters=("dc1", "dc2"),
    meta={"team": "pay ments", "tier.name": "gold"},
    task_groups=(
        TaskGroup(name="api", count=3, tasks=(Task(name="app", driver="docker", services=(Service(name="s"),)),)),
        TaskGroup(name="db", count=1),
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        'ID == "web"',
        "ID == web",
        "ID == `web`",
        'ID != "db"',
        "Priority == 70",
        "Priority != 71",
        'Status == "running"',
        "Stop == false",
        "Stop != true",
        '"dc1" in Datacenters',
        "dc2 in Datacenters",
        '"dc3" not in Datacenters',
        'Datacenters contains "dc1"',
        'Datacenters not contains "dc3"',
        'Name contains ""',
        'ID contains "we"',
        "Meta is not empty",
        "Constraints is empty",
        "Payload is empty",
        'Meta.team == "pay ments"',
        'Meta["tier.name"] == gold',
        '"/Meta/team" == "pay ments"',
        '"/Meta/team" matches "^pay"',
        "team in Meta",
        'Meta.absent != "x"',
        "Meta.absent is empty",
        'ID matches "^w.b$"',
        'ID not matches "^x"',
        'not ID == "db"',
        "not not ID == web",
        "ID == db or Priority == 70",
        "(ID == db or ID == web) and Priority == 70",
        "ID == db and ID == web or Priority == 70",
        "any TaskGroups as g { g.Name == api }",
        "all TaskGroups as g { g.Count != 0 }",
        "any TaskGroups as g { any g.Tasks as t { t.Driver == docker and t.Services is not empty } }",
        "any TaskGroups as i, g { i == 1 and g.Name == db }",
        'any Meta as k, v { k == team and v contains "ments" }',
        "any Meta as k { k == team }",
        "TaskGroups.0.Name == api",
        f'Datacenters["{"9" * 5000}"] is empty',
        "Datacenters.0 == dc1",
        "all Affinities as a { a.Weight == 9 }",
    ],
)
def test_an_expression_that_is_true_of_a_job_keeps_it(text: str) -> None:
    assert parse_filter(text)(JOB) is True


@pytest.mark.parametrize(
    "text",
    [
        'ID == "db"',
        "Priority == 71",
        "Stop == true",
        '"dc3" in Datacenters',
        "Meta is empty",
        'Meta.absent == ""',
        'ID matches "^b"',
        "ID == web and Priority == 1",
        "not (ID == web or ID == db)",
        "any TaskGroups as g { g.Name == nope }",
        "any Affinities as a { a.Weight == 9 }",
        "all TaskGroups as g { g.Count == 3 }",
    ],
)
def test_an_expression_that_is_false_of_a_job_drops_it(text: str) -> None:
    assert parse_filter(text)(JOB) is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ID",
        "ID ==",
        "ID = web",
        "== web",
        "ID == web and",
        "(ID == web",
        "ID == web)",
        "not",
        "ID is",
        "ID is not",
        'ID matches "("',
        'ID == "unended',
        "any TaskGroups { Name == x }",
        "any TaskGroups as g { g.Name == x",
        "ID == web ; drop",
        "ID.[0] == 1",
        "\x00",
        "ID == web" * 2000,
        "(" * 100 + "ID == web" + ")" * 100,
        "not " * 1000 + "ID == web",
        " and ".join(["ID == web"] * 600),
        'ID matches "' + "a" * 5000 + '"',
    ],
)
def test_a_bad_expression_is_refused_with_the_words_clients_look_for(text: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse_filter(text)
    assert "failed to create result paginator" in caught.value.text()


@pytest.mark.parametrize(
    "text",
    [
        "Nope == 1",
        "ID.x == 1",
        "Priority is empty",
        "Priority contains 7",
        "Priority == x",
        "Stop == maybe",
        'Datacenters["²"] is empty',
    ],
)
def test_a_field_that_does_not_fit_is_refused_when_it_is_met(text: str) -> None:
    with pytest.raises(BadRequestError):
        parse_filter(text)(JOB)


def test_a_pattern_that_makes_backtracking_matchers_hang_is_answered_at_once() -> None:
    node = Node(id="a" * 5000 + "!")
    assert parse_filter('ID matches "^(a+)+$"')(node) is False


def nested(depth: int) -> str:
    return "any Datacenters as a { " * depth + "a == none" + " }" * depth


def test_quantifiers_inside_one_another_are_limited() -> None:
    assert parse_filter(nested(4))(JOB) is False
    assert parse_filter(" or ".join([nested(4)] * 3))(JOB) is False
    with pytest.raises(BadRequestError, match="inside one another"):
        parse_filter(nested(5))


def test_the_work_of_a_filter_is_limited_over_all_items_and_anew_for_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filter_module, "MAX_WORK", 100)
    wanted = parse_filter(nested(4))  # two datacenters: 2 + 4 + 8 + 16 comparisons a job
    for _ in range(3):
        assert wanted(JOB) is False
    with pytest.raises(BadRequestError, match="more than 100 comparisons"):
        wanted(JOB)
    assert parse_filter(nested(4))(JOB) is False


def test_every_comparison_inside_a_quantifier_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_module, "MAX_WORK", 100)
    with pytest.raises(BadRequestError, match="comparisons"):
        parse_filter("all Datacenters as a { " + " and ".join(["a != none"] * 60) + " }")(JOB)
