"""Small rules that several blocks share: words, names, durations, conditions on nodes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from rove.structs.job import Affinity, Constraint, Spread

from .places import nth
from .problem import Problem, did_you_mean, join, quoted

Problems = list[Problem]

_LATE = ("${", "{{")
_VERSION_PART = re.compile(
    r"\s*(=|!=|>=|<=|>|<|~>)?\s*v?\d+(\.\d+)*(-?[0-9A-Za-z~-]+(\.[0-9A-Za-z~-]+)*)?(\+[0-9A-Za-z.-]+)?\s*", re.ASCII
)
_SEMVER_PART = re.compile(
    r"\s*(=|!=|>=|<=|>|<|~>)?\s*v?\d+(\.\d+){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?\s*", re.ASCII
)
DNS_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)

OPERATORS = (
    "=", "==", "is", "!=", "not", ">", ">=", "<", "<=", "regexp", "version", "semver", "set_contains",
    "set_contains_all", "set_contains_any", "distinct_hosts", "distinct_property", "is_set", "is_not_set",
)  # fmt: skip
AFFINITY_OPERATORS = OPERATORS[:15]
CONDITION_TEXT_MAX = 4096
_LINE_BREAKS = "\n\r\u2028\u2029"


def is_late(text: str) -> bool:
    """Whether a text is only complete later: on the node, or when keys are filled in."""
    return any(mark in text for mark in _LATE)


def word(value: str, known: Collection[str], path: str, found: Problems) -> None:
    """`value` must be one of the known words."""
    if value not in known and not is_late(value):
        hint = did_you_mean(value, known)
        found.append(Problem(path, f'"{value[:80]}" is not allowed here; these are {quoted(known)}{hint}'))


def at_least(value: int, low: int, path: str, what: str, found: Problems) -> None:
    """`value` may not be below `low`; `what` completes the sentence."""
    if value < low:
        found.append(Problem(path, what))


def repeated(names: Iterable[str], path: str, noun: str, found: Problems) -> None:
    """No name may come twice."""
    seen: set[str] = set()
    told: set[str] = set()
    for name in names:
        if name in seen and name not in told:
            told.add(name)
            found.append(Problem(join(path, f'{noun} "{name}"'), f'there is more than one {noun} "{name}"'))
        seen.add(name)


def bad_character(text: str) -> str:
    """What in a name makes it unusable, as words; empty if nothing does."""
    if "\0" in text:
        return "a NUL byte"
    if any(char in _LINE_BREAKS for char in text):
        return "a line break"
    kinds = set() if text.isprintable() else {unicodedata.category(char) for char in text if char != " "}
    if "Cc" in kinds:
        return "a control character"
    if "Cf" in kinds:
        return "an invisible character"
    return "a blank that is no plain space" if "Zs" in kinds else ""


def nul_problems(values: Mapping[str, str], noun: str, path: str, found: Problems) -> None:
    """Keys and values that end up in a process's environment hold no NUL byte: it ends a text there."""
    for key, value in values.items():
        if "\0" in key or "\0" in value:
            found.append(Problem(path, f'{noun} "{key[:40]}" may not hold a NUL byte, in its name or its value'))


def escapes(path: str) -> bool:
    """Whether a relative path climbs out of the directory it is meant for."""
    depth = 0
    for part in path.replace("\\", "/").split("/"):
        if part == "..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in ("", "."):
            depth += 1
    return False


def is_unfit_below(path: str) -> bool:
    """Whether a text names no file below a directory: it is empty, absolute, climbs, or holds a NUL byte."""
    target = PurePosixPath(path)
    return not target.name or target.is_absolute() or ".." in target.parts or "\0" in path


