"""Every job of the corpus, sent again in each form it can be had in, is the same job to the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rove.api import Backend
from rove.jobspec import job_to_hcl

CORPUS = sorted((Path(__file__).parent.parent / "corpus/jobs").glob("*.hcl"))


async def parsed(http: Any, text: str) -> dict[str, Any]:
    response = await http.put("/v1/jobs/parse", json={"JobHCL": text})
    assert response.status == 200, await response.text()
    found: dict[str, Any] = await response.json()
    return found


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name.removesuffix(".nomad.hcl"))
async def test_sent_again_in_any_form_it_is_no_new_version(file: Path, serve: Any, server: Any, http: Any) -> None:
    text = file.read_text()
    job = await parsed(http, text)
    if region := job.get("Region"):
        http = await serve(Backend(server=server, region=region))
    namespace = job.get("Namespace") or "default"
    if namespace != "default":
        assert (await http.put("/v1/namespace", json={"Name": namespace})).status == 200
    if pool := job.get("NodePool"):
        assert (await http.put("/v1/node/pools", json={"Name": pool})).status == 200
    answer = await http.put("/v1/jobs", json={"Job": job, "Submission": {"Source": text, "Format": "hcl2"}})
    assert answer.status == 200, await answer.text()
    where = f"/v1/job/{job['ID']}"
    params = {"namespace": namespace}
    stored = await (await http.get(where, params=params)).json()
    submission = await (await http.get(f"{where}/submission", params={"version": "0", **params})).json()
    forms = {
        "the file": job,
        "inspect -json": stored,
        "inspect -hcl": await parsed(http, submission["Source"]),
        "printed": await parsed(http, job_to_hcl(stored)),
    }
    for name, form in forms.items():
        plan = await (await http.put(f"{where}/plan", json={"Job": form, "Diff": True}, params=params)).json()
        assert plan["Diff"]["Type"] == "None", (name, plan["Diff"])
        updates = (plan["Annotations"]["DesiredTGUpdates"] or {}).values()
        assert not any(each["DestructiveUpdate"] or each["InPlaceUpdate"] for each in updates), name
        assert (await http.put("/v1/jobs", json={"Job": form}, params=params)).status == 200
        after = await (await http.get(where, params=params)).json()
        assert after["Version"] == stored["Version"], name
    versions = await (await http.get(f"{where}/versions", params={"diffs": "true", **params})).json()
    assert [each["Version"] for each in versions["Versions"]] == [0]
