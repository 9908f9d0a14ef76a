"""The API's resources, written once for both clients.

`R` is what a call gives: the value itself in `Client`, an awaitable of it in `AsyncClient`. `S` is what
a stream gives: an iterator of bytes, or an asynchronous one. Values are decoded JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack

from rove.sdk.request import Options, Request, request

R = TypeVar("R")
S = TypeVar("S")
Json = dict[str, Any]


class Resource(Generic[R, S]):
    """One group of calls."""

    def __init__(self, value: Callable[[Request], R], stream: Callable[[Request], S]) -> None:
        self._value = value
        self._stream = stream

    def _get(self, *segments: str, options: Options | None = None, **params: Any) -> R:
        return self._value(request("GET", *segments, options=options, params=params))

    def _put(self, *segments: str, body: Any = None, **params: Any) -> R:
        return self._value(request("PUT", *segments, params=params, body=body))

    def _delete(self, *segments: str, body: Any = None, **params: Any) -> R:
        return self._value(request("DELETE", *segments, params=params, body=body))


class Jobs(Resource[R, S]):
    """Jobs: what should run."""

    def list(self, *, meta: bool = False, **options: Unpack[Options]) -> R:
        """The jobs, short form."""
        return self._get("jobs", options=options, meta=meta)

    def register(
        self,
        job: Json,
        *,
        submission: Json | None = None,
        check_index: int | None = None,
        preserve_counts: bool = False,
        preserve_resources: bool = False,
        policy_override: bool = False,
        eval_priority: int = 0,
    ) -> R:
        """Register or change a job.

        check_index: refuse unless the job's modify index is this, 0 = the job must not exist.
        """
        body: Json = {"Job": job, "PreserveCounts": preserve_counts, "PreserveResources": preserve_resources}
        body |= {"PolicyOverride": policy_override, "EvalPriority": eval_priority}
        if submission is not None:
            body["Submission"] = submission
        if check_index is not None:
            body |= {"EnforceIndex": True, "JobModifyIndex": check_index}
        return self._put("jobs", body=body, **_place(job))

    def parse(self, source: str, *, variables: str = "", canonicalize: bool = False) -> R:
        """Let the server turn a job file into a job."""
        return self._put("jobs", "parse", body={"JobHCL": source, "Variables": variables, "Canonicalize": canonicalize})

    def validate(self, job: Json) -> R:
        """Check a job without registering it."""
        return self._put("validate", "job", body={"Job": job}, **_place(job))

    def plan(self, job: Json, *, diff: bool = True, policy_override: bool = False) -> R:
        """What registering the job would do."""
        body = {"Job": job, "Diff": diff, "PolicyOverride": policy_override}
        return self._put("job", str(job.get("ID", "")), "plan", body=body, **_place(job))

    def why(self, job_id: str, **options: Unpack[Options]) -> R:
        """Why a job is not as it was asked for: a paragraph in ``Why``. Rove's own."""
        return self._get("job", job_id, "why", options=options)

    def read(self, job_id: str, **options: Unpack[Options]) -> R:
        """One job, whole."""
        return self._get("job", job_id, options=options)

    def stop(
        self,
        job_id: str,
        *,
        purge: bool = False,
        everywhere: bool = False,
        no_shutdown_delay: bool = False,
        eval_priority: int = 0,
        namespace: str = "",
    ) -> R:
        """Stop a job; purge: forget it at once. everywhere: in every region."""
        params: Json = {"purge": "true" if purge else "false", "global": everywhere}
        params |= {"no_shutdown_delay": no_shutdown_delay, "eval_priority": eval_priority or None}
        return self._delete("job", job_id, namespace=namespace, **params)

    def evaluate(self, job_id: str, *, force_reschedule: bool = False, namespace: str = "") -> R:
        """Have the job looked at again."""
        body = {"JobID": job_id, "EvalOptions": {"ForceReschedule": force_reschedule}}
        return self._put("job", job_id, "evaluate", body=body, namespace=namespace)

    def allocations(self, job_id: str, *, every: bool = False, **options: Unpack[Options]) -> R:
        """Its allocations, short form. every: those of earlier jobs of that name too."""
        return self._get("job", job_id, "allocations", options=options, all=every)

    def evaluations(self, job_id: str, **options: Unpack[Options]) -> R:
        """Its evaluations."""
        return self._get("job", job_id, "evaluations", options=options)

    def deployments(self, job_id: str, *, every: bool = False, **options: Unpack[Options]) -> R:
        """Its deployments."""
        return self._get("job", job_id, "deployments", options=options, all=every)

    def deployment(self, job_id: str, **options: Unpack[Options]) -> R:
        """Its latest deployment, or None."""
        return self._get("job", job_id, "deployment", options=options)

    def summary(self, job_id: str, **options: Unpack[Options]) -> R:
        """Counts of its allocations by group and state."""
        return self._get("job", job_id, "summary", options=options)

    def versions(
        self, job_id: str, *, diffs: bool = False, diff_version: int | None = None, diff_tag: str = "",
        **options: Unpack[Options],
    ) -> R:  # fmt: skip
        """Its versions, newest first, with differences if asked for."""
        return self._get(
            "job",
            job_id,
            "versions",
            options=options,
            diffs=diffs,
            diff_version=diff_version,
            diff_tag=diff_tag,
        )

    def submission(self, job_id: str, version: int, **options: Unpack[Options]) -> R:
        """The source text that a version was made of."""
        return self._get("job", job_id, "submission", options=options, version=version)

    def revert(self, job_id: str, version: int, *, expected_version: int | None = None, namespace: str = "") -> R:
        """Register an earlier version again as a new one."""
        body = {"JobID": job_id, "JobVersion": version, "EnforcePriorVersion": expected_version}
        return self._put("job", job_id, "revert", body=body, namespace=namespace)

    def mark_stable(self, job_id: str, version: int, *, stable: bool = True, namespace: str = "") -> R:
        """Say whether a version is one to go back to."""
        body = {"JobID": job_id, "JobVersion": version, "Stable": stable}
        return self._put("job", job_id, "stable", body=body, namespace=namespace)

    def tag(
        self,
        job_id: str,
        name: str,
        *,
        version: int | None = None,
        description: str = "",
        namespace: str = "",
    ) -> R:
        """Name a version, the latest unless one is given; named versions are kept."""
        body: Json = {"Name": name, "Description": description}
        body |= {"Latest": True} if version is None else {"Version": version}
        return self._put("job", job_id, "versions", name, "tag", body=body, namespace=namespace)

    def untag(self, job_id: str, name: str, *, namespace: str = "") -> R:
        """Take a version's name away."""
        return self._delete("job", job_id, "versions", name, "tag", namespace=namespace)

    def dispatch(
        self, job_id: str, *, payload: bytes = b"", meta: Mapping[str, str] | None = None,
        id_prefix: str = "", priority: int = 0, idempotency_token: str = "", namespace: str = "",
    ) -> R:  # fmt: skip
        """Start one run of a parameterized job."""
        from base64 import b64encode

        body: Json = {"JobID": job_id, "Meta": dict(meta or {}), "IdPrefixTemplate": id_prefix}
        body |= {"Payload": b64encode(payload).decode() if payload else None, "Priority": priority}
        return self._put("job", job_id, "dispatch", body=body, namespace=namespace, idempotency_token=idempotency_token)

    def force_periodic(self, job_id: str, *, namespace: str = "") -> R:
        """Launch a periodic job now."""
        return self._put("job", job_id, "periodic", "force", namespace=namespace)

    def scale(
        self, job_id: str, group: str, count: int | None, *, message: str = "", error: bool = False,
        check_index: int | None = None, meta: Json | None = None, namespace: str = "",
    ) -> R:  # fmt: skip
        """Change a group's count, or with count None only record a scaling event."""
        body: Json = {
            "Target": {"Group": group, "Job": job_id},
            "Count": count,
            "Message": message,
            "Error": error,
        }
        if meta:
            body["Meta"] = meta
        if check_index is not None:
            body |= {"EnforceIndex": True, "JobModifyIndex": check_index}
        return self._put("job", job_id, "scale", body=body, namespace=namespace)

    def scale_status(self, job_id: str, **options: Unpack[Options]) -> R:
        """Counts and scaling events by group."""
        return self._get("job", job_id, "scale", options=options)

    def statuses(self, **options: Unpack[Options]) -> R:
        """Jobs with their allocations in brief, as the web page reads them."""
        return self._get("jobs", "statuses", options=options)

    def services(self, job_id: str, **options: Unpack[Options]) -> R:
        """The service instances the job has registered."""
        return self._get("job", job_id, "services", options=options)

    def actions(self, job_id: str, **options: Unpack[Options]) -> R:
        """The actions its tasks offer."""
        return self._get("job", job_id, "actions", options=options)


