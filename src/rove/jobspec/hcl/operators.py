"""Operators, conditionals and indexes on values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rove.jobspec.hcl import limits, numbers
from rove.jobspec.hcl.convert import ConvertError, convert, to_bool, to_number, to_text, unify
from rove.jobspec.hcl.numbers import NumberError
from rove.jobspec.hcl.scope import Budget, BudgetError, EvalError, PoisonedError, Scope
from rove.jobspec.hcl.types import ANY, BOOL, NUMBER, STRING, ListOf, MapOf, SetOf, equal, friendly, type_of, weigh

if TYPE_CHECKING:
    from rove.jobspec.hcl.nodes import Conditional, Node

Value = Any

_ARITHMETIC = {
    "+": numbers.add,
    "-": numbers.add,
    "*": numbers.multiply,
    "/": numbers.divide,
    "%": numbers.modulo,
}


def unary(operator: str, found: Value, node: Node) -> Value:
    """`-` and `!`."""
    try:
        if operator == "-":
            return numbers.negate(_operand(found, to_number))
        return not _operand(found, to_bool)
    except ConvertError as failure:
        raise node.fail("Unsuitable operand", str(failure)) from None


def _operand(found: Value, change: Any) -> Any:
    if found is None:
        raise ConvertError("the operand must not be null")
    return change(found)


def binary(operator: str, left: Value, right: Value, left_node: Node, right_node: Node, budget: Budget) -> Value:
    """Every operator with two operands. Both sides have been worked out: `&&` and `||` do not stop early."""
    if operator == "==" or operator == "!=":
        if isinstance(left, list | tuple | dict):
            weight = weigh(left, limits.TEXT_MAX)
            budget.hold(weight)
            budget.step(weight >> 5)
        return equal(left, right) is (operator == "==")
    change: Any = to_bool if operator in ("&&", "||") else to_number
    try:
        left = _operand(left, change)
    except ConvertError as failure:
        raise left_node.fail("Unsuitable left operand", str(failure)) from None
    try:
        right = _operand(right, change)
    except ConvertError as failure:
        raise right_node.fail("Unsuitable right operand", str(failure)) from None
    if operator == "&&":
        return left and right
    if operator == "||":
        return left or right
    if operator in _ARITHMETIC:
        budget.step(_bits(left, right) >> 8)
        try:
            return _ARITHMETIC[operator](left, numbers.negate(right) if operator == "-" else right)
        except NumberError as failure:
            raise EvalError("Operation failed", str(failure), left_node.start, right_node.end) from None
    budget.step(_bits(left, right) >> 8)
    order = numbers.compare(left, right)
    if operator == "<":
        return order < 0
    if operator == "<=":
        return order <= 0
    if operator == ">":
        return order > 0
    return order >= 0


def _bits(left: Any, right: Any) -> int:
    """How long two numbers are: long ones take long."""
    return sum(
        each.bit_length() if type(each) is int else limits.FRACTION_BITS - each.exponent for each in (left, right)
    )


def condition_holds(node: Node, scope: Scope) -> bool:
    """The value of a condition as bool. Raises EvalError."""
    found = node.value(scope)
    if found is True or found is False:
        return found
    if found is None:
        raise node.fail("Null condition", "a condition is true or false, never null")
    try:
        return to_bool(found)
    except ConvertError as failure:
        raise node.fail("Unsuitable condition", str(failure)) from None


def choose(node: Conditional, scope: Scope) -> Value:
    """A conditional's value. An error on the side that is not chosen does not count, an unlike type does."""
    yes, yes_failure = _attempt(node.yes, scope)
    no, no_failure = _attempt(node.no, scope)
    for side in (yes, no):
        if isinstance(side, list | tuple | dict):
            weight = weigh(side, limits.TEXT_MAX)
            scope.budget.hold(weight)
            scope.budget.step(weight >> 4)
    have = _type_of_failed(node.yes) if yes_failure else type_of(yes)
    other = _type_of_failed(node.no) if no_failure else type_of(no)
    shared = None if have == other or ANY in (have, other) else _shared_type(node, have, other)
    holds = condition_holds(node.condition, scope)
    failure = yes_failure if holds else no_failure
    if failure:
        raise failure
    chosen = yes if holds else no
    if shared is None:
        return chosen
    try:
        return convert(chosen, shared)
    except ConvertError as problem:
        side_node = node.yes if holds else node.no
        raise side_node.fail("Unlike results of a conditional", str(problem)) from None


def _attempt(node: Node, scope: Scope) -> tuple[Value, EvalError | None]:
    try:
        return node.value(scope), None
    except (BudgetError, PoisonedError):
        raise
    except EvalError as failure:
        return None, failure


def _type_of_failed(node: Node) -> Any:
    """The type an expression without a value would have had; "any" if that cannot be told."""
    from rove.jobspec.hcl.nodes import Chain, Paren, Template, Unary

    while isinstance(node, Paren):
        node = node.inner
    if isinstance(node, Template):
        return STRING
    if isinstance(node, Unary):
        return NUMBER if node.operator == "-" else BOOL
    if isinstance(node, Chain):
        return NUMBER if node.rest[-1][0] in _ARITHMETIC else BOOL
    return ANY


def _shared_type(node: Conditional, have: Any, other: Any) -> Any:
    shared = unify([have, other])
    if shared is None:
        raise EvalError(
            "Unlike results of a conditional",
            f"both results must have the same type, but one is {friendly(have)} and the other {friendly(other)}",
            node.yes.start,
            node.no.end,
        )
    return None if shared == ANY else shared


def index(found: Value, key: Value, start: int, end: int) -> Value:
    """`found[key]`. Raises EvalError."""
    if found is None:
        raise EvalError("Index of null", "a null value has no elements", start, end)
    if key is None:
        raise EvalError("Null as an index", "an index must not be null", start, end)
    try:
        if isinstance(found, SetOf):
            raise ConvertError("the elements of a set have no index")
        if isinstance(found, ListOf | tuple):
            return found[_place(to_number(key), len(found))]
        if isinstance(found, dict):
            name = to_text(key)
            if name in found:
                return found[name]
            what = "map" if isinstance(found, MapOf) else "object"
            raise ConvertError(f'the {what} has no element "{name}"')
    except ConvertError as failure:
        raise EvalError("Unsuitable index", str(failure), start, end) from None
    raise EvalError("Unsuitable index", f"a {friendly(type_of(found))} has no elements", start, end)


def _place(place: Any, length: int) -> int:
    if not isinstance(place, int):
        raise ConvertError("an index must be a whole number")
    if place < 0:
        raise ConvertError("an index must not be negative")
    if place >= length:
        raise ConvertError(f"there are only {length} elements" if length else "there are no elements")
    return place
