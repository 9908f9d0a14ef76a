"""Functions on numbers."""

from __future__ import annotations

import math
from typing import Any

from rove.jobspec.hcl import numbers
from rove.jobspec.hcl.functions import FunctionError, function
from rove.jobspec.hcl.numbers import Number
from rove.jobspec.hcl.types import ANY, NUMBER

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@function("abs", NUMBER)
def absolute(number: Number) -> Number:
    return numbers.negate(number) if numbers.compare(number, 0) < 0 else number


@function("ceil", NUMBER)
def ceil(number: Number) -> Number:
    return -numbers.floor(numbers.negate(number))


@function("floor", NUMBER)
def floor(number: Number) -> Number:
    return numbers.floor(number)


@function("log", NUMBER, NUMBER)
def log(number: Number, base: Number) -> Number:
    return numbers.of_float(_divided(_log(number), _log(base)))


def _log(number: Number) -> float:
    value = numbers.to_float(number)
    if value > 0:
        return math.log(value)
    return -math.inf if value == 0 else math.nan


def _divided(left: float, right: float) -> float:
    if right == 0:
        return math.nan if left == 0 or left != left else math.inf
    return left / right


@function("pow", NUMBER, NUMBER)
def power(number: Number, exponent: Number) -> Number:
    base, by = numbers.to_float(number), numbers.to_float(exponent)
    try:
        return numbers.of_float(math.pow(base, by))
    except (ValueError, OverflowError):
        raise FunctionError("the result is not a finite number") from None


@function("max", rest=NUMBER)
def maximum(*given: Number) -> Number:
    return _extreme(given, 1)


@function("min", rest=NUMBER)
def minimum(*given: Number) -> Number:
    return _extreme(given, -1)


def _extreme(given: tuple[Number, ...], sign: int) -> Number:
    if not given:
        raise FunctionError("at least one number is required")
    best = given[0]
    for each in given[1:]:
        if numbers.compare(each, best) * sign > 0:
            best = each
    return best


@function("signum", NUMBER)
def signum(number: Number) -> Number:
    return numbers.compare(whole(number, 0), 0)


@function("parseint", ANY, NUMBER)
def parse_int(text: Any, base: Number) -> Number:
    if not isinstance(text, str):
        raise FunctionError("the first argument must be a text", 0)
    if not isinstance(base, int) or not 2 <= base <= 62:
        raise FunctionError("the base must be a whole number from 2 to 62", 1)
    sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    folded = digits.lower() if base <= 36 else digits
    allowed = _DIGITS[:base]
    if not folded or len(folded) > 1000 or any(char not in allowed for char in folded):
        raise FunctionError(f"this is no whole number in base {base}", 0)
    value = 0
    for char in folded:
        value = value * base + allowed.index(char)
    return -value if sign == "-" else value


def whole(number: Number, argument: int | None = None) -> int:
    """A number that must be whole and fit 64 bits. Raises FunctionError."""
    if not isinstance(number, int) or not -(1 << 63) <= number < 1 << 63:
        raise FunctionError("a whole number is required", argument)
    return number