def constraint_problems(
    constraints: Sequence[Constraint], path: str, found: Problems, *, in_task: bool = False
) -> None:
    """Each constraint can be judged by the scheduler."""
    for at, each in enumerate(constraints):
        where = join(path, nth("constraint", at))
        operand = each.operand
        if operand not in OPERATORS:
            hint = did_you_mean(operand, OPERATORS)
            found.append(Problem(join(where, "operator"), f'"{operand[:80]}" is not an operator{hint}'))
            continue
        if operand in ("distinct_hosts", "distinct_property"):
            if in_task:
                found.append(Problem(where, f'"{operand}" belongs to a job or group, not to a task'))
            _distinct(each, where, found)
            continue
        if not each.l_target and operand not in ("is_set", "is_not_set"):
            found.append(Problem(where, 'an "attribute" to compare is missing'))
        elif not each.l_target:
            found.append(Problem(where, f'"{operand}" needs an "attribute"'))
        if operand in ("is_set", "is_not_set"):
            if each.r_target:
                found.append(Problem(join(where, "value"), f'"{operand}" takes no value'))
            continue
        condition(operand, each.r_target, where, found)


def _distinct(each: Constraint, where: str, found: Problems) -> None:
    if each.operand == "distinct_hosts":
        if each.r_target not in ("", "true", "false"):
            found.append(Problem(where, '"distinct_hosts" is true or false'))
        return
    if not each.l_target:
        found.append(Problem(where, '"distinct_property" needs the attribute that is to differ'))
    if each.r_target and not (each.r_target.isdecimal() and int(each.r_target[:10]) > 0):
        found.append(Problem(join(where, "value"), "how many may share a value is a whole number above 0"))


def condition(operand: str, value: str, where: str, found: Problems) -> None:
    """The right-hand side fits the operator: regular expressions compile, versions parse, sets are not empty."""
    if len(value) > CONDITION_TEXT_MAX:
        found.append(Problem(where, f"the value is longer than {CONDITION_TEXT_MAX} characters"))
    elif is_late(value):
        return
    elif operand == "regexp":
        reason = regexp_problem(value)
        if reason:
            found.append(Problem(where, f'"{value[:80]}" is not a regular expression (RE2): {reason}'))
    elif operand in ("version", "semver"):
        pattern = _VERSION_PART if operand == "version" else _SEMVER_PART
        if not all(pattern.fullmatch(part) for part in value.split(",")):
            text = f'"{value[:80]}" is not a {operand} condition such as ">= 1.2, < 2.0"'
            found.append(Problem(where, text))
    elif not value:
        found.append(Problem(where, f'"{operand}" needs a value; to ask whether there is any, use "is_set"'))


def regexp_problem(pattern: str) -> str:
    """Why a pattern is not RE2 syntax; empty if it is."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else "it cannot be read"
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return ""


def affinity_problems(affinities: Sequence[Affinity], path: str, found: Problems) -> None:
    """Operators and weights of affinities."""
    for at, each in enumerate(affinities):
        where = join(path, nth("affinity", at))
        if each.operand not in AFFINITY_OPERATORS:
            hint = did_you_mean(each.operand, AFFINITY_OPERATORS)
            found.append(Problem(join(where, "operator"), f'"{each.operand[:80]}" is not an affinity operator{hint}'))
        else:
            condition(each.operand, each.r_target, where, found)
        if not each.l_target:
            found.append(Problem(where, 'an "attribute" to compare is missing'))
        if each.weight == 0 or not -100 <= each.weight <= 100:
            found.append(Problem(join(where, "weight"), f"a weight is -100 to 100 and not 0; this is {each.weight}"))


def spread_problems(spreads: Sequence[Spread], path: str, found: Problems) -> None:
    """Weights and shares of spreads."""
    for at, each in enumerate(spreads):
        where = join(path, nth("spread", at))
        if not each.attribute:
            found.append(Problem(where, 'the "attribute" to spread over is missing'))
        if not 1 <= each.weight <= 100:
            found.append(Problem(join(where, "weight"), f"a spread's weight is 1 to 100; this is {each.weight}"))
        total = 0
        for target in each.spread_target:
            place = join(where, f'target "{target.value}"')
            if not 0 <= target.percent <= 100:
                found.append(Problem(join(place, "percent"), f"a share is 0 to 100 percent; this is {target.percent}"))
            total += max(0, target.percent)
        if total > 100:
            found.append(Problem(where, f"the shares add up to {total} percent; 100 is all there is"))
        repeated((target.value for target in each.spread_target), where, "target", found)
    attributes = [each.attribute for each in spreads if each.attribute]
    if len(set(attributes)) < len(attributes):
        found.append(Problem(join(path, "spread"), "an attribute is spread over more than once"))