class Allocations(Resource[R, S]):
    """Allocations: copies of a group on nodes."""

    def list(self, *, resources: bool = False, **options: Unpack[Options]) -> R:
        """The allocations, short form."""
        return self._get("allocations", options=options, resources=resources)

    def read(self, alloc_id: str, **options: Unpack[Options]) -> R:
        """One allocation with its job. The id must be whole."""
        return self._get("allocation", alloc_id, options=options)

    def stop(self, alloc_id: str, *, no_shutdown_delay: bool = False, namespace: str = "") -> R:
        """Stop it; the scheduler places another where the job still asks for one."""
        return self._put("allocation", alloc_id, "stop", no_shutdown_delay=no_shutdown_delay, namespace=namespace)

    def restart(self, alloc_id: str, *, task: str = "", every_task: bool = False, namespace: str = "") -> R:
        """Restart one task, the running ones, or with every_task all of them."""
        body: Json = {"TaskName": task, "AllTasks": every_task}
        return self._put("client", "allocation", alloc_id, "restart", body=body, namespace=namespace)

    def signal(self, alloc_id: str, signal: str, *, task: str = "", namespace: str = "") -> R:
        """Send a signal to one task or all."""
        body = {"Task": task, "Signal": signal}
        return self._put("client", "allocation", alloc_id, "signal", body=body, namespace=namespace)

    def stats(self, alloc_id: str, *, task: str = "", **options: Unpack[Options]) -> R:
        """What it uses now."""
        return self._get("client", "allocation", alloc_id, "stats", options=options, task=task)

    def checks(self, alloc_id: str, **options: Unpack[Options]) -> R:
        """The latest results of its checks."""
        return self._get("client", "allocation", alloc_id, "checks", options=options)

    def services(self, alloc_id: str, **options: Unpack[Options]) -> R:
        """The services it has registered."""
        return self._get("allocation", alloc_id, "services", options=options)

    def gc(self, alloc_id: str) -> R:
        """Remove a finished allocation's files from its node."""
        return self._put("client", "allocation", alloc_id, "gc")

    def ls(self, alloc_id: str, path: str = "/", *, namespace: str = "") -> R:
        """The files in a folder of the allocation."""
        return self._get("client", "fs", "ls", alloc_id, path=path, namespace=namespace)

    def stat(self, alloc_id: str, path: str = "/", *, namespace: str = "") -> R:
        """One file's size, mode and time."""
        return self._get("client", "fs", "stat", alloc_id, path=path, namespace=namespace)

    def cat(self, alloc_id: str, path: str, *, namespace: str = "") -> S:
        """A file's bytes."""
        return self._bytes("cat", alloc_id, path=path, namespace=namespace)

    def read_at(self, alloc_id: str, path: str, offset: int, limit: int, *, namespace: str = "") -> S:
        """Part of a file."""
        return self._bytes("readat", alloc_id, path=path, offset=offset, limit=limit, namespace=namespace)

    def follow(self, alloc_id: str, path: str, *, offset: int = 0, origin: str = "start", namespace: str = "") -> S:
        """A file's frames as it grows (`rove.sdk.frames` reads them)."""
        return self._bytes(
            "stream", alloc_id, path=path, offset=offset, origin=origin, follow="true", namespace=namespace
        )

    def logs(
        self, alloc_id: str, task: str, *, kind: str = "stdout", follow: bool = False, offset: int = 0,
        origin: str = "start", plain: bool = False, namespace: str = "",
    ) -> S:  # fmt: skip
        """A task's output. plain: raw bytes, else frames. origin "end" counts offset back from the end."""
        params: Json = {"task": task, "type": kind, "follow": "true" if follow else "false", "origin": origin}
        params |= {"offset": offset, "plain": plain, "namespace": namespace}
        return self._bytes("logs", alloc_id, **params)

    def _bytes(self, verb: str, alloc_id: str, **params: Any) -> S:
        return self._stream(request("GET", "client", "fs", verb, alloc_id, params=params, decode="bytes"))


