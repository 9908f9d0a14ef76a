"""What a job means by what it does not say: by type, by outer block, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rove.jobspec import canonicalize, job_to_api, parse_job, validate
from rove.structs.base import HOUR, MINUTE, SECOND
from rove.structs.job import Job, JobType, MigrateStrategy, ReschedulePolicy, RestartPolicy, UpdateStrategy

Make = Callable[..., Job]

ROLLING = UpdateStrategy(
    stagger=30 * SECOND, max_parallel=1, health_check="checks", min_healthy_time=10 * SECOND,
    healthy_deadline=5 * MINUTE, progress_deadline=10 * MINUTE,
)  # fmt: skip
LONG = RestartPolicy(attempts=2, interval=30 * MINUTE, delay=15 * SECOND, mode="fail")
SHORT = RestartPolicy(attempts=3, interval=24 * HOUR, delay=15 * SECOND, mode="fail")


def test_the_job_itself(make_job: Make) -> None:
    job = make_job()
    assert (job.name, job.region, job.namespace, job.priority) == ("j", "global", "default", 50)
    assert (job.datacenters, job.node_pool, job.all_at_once) == (("*",), "default", False)


@pytest.mark.parametrize(
    ("kind", "update", "restart", "reschedule", "migrate"),
    [
        ("service", ROLLING, LONG, ReschedulePolicy(
            delay=30 * SECOND, delay_function="exponential", max_delay=HOUR, unlimited=True), MigrateStrategy()),
        ("batch", None, SHORT, ReschedulePolicy(
            attempts=1, interval=24 * HOUR, delay=5 * SECOND, delay_function="constant"), None),
        ("system", ROLLING, LONG, None, None),
        ("sysbatch", None, SHORT, None, None),
    ],
)  # fmt: skip
def test_policies_follow_the_type(
    make_job: Make, kind: str, update: Any, restart: Any, reschedule: Any, migrate: Any
) -> None:
    group = make_job(type=kind).task_groups[0]
    assert group.update == update
    assert group.restart_policy == restart
    assert group.tasks[0].restart_policy == restart
    assert group.reschedule_policy == reschedule
    assert group.migrate == migrate


def test_the_stored_job_keeps_of_its_update_what_nomad_keeps(make_job: Make) -> None:
    job = make_job(job='update {\n stagger = "1m"\n canary = 2\n}')
    assert job.update == UpdateStrategy(stagger=MINUTE, max_parallel=1)
    assert job.task_groups[0].update is not None
    assert job.task_groups[0].update.canary == 2
    assert make_job(type="batch").update == UpdateStrategy()


def test_a_group_overrides_its_job_value_by_value(make_job: Make) -> None:
    job = make_job(
        job='update {\n max_parallel = 3\n canary = 1\n}\nreschedule { delay = "40s" }\nmigrate { max_parallel = 4 }',
        group='update { canary = 2 }\nreschedule { max_delay = "2h" }\nmigrate { min_healthy_time = "1s" }',
    )
    group = job.task_groups[0]
    assert group.update is not None
    assert (group.update.max_parallel, group.update.canary) == (3, 2)
    assert group.reschedule_policy is not None
    assert (group.reschedule_policy.delay, group.reschedule_policy.max_delay) == (40 * SECOND, 2 * HOUR)
    assert group.migrate == MigrateStrategy(max_parallel=4, min_healthy_time=SECOND)


def test_a_task_overrides_its_groups_restart_value_by_value(make_job: Make) -> None:
    group = make_job(group="restart { attempts = 7 }", task='restart { delay = "1s" }').task_groups[0]
    assert group.restart_policy.attempts == 7
    assert group.tasks[0].restart_policy.attempts == 7
    assert group.tasks[0].restart_policy.delay == SECOND


def test_max_parallel_zero_stays_zero(make_job: Make) -> None:
    group = make_job(group="update { max_parallel = 0 }").task_groups[0]
    assert group.update is not None
    assert group.update.max_parallel == 0


def test_a_long_healthy_deadline_moves_the_progress_deadline_nobody_set(make_job: Make) -> None:
    moved = make_job(group='update { healthy_deadline = "10m" }').task_groups[0].update
    kept = make_job(group='update {\n healthy_deadline = "10m"\n progress_deadline = "0s"\n}').task_groups[0].update
    assert moved is not None
    assert moved.progress_deadline == 15 * MINUTE
    assert kept is not None
    assert kept.progress_deadline == 0


def test_tasks(make_job: Make) -> None:
    task = make_job().task_groups[0].tasks[0]
    assert (task.resources.cpu, task.resources.memory_mb) == (100, 300)
    assert task.kill_timeout == 5 * SECOND
    assert (task.log_config.max_files, task.log_config.max_file_size_mb) == (10, 10)
    assert task.identity is not None
    assert (task.identity.name, task.identity.audience) == ("default", ("nomadproject.io",))


def test_cores_take_the_place_of_cpu(make_job: Make) -> None:
    assert make_job(task="resources { cores = 2 }").task_groups[0].tasks[0].resources.cpu == 0


def test_a_count_follows_the_least_of_scaling(make_job: Make) -> None:
    group = make_job(group="scaling {\n min = 4\n max = 9\n}").task_groups[0]
    assert group.count == 4
    other = make_job(group="count = 6\nscaling { max = 9 }").task_groups[0]
    assert other.scaling is not None
    assert (other.scaling.min, other.scaling.max, other.scaling.type) == (6, 9, "horizontal")
    assert other.scaling.target == {"Namespace": "default", "Job": "j", "Group": "g"}


def test_a_count_of_zero_is_zero(make_job: Make) -> None:
    assert make_job(group="count = 0").task_groups[0].count == 0


def test_services_are_named_after_where_they_are(make_job: Make) -> None:
    job = make_job(group='service { provider = "nomad" }', task='service { name = "${BASE}-x" }\nservice {}')
    group = job.task_groups[0]
    assert group.services[0].name == "j-g"
    assert [each.name for each in group.tasks[0].services] == ["j-g-t-x", "j-g-t"]
    assert group.tasks[0].services[0].provider == "consul"


def test_checks_take_over_what_their_service_says(make_job: Make) -> None:
    group = make_job(
        group='service {\n name = "s"\n on_update = "ignore"\n check_restart {\n limit = 3\n grace = "9s"\n }\n'
        'check { type = "tcp" }\n check {\n type = "tcp"\n check_restart { limit = 5 }\n'
        ' on_update = "require_healthy"\n }\n}'
    ).task_groups[0]  # fmt: skip
    one, two = group.services[0].checks
    assert one.check_restart is not None
    assert (one.check_restart.limit, one.check_restart.grace) == (3, 9 * SECOND)
    assert two.check_restart is not None
    assert (two.check_restart.limit, two.check_restart.grace) == (5, 9 * SECOND)
    assert (one.on_update, two.on_update) == ("ignore", "require_healthy")
    assert one.name == "s tcp check"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ('source = "https://x/y.tgz"', "local/"),
        ('source = "https://x/a/y.bin?z=1"\n mode = "file"', "local/y.bin"),
        ('source = "https://x/y"\n destination = "local/z"', "local/z"),
    ],
)
def test_artifacts_go_below_local(make_job: Make, body: str, place: str) -> None:
    job = make_job(task=f"artifact {{\n {body}\n}}")
    assert job.task_groups[0].tasks[0].artifacts[0].relative_dest == place


def test_a_signal_that_is_not_named_is_sighup_and_names_are_upper_case(make_job: Make) -> None:
    task = make_job(
        task='template {\n data = "x"\n destination = "a"\n change_mode = "signal"\n}\n'
        'template {\n data = "x"\n destination = "b"\n change_mode = "signal"\n change_signal = "sigusr1"\n}\n'
        'vault { change_mode = "signal" }'
    ).task_groups[0].tasks[0]  # fmt: skip
    assert [each.change_signal for each in task.templates] == ["SIGHUP", "SIGUSR1"]
    assert task.vault is not None
    assert task.vault.change_signal == "SIGHUP"


def test_ports_of_resources_become_ports_of_the_group(make_job: Make) -> None:
    old = 'resources {\n network {\n mbits = 5\n port "a" {}\n port "b" { static = 80 }\n }\n}'
    group = make_job(task=old).task_groups[0]
    assert [port.label for port in group.networks[0].dynamic_ports] == ["a"]
    assert [port.value for port in group.networks[0].reserved_ports] == [80]
    assert group.tasks[0].resources.networks == ()


def test_ports_that_a_client_put_in_the_wrong_list_are_sorted(api_job: Callable[..., Any]) -> None:
    body = api_job()
    body["TaskGroups"][0]["Networks"] = [{"DynamicPorts": [{"Label": "a", "Value": 80}, {"Label": "b"}]}]
    network = canonicalize(body).task_groups[0].networks[0]
    assert [port.label for port in network.reserved_ports] == ["a"]
    assert [port.label for port in network.dynamic_ports] == ["b"]
    assert network.mode == "host"
    assert network.reserved_ports[0].host_network == "default"


def test_driver_config_has_one_shape_however_it_was_sent(api_job: Callable[..., Any]) -> None:
    body = api_job()
    body["TaskGroups"][0]["Tasks"][0] = {
        "Name": "t", "Driver": "docker",
        "Config": {"image": "x:1", "labels": [{"a": "1"}, {"b": "2"}], "mount": {"type": "bind"},
                   "auth": [{"username": "u"}]},
    }  # fmt: skip
    config = canonicalize(body).task_groups[0].tasks[0].config
    assert config == {
        "image": "x:1",
        "labels": {"a": "1", "b": "2"},
        "mount": [{"type": "bind"}],
        "auth": {"username": "u"},
    }


def test_an_empty_job_is_a_job_that_validation_can_judge() -> None:
    job = canonicalize({"ID": "x"})
    assert (job.id, job.name, job.type, job.task_groups) == ("x", "x", JobType.SERVICE, ())


def test_a_name_does_not_stand_in_for_an_id() -> None:
    job = canonicalize({"Name": "only"})
    assert (job.id, job.name) == ("", "only")
    assert "a job needs an id" in [problem.text for problem in validate(job)]


def test_empty_texts_count_as_not_given() -> None:
    job = canonicalize(
        {"ID": "x", "Name": "", "Region": "", "Namespace": "", "Type": "", "NodePool": "", "Priority": 0}
    )
    assert (job.region, job.namespace, job.type, job.node_pool, job.priority) == (
        "global", "default", JobType.SERVICE, "default", 50,
    )  # fmt: skip


def test_defaults_do_not_change_what_was_given_to_them() -> None:
    api = parse_job('job "j" {\n update { canary = 1 }\n group "g" {\n task "t" { driver = "raw_exec" }\n }\n}\n').api
    before = repr(api)
    canonicalize(api)
    assert repr(api) == before
    stored = job_to_api(canonicalize(api))
    before = repr(stored)
    canonicalize(stored)
    assert repr(stored) == before


def test_empty_words_of_clients_mean_the_default(api_job: Callable[..., Any]) -> None:
    body = api_job(
        Type="batch", Periodic={"Spec": "@daily", "TimeZone": "", "SpecType": ""}, ParameterizedJob={"Payload": ""}
    )
    group = body["TaskGroups"][0]
    group.update(
        RestartPolicy={"Mode": ""}, Disconnect={"Reconcile": ""}, Volumes={"v": {"Type": "host", "Source": "x"}}
    )
    group["Services"] = [{"Name": "", "Provider": "", "AddressMode": "", "Cluster": "", "OnUpdate": ""}]
    group["Tasks"][0].update(
        Templates=[
            {"EmbeddedTmpl": "x", "DestPath": "x", "ChangeMode": "", "Perms": "", "LeftDelim": "", "RightDelim": ""}
        ],
        Artifacts=[{"GetterSource": "x", "GetterMode": "", "RelativeDest": ""}],
        Vault={"Cluster": "", "ChangeMode": ""},
        VolumeMounts=[{"Volume": "v", "Destination": "/v", "PropagationMode": ""}],
    )
    job = canonicalize(body)
    assert validate(job) == []
    assert job.periodic is not None
    assert job.periodic.time_zone == "UTC"
    assert job.task_groups[0].volumes["v"].name == "v"
    assert job.task_groups[0].tasks[0].templates[0].left_delim == "{{"
