"""`can`, `try` and `convert`: they look at expressions, not only at values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rove.jobspec.hcl.constraints import constraint_of
from rove.jobspec.hcl.convert import ConvertError, convert
from rove.jobspec.hcl.scope import BudgetError, EvalError, PoisonedError, Scope
from rove.jobspec.hcl.types import without_optional

if TYPE_CHECKING:
    from rove.jobspec.hcl.nodes import Call


def call(node: Call, scope: Scope) -> Any:
    """The value of such a call. Raises EvalError."""
    if node.spread:
        raise node.fail("Unsuitable argument", f'{node.name}() takes no "..."')
    if node.name == "convert":
        return _convert(node, scope)
    if node.name == "can":
        if len(node.arguments) != 1:
            raise node.fail("Wrong arguments", "can() takes one")
        return _attempt(node, scope, 0)[1] is None
    return _try(node, scope)


def _attempt(node: Call, scope: Scope, at: int) -> tuple[Any, EvalError | None]:
    try:
        return node.arguments[at].value(scope), None
    except (BudgetError, PoisonedError):
        raise
    except EvalError as failure:
        return None, failure


def _try(node: Call, scope: Scope) -> Any:
    if not node.arguments:
        raise node.fail("Argument missing", "try() takes at least one")
    problems = []
    for at in range(len(node.arguments)):
        value, failure = _attempt(node, scope, at)
        if failure is None:
            return value
        problems.append(f"{failure.summary}: {failure.detail}" if failure.detail else failure.summary)
    raise node.fail("No expression of try() has a value", "; ".join(problems[:5]))


def _convert(node: Call, scope: Scope) -> Any:
    if len(node.arguments) != 2:
        raise node.fail("Wrong arguments", "convert() takes a value and a type")
    value = node.arguments[0].value(scope)
    constraint = constraint_of(node.arguments[1])
    if constraint.defaults or constraint.inner:
        raise node.arguments[1].fail("Invalid type", "only the type of a variable may have defaults in optional()")
    try:
        return convert(value, without_optional(constraint.type))
    except ConvertError as failure:
        raise node.arguments[0].fail("Unsuitable argument", str(failure)) from None
