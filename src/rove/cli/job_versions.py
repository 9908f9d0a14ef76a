"""`rove job` and versions: inspect, history, revert, start, tag."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from rove.cli import find
from rove.cli.app import App, current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.diff_text import job_lines
from rove.cli.output import block, emit, moment
from rove.errors import BadRequestError, NotFoundError

Json = dict[str, Any]


@command()
@argument("job_id", metavar="JOB")
@switch("--json", "Print JSON (the default).", "as_json")
@option("-t", "template", metavar="TEMPLATE", help="Print through a Go template.")
@switch("--hcl", "Print the file it was submitted as.")
@switch("--with-vars", "With -hcl: print the variables too.")
@option("--version", "version", type=int, help="An earlier version.")
def inspect(job_id: str, as_json: bool, template: str | None, hcl: bool, with_vars: bool, version: int | None) -> None:
    """Print a job as it is registered."""
    app = current()
    stub = find.job(app, job_id)
    if hcl:
        _print_source(app, stub["ID"], version, with_vars)
        return
    job = _version(app, stub["ID"], version)
    if not emit(job, False, template):
        click.echo(json.dumps({"Job": job}, indent=4, ensure_ascii=False))


def _version(app: App, job_id: str, version: int | None) -> Json:
    if version is None:
        job: Json = app.client().jobs.read(job_id)
        return job
    versions = (app.client().jobs.versions(job_id) or {}).get("Versions") or []
    return _chosen(job_id, versions, version)


def _chosen(job_id: str, versions: list[Json], version: int) -> Json:
    found = [job for job in versions if job.get("Version") == version]
    if not found:
        kept = ", ".join(str(job.get("Version")) for job in versions)
        raise NotFoundError("job.no_such_version", f'job "{job_id}" has no version {version}', f"kept are: {kept}")
    return found[0]


def _print_source(app: App, job_id: str, version: int | None, with_vars: bool) -> None:
    number = _version(app, job_id, version)["Version"] if version is None else version
    try:
        found = app.client().jobs.submission(job_id, number)
    except NotFoundError:
        found = {"Format": "json"}
    if found.get("Format") == "json" or not found.get("Source"):
        # Submitted as JSON, by another client, or too long to be kept: write the file anew.
        from rove.jobspec import job_to_hcl

        click.echo(f"# Written from the job: version {number} was not submitted as HCL.")
        click.echo(job_to_hcl(_version(app, job_id, number)).rstrip("\n"))
        return
    if with_vars:
        for name, value in sorted((found.get("VariableFlags") or {}).items()):
            click.echo(f"# -var {name}={value}")
        for line in str(found.get("Variables") or "").splitlines():
            click.echo(f"# {line}")
    click.echo(str(found.get("Source") or "").rstrip("\n"))


@command()
@argument("job_id", metavar="JOB")
@forms
@switch("-p", "Show what each version changed.", "with_diff")
@switch("--full", "Print the versions whole.")
@option("--version", "version", type=int, help="This version only.")
@option("--diff-version", type=int, help="Compare every version with this one.")
@option("--diff-tag", default="", help="Compare every version with the one of this name.")
def history(
    job_id: str, as_json: bool, template: str | None, with_diff: bool, full: bool, version: int | None,
    diff_version: int | None, diff_tag: str,
) -> None:  # fmt: skip
    """Show a job's versions, the newest first."""
    if full and (as_json or template):
        raise click.UsageError("-full cannot be used with -json or -t.")
    app = current()
    stub = find.job(app, job_id)
    diffs_wanted = with_diff or diff_version is not None or bool(diff_tag)
    answer = app.client().jobs.versions(
        stub["ID"], diffs=diffs_wanted, diff_version=diff_version, diff_tag=diff_tag
    )  # fmt: skip
    versions: list[Json] = answer.get("Versions") or []
    diffs: list[Json] = answer.get("Diffs") or []
    if version is not None:
        at = versions.index(_chosen(stub["ID"], versions, version))
        versions, diffs = [versions[at]], diffs[at : at + 1]
    if emit(versions[0] if version is not None else versions, as_json, template):
        return
    if full:
        click.echo(json.dumps(versions, indent=4, ensure_ascii=False))
        return
    for at, job in enumerate(versions):
        if at:
            click.echo("")
        _show_version(job, diffs[at] if at < len(diffs) else None)


def _show_version(job: Json, diff: Json | None) -> None:
    tag: Json = job.get("VersionTag") or {}
    pairs: list[tuple[str, Any]] = [
        ("Version", job.get("Version")),
        ("Stable", bool(job.get("Stable"))),
        ("Submit Date", moment(job.get("SubmitTime"))),
    ]
    if tag:
        pairs.append(("Tag Name", tag.get("Name")))
        if tag.get("Description"):
            pairs.append(("Tag Description", tag["Description"]))
    click.echo(block(pairs))
    if diff is not None:
        click.echo("Diff:")
        for line in job_lines(diff):
            click.echo(f"    {line}")