class Evaluations(Resource[R, S]):
    """Evaluations: the scheduler's looks at jobs."""

    def list(self, *, job: str = "", status: str = "", **options: Unpack[Options]) -> R:
        """The evaluations."""
        return self._get("evaluations", options=options, job=job, status=status)

    def read(self, eval_id: str, *, related: bool = False, **options: Unpack[Options]) -> R:
        """One evaluation, with those it is linked to if asked for."""
        return self._get("evaluation", eval_id, options=options, related=related)

    def allocations(self, eval_id: str, **options: Unpack[Options]) -> R:
        """The allocations it made or changed."""
        return self._get("evaluation", eval_id, "allocations", options=options)

    def delete(self, eval_ids: Sequence[str] = (), *, filter_text: str = "") -> R:
        """Delete evaluations by id or by filter."""
        return self._delete("evaluations", body={"EvalIDs": [*eval_ids], "Filter": filter_text})


class Deployments(Resource[R, S]):
    """Deployments: roll-outs of job versions."""

    def list(self, **options: Unpack[Options]) -> R:
        """The deployments."""
        return self._get("deployments", options=options)

    def read(self, deployment_id: str, **options: Unpack[Options]) -> R:
        """One deployment."""
        return self._get("deployment", deployment_id, options=options)

    def allocations(self, deployment_id: str, **options: Unpack[Options]) -> R:
        """The allocations that belong to it."""
        return self._get("deployment", "allocations", deployment_id, options=options)

    def why(self, deployment_id: str, **options: Unpack[Options]) -> R:
        """What it waits for, and until when (Rove's own)."""
        return self._get("deployment", deployment_id, "why", options=options)

    def promote(self, deployment_id: str, *, groups: Sequence[str] = (), namespace: str = "") -> R:
        """Let the canaries of some groups, or of all, take over."""
        body = {"DeploymentID": deployment_id, "All": not groups, "Groups": [*groups]}
        return self._put("deployment", "promote", deployment_id, body=body, namespace=namespace)

    def fail(self, deployment_id: str, *, namespace: str = "") -> R:
        """End it as failed."""
        return self._put("deployment", "fail", deployment_id, body={}, namespace=namespace)

    def pause(self, deployment_id: str, *, paused: bool = True, namespace: str = "") -> R:
        """Hold it, or with paused=False let it go on."""
        body = {"DeploymentID": deployment_id, "Pause": paused}
        return self._put("deployment", "pause", deployment_id, body=body, namespace=namespace)

    def unblock(self, deployment_id: str, *, namespace: str = "") -> R:
        """Stop waiting for other regions."""
        body = {"DeploymentID": deployment_id}
        return self._put("deployment", "unblock", deployment_id, body=body, namespace=namespace)

    def set_health(
        self,
        deployment_id: str,
        *,
        healthy: Sequence[str] = (),
        unhealthy: Sequence[str] = (),
        namespace: str = "",
    ) -> R:
        """Say by hand which allocations are healthy."""
        body = {"DeploymentID": deployment_id, "HealthyAllocationIDs": [*healthy]}
        body["UnhealthyAllocationIDs"] = [*unhealthy]
        return self._put("deployment", "allocation-health", deployment_id, body=body, namespace=namespace)


