"""Paths, ids within them, and the route table itself."""

from __future__ import annotations

import pytest

from rove.api.router import Router
from rove.api.table import ROUTES
from rove.errors import BadRequestError

router = Router(ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "template", "ids"),
    [
        ("GET", "/v1/jobs", "/v1/jobs", {}),
        ("GET", "//v1//jobs", "/v1/jobs", {}),
        ("GET", "/v1/jobs/", "/v1/jobs", {}),
        ("GET", "/v1/job/web", "/v1/job/{job_id}", {"job_id": "web"}),
        ("GET", "/v1/job/web/allocations", "/v1/job/{job_id}/allocations", {"job_id": "web"}),
        ("GET", "/v1/job/a/dispatch-1-2", "/v1/job/{job_id}", {"job_id": "a/dispatch-1-2"}),
        ("GET", "/v1/job/a%2Fdispatch-1/summary", "/v1/job/{job_id}/summary", {"job_id": "a/dispatch-1"}),
        ("GET", "/v1/job/a/b/c/summary", "/v1/job/{job_id}/summary", {"job_id": "a/b/c"}),
        ("GET", "/v1/job/x%2Fplan", "/v1/job/{job_id}", {"job_id": "x/plan"}),
        ("PUT", "/v1/job/x/dispatch/payload", "/v1/job/{job_id}/dispatch/payload", {"job_id": "x"}),
        ("GET", "/v1/job/caf%C3%A9", "/v1/job/{job_id}", {"job_id": "café"}),
        ("GET", "/v1/job/a%00b%0Ac", "/v1/job/{job_id}", {"job_id": "a\0b\nc"}),
        ("GET", "/v1/job/..", "/v1/job/{job_id}", {"job_id": ".."}),
        ("POST", "/v1/deployment/pause/d1", "/v1/deployment/pause/{deployment_id}", {"deployment_id": "d1"}),
        ("GET", "/v1/deployment/allocations/d1", "/v1/deployment/allocations/{deployment_id}", {"deployment_id": "d1"}),
        ("GET", "/v1/deployment/d1", "/v1/deployment/{deployment_id}", {"deployment_id": "d1"}),
        ("GET", "/v1/node/pools", "/v1/node/pools", {}),
        ("GET", "/v1/node/pool/p", "/v1/node/pool/{name}", {"name": "p"}),
        ("GET", "/v1/node/n1", "/v1/node/{node_id}", {"node_id": "n1"}),
        ("GET", "/v1/evaluations/count", "/v1/evaluations/count", {}),
        ("GET", "/v1/client/fs/ls/a1", "/v1/client/fs/ls/{alloc_id}", {"alloc_id": "a1"}),
        ("GET", "/v1/client/allocation/a1/stats", "/v1/client/allocation/{alloc_id}/stats", {"alloc_id": "a1"}),
    ],
)
def test_a_path_finds_its_route_and_its_ids(method: str, path: str, template: str, ids: dict[str, str]) -> None:
    match = router.find(path)
    assert match is not None
    assert match.by_method[method].path == template
    assert dict(match.ids) == ids


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/nope", "/v2/jobs", "/v1/job/", "/v1/jobsx", "*", ""])
def test_an_unknown_path_finds_nothing(path: str) -> None:
    assert router.find(path) is None


def test_an_id_that_is_not_utf8_or_endless_is_refused() -> None:
    for path in ("/v1/job/%ff%fe", "/v1/job/" + "a" * 20_000):
        with pytest.raises(BadRequestError):
            router.find(path)


def test_every_route_has_a_summary_and_a_handler_with_a_docstring() -> None:
    for route in ROUTES:
        assert route.summary
        assert route.handler.__doc__, route.path