@command()
@argument("job_id", metavar="JOB")
@argument("version", metavar="VERSION|TAG")
@switch("--detach", "Return at once.")
@switch("--monitor", "Follow it to its end (the default).")
@option("--consul-token", help="Accepted for Nomad's sake.")
@option("--vault-token", help="Accepted for Nomad's sake.")
@switch("--verbose", "Print whole ids.")
def revert(
    job_id: str, version: str, detach: bool, monitor: bool, consul_token: str | None, vault_token: str | None,
    verbose: bool,
) -> None:  # fmt: skip
    """Go back to an earlier VERSION of a job, which becomes its newest one."""
    app = current()
    stub = find.job(app, job_id)
    number = int(version) if version.isdecimal() else _tagged(app, stub["ID"], version)
    reply = app.client().jobs.revert(stub["ID"], number)
    _after(app, stub["ID"], str(reply.get("EvalID") or ""), detach, verbose)


def _tagged(app: App, job_id: str, tag: str) -> int:
    versions = (app.client().jobs.versions(job_id) or {}).get("Versions") or []
    for job in versions:
        if (job.get("VersionTag") or {}).get("Name") == tag:
            return int(job["Version"])
    raise BadRequestError(
        "job.no_such_tag", f'job "{job_id}" has no version that is called "{tag}"',
        fix=f"`rove job history {job_id}` shows versions and their names",
    )  # fmt: skip


def _after(app: App, job_id: str, eval_id: str, detach: bool, verbose: bool) -> None:
    if not eval_id:
        click.echo(f'Job "{job_id}" is registered')
        return
    if detach:
        click.echo(f"Evaluation ID: {eval_id}")
        return
    from rove.cli.monitor_eval import follow

    sys.exit(follow(app, eval_id, verbose))


@command()
@argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@switch("--detach", "Return at once.")
@option("--yes", "-y", "yes", is_flag=True, help="Do not ask.")
@option("--consul-token", help="Accepted for Nomad's sake.")
@option("--vault-token", help="Accepted for Nomad's sake.")
@switch("--verbose", "Print whole ids.")
def start(
    job_ids: tuple[str, ...], detach: bool, yes: bool, consul_token: str | None, vault_token: str | None,
    verbose: bool,
) -> None:  # fmt: skip
    """Start stopped jobs again, as their newest version that was not stopped."""
    app = current()
    for typed in job_ids:
        stub = find.job(app, typed)
        job = app.client().jobs.read(stub["ID"])
        if not job.get("Stop"):
            raise BadRequestError(
                "job.not_stopped", f'job "{stub["ID"]}" was not started', f"it is {job['Status']}, not stopped"
            )
        versions = (app.client().jobs.versions(stub["ID"]) or {}).get("Versions") or []
        earlier = [each for each in versions if not each.get("Stop")]
        if not earlier:
            raise NotFoundError(
                "job.nothing_to_start", f'job "{stub["ID"]}" was not started',
                "no version is kept that was not stopped", "submit its file with `rove job run`",
            )  # fmt: skip
        reply = app.client().jobs.revert(stub["ID"], int(earlier[0]["Version"]))
        eval_id = str(reply.get("EvalID") or "")
        if detach or not eval_id:
            click.echo(eval_id or f'Job "{stub["ID"]}" is registered')
            continue
        from rove.cli.monitor_eval import follow

        if code := follow(app, eval_id, verbose):
            sys.exit(code)


@command("apply")
@argument("job_id", metavar="JOB")
@option("--name", "name", required=True, help="The name.")
@option("--version", "version", type=int, help="The version; the latest unless given.")
@option("--description", default="", help="What is special about it.")
def tag_apply(job_id: str, name: str, version: int | None, description: str) -> None:
    """Name a version of a job, so that it is kept."""
    if not name.strip():
        raise BadRequestError("job.tag", "the version was not named", "a name is needed", "give one: -name golden")
    app = current()
    stub = find.job(app, job_id)
    app.client().jobs.tag(stub["ID"], name, version=version, description=description)
    which = "The latest version" if version is None else f"Version {version}"
    click.echo(f'{which} of job "{stub["ID"]}" is now called "{name}"')


@command("unset")
@argument("job_id", metavar="JOB")
@option("--name", "name", required=True, help="The name.")
def tag_unset(job_id: str, name: str) -> None:
    """Take the name of a version away."""
    if not name.strip():
        raise BadRequestError("job.tag", "no name was taken away", "a name is needed", "say which: -name golden")
    app = current()
    stub = find.job(app, job_id)
    app.client().jobs.untag(stub["ID"], name)
    click.echo(f'No version of job "{stub["ID"]}" is called "{name}" any more')
