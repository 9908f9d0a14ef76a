"""Constraints that follow from what a job uses."""

from __future__ import annotations

from collections.abc import Callable

from rove.jobspec import add_implied_constraints, validate
from rove.structs.job import Job

Make = Callable[..., Job]


def implied(job: Job, **options: bool) -> list[str]:
    return [each.text() for each in add_implied_constraints(job, **options).task_groups[0].constraints]


def test_a_plain_job_implies_nothing(make_job: Make) -> None:
    job = make_job()
    assert add_implied_constraints(job) is job


def test_services_need_their_provider(make_job: Make) -> None:
    job = make_job(group='service {\n provider = "nomad"\n check { type = "tcp" }\n}\nservice {}')
    assert implied(job) == [
        "${attr.nomad.service_discovery} = true",
        "${attr.nomad.version} semver >= 1.4.0",
        "${attr.consul.version} semver >= 1.8.0",
    ]
    assert "consul" not in " ".join(implied(job, consul=False))


def test_bridges_signals_and_vault(make_job: Make) -> None:
    job = make_job(
        group='network { mode = "bridge" }',
        task='kill_signal = "sigint"\nvault {}\n'
        'template {\n data = "x"\n destination = "x"\n change_mode = "signal"\n}',
    )
    found = implied(job)
    assert "${attr.vault.version} semver >= 0.6.1" in found
    assert "${attr.plugins.cni.version.bridge} semver >= 0.4.0" in found
    assert "${attr.os.signals} set_contains SIGHUP,SIGINT" in found
    assert not any("vault" in each for each in implied(job, vault=False))


def test_adding_twice_changes_nothing_and_the_result_is_valid(make_job: Make) -> None:
    once = add_implied_constraints(make_job(group='network { mode = "bridge" }\nservice {}'))
    assert add_implied_constraints(once) is once
    assert validate(once) == []


def test_transparent_proxies_and_secret_plugins(make_job: Make) -> None:
    proxy = "connect {\n sidecar_service {\n proxy {\n transparent_proxy {}\n }\n }\n}"
    job = make_job(
        group=f'service {{\n name = "s"\n {proxy}\n}}', task='secret "a" {\n provider = "aws"\n path = "x"\n}'
    )
    found = implied(job)
    assert "${attr.plugins.cni.version.consul-cni} semver >= 1.4.2" in found
    assert "${attr.plugins.secrets.aws.version} is_set" in found
