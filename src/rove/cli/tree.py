"""The table of commands: noun, verb, where the code is, one line of help."""

from __future__ import annotations

from rove.cli.command import Noun, Verb

JOB = Noun(
    "Work with jobs: what should run.",
    {
        "run": Verb("job_run:run", "Submit a job file and follow it until it runs"),
        "plan": Verb("job_plan:plan", "Show what submitting a job file would change"),
        "validate": Verb("job_validate:validate", "Check a job file"),
        "init": Verb("job_init:init", "Write an example job file"),
        "status": Verb("job:status", "List jobs, or show one"),
        "stop": Verb("job:stop", "Stop a job"),
        "start": Verb("job_versions:start", "Start a stopped job again"),
        "inspect": Verb("job_versions:inspect", "Print a job as it is registered"),
        "history": Verb("job_versions:history", "Show a job's versions"),
        "revert": Verb("job_versions:revert", "Go back to an earlier version"),
        "promote": Verb("job_deploy:promote", "Let a job's canaries take over"),
        "tag": Noun(
            "Name versions of a job.",
            {
                "apply": Verb("job_versions:tag_apply", "Name a version"),
                "unset": Verb("job_versions:tag_unset", "Take a version's name away"),
            },
        ),
        "allocs": Verb("job:allocs", "List a job's allocations"),
        "deployments": Verb("job_deploy:deployments", "List a job's deployments"),
        "eval": Verb("job:evaluate", "Have a job looked at again"),
        "why": Verb("job_why:why", "Say in a paragraph why a job's count is not met"),
        "dispatch": Verb("job_launch:dispatch", "Start a run of a parameterized job"),
        "periodic": Noun("Work with periodic jobs.", {"force": Verb("job_launch:force", "Launch a periodic job now")}),
        "scale": Verb("job_launch:scale", "Change the count of a group"),
        "scaling-events": Verb("job_launch:scaling_events", "List a job's scaling events"),
        "restart": Verb("job_launch:restart", "Restart a job's allocations one batch after another"),
    },
)
ALLOC = Noun(
    "Work with allocations: copies of a group on nodes.",
    {
        "status": Verb("alloc:status", "Show an allocation"),
        "logs": Verb("alloc_files:logs", "Print a task's output"),
        "exec": Verb("alloc_exec:exec_", "Run a command inside a task"),
        "fs": Verb("alloc_files:fs", "Look at an allocation's files"),
        "stop": Verb("alloc:stop", "Stop an allocation; another takes its place"),
        "restart": Verb("alloc:restart", "Restart tasks in place"),
        "signal": Verb("alloc:signal", "Send a signal to tasks"),
        "checks": Verb("alloc:checks", "Show the results of its checks"),
    },
)
NODE = Noun(
    "Work with nodes: the machines.",
    {
        "status": Verb("node:status", "List nodes, or show one"),
        "drain": Verb("node_drain:drain", "Move a node's allocations elsewhere"),
        "eligibility": Verb("node_drain:eligibility", "Say whether a node may get new allocations"),
        "purge": Verb("node_purge:purge", "Forget a node that is gone for good"),
        "meta": Noun(
            "Work with node meta.",
            {
                "apply": Verb("node_meta:apply", "Change a node's meta while it runs"),
                "read": Verb("node_meta:read", "Show a node's meta"),
            },
        ),
        "pool": Noun(
            "Work with node pools.",
            {
                "list": Verb("node_pool:list_", "List the pools"),
                "info": Verb("node_pool:info", "Show a pool"),
                "apply": Verb("node_pool:apply", "Make or change a pool from a file"),
                "delete": Verb("node_pool:delete", "Remove a pool"),
                "nodes": Verb("node_pool:nodes", "List a pool's nodes"),
                "jobs": Verb("node_pool:jobs", "List the jobs that ask for a pool"),
            },
        ),
    },
)
EVAL = Noun(
    "Work with evaluations: the scheduler's looks at jobs.",
    {
        "list": Verb("evaluation:list_", "List evaluations"),
        "status": Verb("evaluation:status", "Show an evaluation"),
        "delete": Verb("evaluation:delete", "Delete evaluations"),
    },
)
DEPLOYMENT = Noun(
    "Work with deployments: roll-outs of job versions.",
    {
        "list": Verb("deployment:list_", "List deployments"),
        "status": Verb("deployment:status", "Show a deployment"),
        "promote": Verb("deployment:promote", "Let its canaries take over"),
        "fail": Verb("deployment:fail", "End it as failed"),
        "pause": Verb("deployment:pause", "Hold it"),
        "resume": Verb("deployment:resume", "Let it go on"),
        "unblock": Verb("deployment:unblock", "Stop waiting for other regions"),
    },
)
SERVER = Noun(
    "Work with servers.",
    {
        "members": Verb("server:members", "List the servers"),
        "join": Verb("server:join", "Join other servers"),
        "force-leave": Verb("server:force_leave", "Take a failed server out"),
    },
)
OPERATOR = Noun(
    "Look after the cluster.",
    {
        "api": Verb("operator_api:api", "Call the API as it is"),
        "metrics": Verb("operator:metrics", "Print the agent's metrics"),
        "simulate": Verb("operator_simulate:simulate", "Say what would become of the cluster if nodes or jobs changed"),
        "scheduler": Noun(
            "Settings of the scheduler.",
            {
                "get-config": Verb("operator:get_config", "Show how the scheduler is set"),
                "set-config": Verb("operator:set_config", "Set the scheduler"),
            },
        ),
        "snapshot": Noun(
            "Snapshots of the state.", {"save": Verb("operator:snapshot_save", "Write the state to a file")}
        ),
        "raft": Noun("The servers as voters.", {"list-peers": Verb("operator:list_peers", "List the servers")}),
        "autopilot": Noun(
            "The servers' health.", {"health": Verb("operator:autopilot_health", "Show the servers' health")}
        ),
    },
)
SYSTEM = Noun(
    "Work on the system itself.",
    {
        "gc": Verb("system:gc", "Forget everything that is finished"),
        "reconcile": Noun("Count anew.", {"summaries": Verb("system:summaries", "Count all jobs' allocations anew")}),
    },
)
NAMESPACE = Noun(
    "Work with namespaces.",
    {
        "list": Verb("namespace:list_", "List namespaces"),
        "status": Verb("namespace:status", "Show a namespace"),
        "inspect": Verb("namespace:inspect", "Print a namespace as JSON"),
        "apply": Verb("namespace:apply", "Make or change a namespace"),
        "delete": Verb("namespace:delete", "Remove a namespace"),
    },
)
SERVICE = Noun(
    "Work with registered services.",
    {
        "list": Verb("service:list_", "List services"),
        "info": Verb("service:info", "Show a service's instances"),
        "delete": Verb("service:delete", "Remove an instance"),
    },
)
SCALING = Noun(
    "Look at how jobs may be scaled.",
    {
        "policy": Noun(
            "Look at scaling policies: what jobs tell autoscalers.",
            {
                "list": Verb("scaling:list_", "List scaling policies"),
                "info": Verb("scaling:info", "Show a scaling policy"),
            },
        )
    },
)
VAR = Noun(
    "Work with variables.",
    {
        "list": Verb("variable:list_", "List variables"),
        "get": Verb("variable:get", "Print a variable"),
        "put": Verb("variable:put", "Write a variable"),
        "purge": Verb("variable:purge", "Remove a variable"),
    },
)
CONFIG = Noun("Work with agent configuration.", {"validate": Verb("config:validate", "Check configuration files")})
COMPLETION = Verb("completion:completion", "Print shell completion for bash, zsh or fish")