class Nodes(Resource[R, S]):
    """Nodes: machines that run allocations."""

    def list(self, *, resources: bool = False, os: bool = False, **options: Unpack[Options]) -> R:
        """The nodes, short form."""
        return self._get("nodes", options=options, resources=resources, os=os)

    def read(self, node_id: str, **options: Unpack[Options]) -> R:
        """One node, whole."""
        return self._get("node", node_id, options=options)

    def allocations(self, node_id: str, **options: Unpack[Options]) -> R:
        """Its allocations, whole."""
        return self._get("node", node_id, "allocations", options=options)

    def evaluate(self, node_id: str) -> R:
        """Have every job on it looked at again."""
        return self._put("node", node_id, "evaluate")

    def drain(
        self, node_id: str, *, deadline_ns: int | None, ignore_system: bool = False,
        mark_eligible: bool = False, meta: Mapping[str, str] | None = None,
    ) -> R:  # fmt: skip
        """Move its allocations away. deadline_ns: -1 = now, 0 = none, None = end the drain."""
        spec = None if deadline_ns is None else {"Deadline": deadline_ns, "IgnoreSystemJobs": ignore_system}
        body = {"NodeID": node_id, "DrainSpec": spec, "MarkEligible": mark_eligible, "Meta": dict(meta or {})}
        return self._put("node", node_id, "drain", body=body)

    def eligibility(self, node_id: str, *, eligible: bool) -> R:
        """Say whether it may be given new allocations."""
        body = {"NodeID": node_id, "Eligibility": "eligible" if eligible else "ineligible"}
        return self._put("node", node_id, "eligibility", body=body)

    def purge(self, node_id: str) -> R:
        """Forget it."""
        return self._put("node", node_id, "purge")

    def stats(self, node_id: str = "") -> R:
        """What the machine uses now."""
        return self._get("client", "stats", node_id=node_id)

    def gc(self, node_id: str = "") -> R:
        """Remove the files of its finished allocations."""
        return self._get("client", "gc", node_id=node_id)

    def meta(self, node_id: str = "") -> R:
        """Its meta: static, changed at run time, and both together."""
        return self._get("client", "metadata", node_id=node_id)

    def set_meta(self, meta: Mapping[str, str | None], *, node_id: str = "") -> R:
        """Change its meta at run time; None takes a key away."""
        return self._put("client", "metadata", body={"NodeID": node_id, "Meta": dict(meta)}, node_id=node_id)


