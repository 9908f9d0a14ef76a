"""Constraints and affinities on one node: what a target means there, and whether an operator holds."""

from __future__ import annotations

import functools
from typing import Any

import re2

from rove.structs.job import Affinity, Constraint
from rove.structs.node import Node

from .versions import satisfies

DISTINCT_HOSTS = "distinct_hosts"
DISTINCT_PROPERTY = "distinct_property"

Condition = Constraint | Affinity


def is_distinct(condition: Condition) -> bool:
    """True for conditions that look at other allocations and not at the node alone."""
    return condition.operand in (DISTINCT_HOSTS, DISTINCT_PROPERTY)


def is_unique(condition: Condition) -> bool:
    """True if the condition differs between nodes of one class."""
    return _is_unique_target(condition.l_target) or _is_unique_target(condition.r_target)


def _is_unique_target(target: str) -> bool:
    return target.startswith("${") and "unique." in target


def resolve(target: str, node: Node, region: str = "global") -> str | None:
    """The value of a target on `node`; text that is no `${...}` is itself. None: the node lacks it."""
    if not (target.startswith("${") and target.endswith("}")):
        return target
    name = target[2:-1]
    name = name.removeprefix("node.") if name.startswith(("node.attr.", "node.meta.")) else name
    if name.startswith("attr."):
        return node.attributes.get(name[5:])
    if name.startswith("meta."):
        return node.meta.get(name[5:])
    match name:
        case "node.unique.id":
            return node.id
        case "node.unique.name":
            return node.name
        case "node.datacenter":
            return node.datacenter
        case "node.class":
            return node.node_class
        case "node.pool":
            return node.node_pool
        case "node.region":
            return region
    return None


def holds(condition: Condition, node: Node, region: str = "global") -> bool:
    """True if the node meets the condition. distinct_* conditions always hold here."""
    if is_distinct(condition):
        return True
    return compare(
        condition.operand, resolve(condition.l_target, node, region), resolve(condition.r_target, node, region)
    )


def compare(operand: str, left: str | None, right: str | None) -> bool:
    """Whether `left operand right` holds; None stands for a missing attribute. Unknown operators never do."""
    match operand:
        case "is_set":
            return left is not None
        case "is_not_set":
            return left is None
        case "!=" | "not":
            return left != right
    if left is None or right is None:
        return False
    match operand:
        case "=" | "==" | "is" | "":
            return left == right
        case "<" | "<=" | ">" | ">=":
            return _ordered(operand, left, right)
        case "version":
            return satisfies(left, right)
        case "semver":
            return satisfies(left, right, strict=True)
        case "regexp":
            return matches(right, left)
        case "set_contains" | "set_contains_all":
            return _words(right) <= _words(left)
        case "set_contains_any":
            return bool(_words(right) & _words(left))
    return False


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(","))


def _ordered(operand: str, left: str, right: str) -> bool:
    a: Any = left
    b: Any = right
    for kind in (int, float):
        try:
            a, b = kind(left), kind(right)
            break
        except ValueError:
            continue
    match operand:
        case "<":
            return bool(a < b)
        case "<=":
            return bool(a <= b)
        case ">":
            return bool(a > b)
    return bool(a >= b)


@functools.lru_cache(maxsize=1024)
def _pattern(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(text, options)
    except re2.error:
        return None


def matches(pattern: str, text: str) -> bool:
    """True if the pattern (RE2 syntax) is found in the text; a pattern that does not parse matches nothing."""
    compiled = _pattern(pattern)
    return compiled is not None and compiled.search(text) is not None
