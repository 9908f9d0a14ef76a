from __future__ import annotations

import click
import pytest

from rove.cli.command import Command, command, go_arguments, option, switch


@command()
@switch("--detach", "")
@switch("-p", "", "diff")
@option("-n", "lines", type=int)
@option("--var", "variables", multiple=True)
@option("-i/--no-input", "interactive", default=True)
@option("-v", "verbose", is_flag=True)
def sample(**_: object) -> None:
    """A command with a flag of each kind."""


READ_AS = [
    (["-detach"], ["--detach"]),
    (["--detach"], ["--detach"]),
    (["-detach=true"], ["--detach"]),
    (["-detach=false", "x"], ["x"]),
    (["-i=false"], ["--no-input"]),
    (["-i", "x"], ["-i", "x"]),
    (["-var", "a=b", "-var=c=d"], ["--var", "a=b", "--var=c=d"]),
    (["-var", "-detach"], ["--var", "-detach"]),
    (["-n=5"], ["-n", "5"]),
    (["-n", "-5"], ["-n", "-5"]),
    (["-pv"], ["-pv"]),
    (["-"], ["-"]),
    (["a", "-detach"], ["a", "--detach"]),
    (["--", "-detach"], ["--", "-detach"]),
    (["-unknown"], ["--unknown"]),
]


@pytest.mark.parametrize(("written", "meant"), READ_AS)
def test_one_dash_or_two_mean_the_same(written: list[str], meant: list[str]) -> None:
    assert go_arguments(sample.params, written, interspersed=True) == meant


def test_the_flags_of_somebody_elses_command_are_left_alone() -> None:
    found = go_arguments(sample.params, ["-detach", "alloc", "ls", "-detach", "-la"], interspersed=False)
    assert found == ["--detach", "--", "alloc", "ls", "-detach", "-la"]


def test_a_switch_takes_no_other_value() -> None:
    with pytest.raises(click.UsageError):
        go_arguments(sample.params, ["-detach=maybe"], interspersed=True)


def test_every_command_takes_the_global_flags() -> None:
    assert isinstance(sample, Command)
    names = {name for param in sample.params for name in param.opts}
    assert {"--address", "--namespace", "--token", "--region", "--no-color"} <= names