class Pools(Resource[R, S]):
    """Node pools: named sets of nodes."""

    def list(self, **options: Unpack[Options]) -> R:
        """The pools."""
        return self._get("node", "pools", options=options)

    def read(self, name: str) -> R:
        """One pool."""
        return self._get("node", "pool", name)

    def apply(self, pool: Json) -> R:
        """Make or change a pool."""
        return self._put("node", "pools", body=pool)

    def delete(self, name: str) -> R:
        """Remove an empty pool."""
        return self._delete("node", "pool", name)

    def nodes(self, name: str, **options: Unpack[Options]) -> R:
        """The nodes in it."""
        return self._get("node", "pool", name, "nodes", options=options)

    def jobs(self, name: str, **options: Unpack[Options]) -> R:
        """The jobs that ask for it."""
        return self._get("node", "pool", name, "jobs", options=options)


class Scaling(Resource[R, S]):
    """The scaling policies that jobs carry, for autoscalers."""

    def list(self, *, job_id: str = "", kind: str = "", **options: Unpack[Options]) -> R:
        """The policies, short form. job_id, kind: only those."""
        return self._get("scaling", "policies", options=options, job=job_id, type=kind)

    def read(self, policy_id: str, **options: Unpack[Options]) -> R:
        """One policy."""
        return self._get("scaling", "policy", policy_id, options=options)


