"""Are the gates of a roll-out ones that can be asked?"""

from __future__ import annotations

import re

import msgspec

from rove.structs.base import SECOND
from rove.structs.job import Gate, TaskGroup, UpdateStrategy

from .problem import Problem, join
from .rules import Problems, at_least, repeated, word

_EXPECTATION = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*-?[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?\s*", re.ASCII)


def gate_problems(group: TaskGroup, update: UpdateStrategy, path: str, found: Problems) -> None:
    """What is wrong with the gates of a group's update block."""
    gates = () if update.gates is msgspec.UNSET else update.gates
    repeated((gate.name for gate in gates), path, "gate", found)
    if gates and update.canary == 0:
        found.append(Problem(path, "gates are asked before canaries are promoted, but canary is 0"))
    for gate in gates:
        own = join(path, f'gate "{gate.name}"')
        word(gate.type, ("http", "prometheus", "script"), join(own, "type"), found)
        at_least(gate.interval, SECOND, join(own, "interval"), "interval must be 1s or more", found)
        at_least(gate.timeout, 1, join(own, "timeout"), "timeout must be above 0", found)
        at_least(gate.passes, 1, join(own, "passes"), "passes must be 1 or more", found)
        at_least(gate.failures, 1, join(own, "failures"), "failures must be 1 or more", found)
        if gate.type == "script":
            _gate_script(group, gate, own, found)
        elif not gate.address.startswith(("http://", "https://")):
            found.append(Problem(join(own, "address"), "give an address that starts with http:// or https://"))
        if gate.type == "prometheus":
            _gate_query(gate, own, found)


def _gate_script(group: TaskGroup, gate: Gate, path: str, found: Problems) -> None:
    if not gate.command:
        found.append(Problem(join(path, "command"), "say which command to run"))
    names = [task.name for task in group.tasks]
    if gate.task not in names:
        found.append(Problem(join(path, "task"), f"name one of the group's tasks: {', '.join(names)}"))


def _gate_query(gate: Gate, path: str, found: Problems) -> None:
    if not gate.query:
        found.append(Problem(join(path, "query"), "say what to ask Prometheus"))
    if not _EXPECTATION.fullmatch(gate.expect):
        found.append(Problem(join(path, "expect"), 'say what a good value is, such as "< 0.05"'))
