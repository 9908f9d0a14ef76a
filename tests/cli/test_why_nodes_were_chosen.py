"""What the scheduler looked at is shown whole: what ruled nodes out, and the scores of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rove.cli.explain import failed_groups, score_table

ALLOC_ID = "a1b2c3d4-0000-4000-8000-000000000001"
EVAL_ID = "e0e0aaaa-0000-4000-8000-000000000001"
BLOCKED_ID = "bb00aaaa-0000-4000-8000-000000000001"
NODE_ID = "beef0001-0000-4000-8000-000000000001"
OTHER_NODE_ID = "beef0002-0000-4000-8000-000000000002"
SCORES = [
    {"NodeID": NODE_ID, "NormScore": 0.5, "Scores": {"binpack": 0.5, "normalized-score": 0.5}},
    {"NodeID": OTHER_NODE_ID, "NormScore": -0.25, "Scores": {"binpack": 0.5, "job-anti-affinity": -1}},
]
METRIC = {
    "NodesEvaluated": 4, "ConstraintFiltered": {"${attr.kernel.name} = windows": 3}, "ClassFiltered": {"big": 1},
    "ScoreMetaData": SCORES,
}  # fmt: skip
TABLE = f"""\
Node                                  binpack  job-anti-affinity  Final Score
{NODE_ID}  0.5      -                  0.500
{OTHER_NODE_ID}  0.5      -1                 -0.250"""


def test_scores_are_a_table_with_whole_ids_and_a_column_for_each_scorer() -> None:
    assert score_table(METRIC) == TABLE
    assert score_table({}) == ""


def test_a_class_is_no_further_reason() -> None:
    assert failed_groups({"g": METRIC}) == [
        'Group "g": 1 allocation not placed',
        '  * class "big": 1 node filtered',
        '  * 3 nodes ruled out by constraint "${attr.kernel.name} = windows"',
    ]
    assert [line.strip() for line in failed_groups({"g": METRIC}, verbose=True)[3:]] == TABLE.splitlines()


def test_an_allocation_shows_what_ruled_nodes_out_and_the_scores(cluster: Any, rove: Any) -> None:
    alloc = cluster.routes[f"GET /v1/allocation/{ALLOC_ID}"]
    cluster.on(f"GET /v1/allocation/{ALLOC_ID}", {**alloc, "Metrics": METRIC})
    result = rove("alloc", "status", "-verbose", "a1b2c3d4")
    assert '* 3 nodes ruled out by constraint "${attr.kernel.name} = windows"' in result.out
    assert TABLE in result.out
    assert "ruled out" not in rove("alloc", "status", "a1b2c3d4").out


def test_an_evaluation_that_placed_everything_shows_the_scores_of_its_allocations(cluster: Any, rove: Any) -> None:
    alloc = cluster.routes[f"GET /v1/allocation/{ALLOC_ID}"]
    cluster.on(f"GET /v1/allocation/{ALLOC_ID}", {**alloc, "Metrics": METRIC})
    result = rove("eval", "status", "-verbose", "e0e0")
    assert all(line in result.out for line in TABLE.splitlines())
    assert "Scores" not in rove("eval", "status", "e0e0").out
    cluster.on(f"GET /v1/evaluation/{EVAL_ID}/allocations", [{**alloc, "Metrics": None}] * 12)
    assert "and 2 more" in rove("eval", "status", "-verbose", "e0e0").out


@pytest.mark.parametrize(
    ("blocked", "said"),
    [
        ({"Status": "blocked"}, "waits for room"),
        ({"Status": "canceled", "StatusDescription": "the job was stopped"}, "is canceled: the job was stopped"),
        ({"Status": "complete"}, "which waited for room to place the rest, is complete"),
        (None, "is no longer kept"),
    ],
)
@pytest.mark.parametrize("is_related", [True, False])
def test_an_evaluation_says_whether_the_rest_still_waits(
    blocked: dict[str, Any] | None, is_related: bool, said: str, cluster: Any, rove: Any
) -> None:
    found = cluster.routes[f"GET /v1/evaluation/{EVAL_ID}"]
    stub = {"ID": BLOCKED_ID, **blocked} if blocked else None
    related = [stub] if stub and is_related else []
    failing = {**found, "FailedTGAllocs": {"api": METRIC}, "BlockedEval": BLOCKED_ID, "RelatedEvals": related}
    cluster.on(f"GET /v1/evaluation/{EVAL_ID}", failing)
    if stub and not is_related:
        cluster.on(f"GET /v1/evaluation/{BLOCKED_ID}", stub)
    assert said in rove("eval", "status", "e0e0").out


def test_why_a_job_is_not_met_is_printed_as_json_and_through_a_template(cluster: Any, rove: Any) -> None:
    cluster.on("GET /v1/job/web/why", {"JobID": "web", "Why": "because"})
    assert json.loads(rove("job", "why", "-json", "web").out) == {"JobID": "web", "Why": "because"}
    assert rove("job", "why", "-t", "{{.Why}}!", "web").out == "because!\n"


def test_why_has_the_same_form_from_an_agent_that_does_not_explain_jobs(cluster: Any, rove: Any) -> None:
    found = json.loads(rove("job", "why", "-json", "web").out)
    assert found["JobID"] == "web"
    assert found["Why"] == " ".join(rove("job", "why", "web").out.split())