class Agent(Resource[R, S]):
    """The agent at the address, and its cluster."""

    def self(self) -> R:
        """Its configuration, member entry and figures."""
        return self._get("agent", "self")

    def members(self) -> R:
        """The servers it knows."""
        return self._get("agent", "members")

    def servers(self) -> R:
        """The servers its node talks to."""
        return self._get("agent", "servers")

    def set_servers(self, addresses: Sequence[str]) -> R:
        """Change the servers its node talks to."""
        return self._value(request("PUT", "agent", "servers", params={"address": [*addresses]}, decode="none"))

    def health(self) -> R:
        """Whether its server and client parts are well."""
        return self._get("agent", "health")

    def join(self, addresses: Sequence[str]) -> R:
        """Join other servers."""
        return self._put("agent", "join", address=[*addresses])

    def force_leave(self, name: str, *, prune: bool = False) -> R:
        """Take a failed server out."""
        params = {"node": name, "prune": prune}
        return self._value(request("PUT", "agent", "force-leave", params=params, decode="none"))

    def reload(self) -> R:
        """Read the configuration again."""
        return self._put("agent", "reload")

    def monitor(self, *, log_level: str = "info", log_json: bool = False, node_id: str = "", server_id: str = "") -> S:
        """Its log as frames, as it is written."""
        params = {"log_level": log_level, "log_json": log_json, "node_id": node_id, "server_id": server_id}
        return self._stream(request("GET", "agent", "monitor", params=params, decode="bytes"))

    def metrics(self, *, prometheus: bool = False) -> R:
        """Its metrics, as JSON or as Prometheus text."""
        params = {"format": "prometheus"} if prometheus else {}
        return self._value(request("GET", "metrics", params=params, decode="text" if prometheus else "json"))

    def leader(self, *, region: str = "") -> R:
        """The leader's address, "" when there is none."""
        return self._get("status", "leader", region=region)

    def peers(self, *, region: str = "") -> R:
        """The servers' addresses."""
        return self._get("status", "peers", region=region)

    def regions(self) -> R:
        """The regions known."""
        return self._get("regions")


class Search(Resource[R, S]):
    """Search over everything that has an id or a name."""

    def prefix(self, prefix: str, *, context: str = "all", namespace: str = "") -> R:
        """Ids that begin with the prefix, by kind."""
        return self._put("search", body={"Prefix": prefix, "Context": context}, namespace=namespace)

    def fuzzy(self, text: str, *, context: str = "all", namespace: str = "") -> R:
        """Names that contain the text, by kind."""
        return self._put("search", "fuzzy", body={"Text": text, "Context": context}, namespace=namespace)


class Variables(Resource[R, S]):
    """Variables: small secrets and settings, kept encrypted."""

    def list(self, **options: Unpack[Options]) -> R:
        """Paths and times, never items."""
        return self._get("vars", options=options)

    def read(self, path: str, **options: Unpack[Options]) -> R:
        """One variable with its items."""
        return self._get("var", *path.split("/"), options=options)

    def put(self, path: str, items: Mapping[str, str], *, check_index: int | None = None, namespace: str = "") -> R:
        """Write a variable. check_index: refuse unless its modify index is this, 0 = must not exist."""
        body: Json = {"Path": path, "Items": dict(items)}
        if namespace:
            body["Namespace"] = namespace
        return self._put("var", *path.split("/"), body=body, cas=check_index, namespace=namespace)

    def delete(self, path: str, *, check_index: int | None = None, namespace: str = "") -> R:
        """Remove a variable."""
        return self._delete("var", *path.split("/"), cas=check_index, namespace=namespace)


