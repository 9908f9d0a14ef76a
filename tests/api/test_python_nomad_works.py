"""python-nomad, a client that is not ours, against a running API."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

nomad = pytest.importorskip("nomad")


async def test_python_nomad_registers_reads_plans_stops_and_purges(http: Any, job: Any) -> None:
    client = nomad.Nomad(host=http.host, port=http.port, timeout=20)

    def use() -> None:
        said = client.job.register_job("web", {"Job": job()})
        assert said["EvalID"]
        assert client.job.get_job("web")["ID"] == "web"
        assert [stub["ID"] for stub in client.jobs.get_jobs()] == ["web"]
        assert "web" in client.jobs
        assert "none" not in client.jobs
        assert client.job.get_evaluations("web")
        assert client.job.get_allocations("web") == []
        assert client.job.get_summary("web")["JobID"] == "web"
        assert client.job.get_versions("web")["Versions"][0]["Version"] == 0
        assert client.evaluation.get_evaluation(said["EvalID"])["JobID"] == "web"
        assert client.job.plan_job("web", {"Job": job(Priority=60)}, diff=True)["Diff"]["Type"] == "Edited"
        assert client.validate.validate_job({"Job": job()}).status_code == 200
        assert client.job.evaluate_job("web")["EvalID"]
        assert client.nodes.get_nodes() == []
        assert client.regions.get_regions() == ["global"]
        assert client.status.leader.get_leader()
        assert client.agent.get_agent()["config"]
        assert client.namespaces.get_namespaces()[0]["Name"] == "default"
        assert client.search.search("we", "jobs")["Matches"]["jobs"] == ["web"]
        assert client.scaling.get_scaling_policies() == []
        client.system.initiate_garbage_collection()
        client.job.deregister_job("web")
        assert client.job.get_job("web")["Stop"] is True
        client.job.deregister_job("web", purge=True)
        with pytest.raises(nomad.api.exceptions.URLNotFoundNomadException):
            client.job.get_job("web")

    await asyncio.to_thread(use)