def _alias(target: str, summary: str) -> Verb:
    return Verb(target, summary, hidden=True)


TREE: dict[str, Noun | Verb] = {
    "agent": Verb("agent:agent", "Run an agent: server, node, or both"),
    "job": JOB,
    "alloc": ALLOC,
    "node": NODE,
    "eval": EVAL,
    "deployment": DEPLOYMENT,
    "service": SERVICE,
    "server": SERVER,
    "namespace": NAMESPACE,
    "var": VAR,
    "scaling": SCALING,
    "operator": OPERATOR,
    "system": SYSTEM,
    "config": CONFIG,
    "status": Verb("status:status", "Find something by the beginning of its id and show it"),
    "monitor": Verb("monitor:monitor", "Follow an agent's log"),
    "fmt": Verb("fmt:fmt", "Rewrite job and configuration files in the usual layout"),
    "agent-info": Verb("server:agent_info", "Show an agent's figures"),
    "completion": COMPLETION,
    "version": Verb("version:version", "Print the version"),
    "run": _alias("job_run:run", "job run"),
    "plan": _alias("job_plan:plan", "job plan"),
    "validate": _alias("job_validate:validate", "job validate"),
    "init": _alias("job_init:init", "job init"),
    "inspect": _alias("job_versions:inspect", "job inspect"),
    "stop": _alias("job:stop", "job stop"),
    "start": _alias("job_versions:start", "job start"),
    "logs": _alias("alloc_files:logs", "alloc logs"),
    "exec": _alias("alloc_exec:exec_", "alloc exec"),
    "fs": _alias("alloc_files:fs", "alloc fs"),
    "alloc-status": _alias("alloc:status", "alloc status"),
    "node-status": _alias("node:status", "node status"),
    "node-drain": _alias("node_drain:drain", "node drain"),
    "eval-status": _alias("evaluation:status", "eval status"),
    "server-members": _alias("server:members", "server members"),
    "server-join": _alias("server:join", "server join"),
    "server-force-leave": _alias("server:force_leave", "server force-leave"),
}