class Services(Resource[R, S]):
    """Services that allocations have registered."""

    def list(self, **options: Unpack[Options]) -> R:
        """Names and tags by namespace."""
        return self._get("services", options=options)

    def read(self, name: str, *, choose: str = "", **options: Unpack[Options]) -> R:
        """The instances of a service."""
        return self._get("service", name, options=options, choose=choose)

    def delete(self, name: str, instance_id: str, *, namespace: str = "") -> R:
        """Remove one instance."""
        return self._delete("service", name, instance_id, namespace=namespace)


class Namespaces(Resource[R, S]):
    """Namespaces: names that keep jobs apart."""

    def list(self, **options: Unpack[Options]) -> R:
        """The namespaces."""
        return self._get("namespaces", options=options)

    def read(self, name: str) -> R:
        """One namespace."""
        return self._get("namespace", name)

    def apply(self, namespace: Json) -> R:
        """Make or change a namespace."""
        return self._value(request("PUT", "namespace", body=namespace, decode="none"))

    def delete(self, name: str) -> R:
        """Remove an empty namespace."""
        return self._value(request("DELETE", "namespace", name, decode="none"))


class Operator(Resource[R, S]):
    """Settings of the cluster."""

    def scheduler(self) -> R:
        """How the scheduler is set."""
        return self._get("operator", "scheduler", "configuration")

    def set_scheduler(self, config: Json, *, check_index: int | None = None) -> R:
        """Set the scheduler."""
        return self._put("operator", "scheduler", "configuration", body=config, cas=check_index)

    def autopilot_health(self) -> R:
        """Whether the servers are well."""
        return self._get("operator", "autopilot", "health")

    def raft_configuration(self) -> R:
        """The servers and who leads."""
        return self._get("operator", "raft", "configuration")

    def snapshot(self) -> S:
        """The whole state as bytes."""
        return self._stream(request("GET", "operator", "snapshot", decode="bytes"))

    def gc(self) -> R:
        """Forget everything that is finished."""
        return self._value(request("PUT", "system", "gc", decode="none"))

    def reconcile_summaries(self) -> R:
        """Count the jobs' allocations anew."""
        return self._value(request("PUT", "system", "reconcile", "summaries", decode="none"))


class Events(Resource[R, S]):
    """The event stream."""

    def stream(self, *topics: str, index: int = 0, namespace: str = "") -> S:
        """Events as they happen, frames of JSON. topics: ``Job``, ``Job:web``, ``*``."""
        params = {"topic": [*topics], "index": index or None, "namespace": namespace}
        return self._stream(request("GET", "event", "stream", params=params, decode="bytes"))


class Resources(Generic[R, S]):
    """All resources of a client."""

    def __init__(self, value: Callable[[Request], R], stream: Callable[[Request], S]) -> None:
        self.jobs: Jobs[R, S] = Jobs(value, stream)
        self.allocations: Allocations[R, S] = Allocations(value, stream)
        self.evaluations: Evaluations[R, S] = Evaluations(value, stream)
        self.deployments: Deployments[R, S] = Deployments(value, stream)
        self.nodes: Nodes[R, S] = Nodes(value, stream)
        self.pools: Pools[R, S] = Pools(value, stream)
        self.scaling: Scaling[R, S] = Scaling(value, stream)
        self.agent: Agent[R, S] = Agent(value, stream)
        self.search: Search[R, S] = Search(value, stream)
        self.variables: Variables[R, S] = Variables(value, stream)
        self.services: Services[R, S] = Services(value, stream)
        self.namespaces: Namespaces[R, S] = Namespaces(value, stream)
        self.operator: Operator[R, S] = Operator(value, stream)
        self.events: Events[R, S] = Events(value, stream)


def _place(job: Json) -> Json:
    """The region and namespace a job names, as query parameters. "global" leaves the region to the agent."""
    region = job.get("Region") or ""
    return {"region": "" if region == "global" else region, "namespace": job.get("Namespace") or ""}
