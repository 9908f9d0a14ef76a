"""Numbers as Go's cty has them: binary floating point with 512 bits, of which whole ones are plain `int` here.

A number is an `int`, or a `Big` if it has a fractional part. Results are rounded half to even at 512 bits.
"""

from __future__ import annotations

import re

from rove.jobspec.hcl import limits

PRECISION = 512

_DECIMAL = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?")


class NumberError(ValueError):
    """A number that cannot be made; the text says why."""


class Big:
    """mantissa * 2**exponent with an odd mantissa and a negative exponent, so never a whole number."""

    __slots__ = ("exponent", "mantissa")

    def __init__(self, mantissa: int, exponent: int) -> None:
        self.mantissa = mantissa
        self.exponent = exponent

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Big) and self.mantissa == other.mantissa and self.exponent == other.exponent

    def __hash__(self) -> int:
        return hash((self.mantissa, self.exponent))

    def __float__(self) -> float:
        return _ratio_float(self.mantissa, self.exponent)

    def __repr__(self) -> str:
        return f"Big({text(self)})"


Number = int | Big


def _ratio_float(mantissa: int, exponent: int) -> float:
    try:
        return mantissa / (1 << -exponent)
    except OverflowError:
        return float("inf") if mantissa > 0 else float("-inf")


def make(mantissa: int, exponent: int = 0, sticky: bool = False) -> Number:
    """Round to 512 bits and normalise. sticky: something non-zero lies below the mantissa's last bit."""
    if mantissa == 0:
        return 0
    bits = mantissa.bit_length()
    if not -limits.NUMBER_BITS_MAX < bits + exponent < limits.NUMBER_BITS_MAX:
        raise NumberError("the number is too large or too small")
    if bits > PRECISION:
        sign = -1 if mantissa < 0 else 1
        mantissa = abs(mantissa)
        drop = bits - PRECISION
        low = mantissa & ((1 << drop) - 1)
        mantissa >>= drop
        exponent += drop
        half = 1 << (drop - 1)
        if low > half or (low == half and (sticky or mantissa & 1)):
            mantissa += 1
        mantissa *= sign
    if exponent >= 0:
        return mantissa << exponent
    zeros = (mantissa & -mantissa).bit_length() - 1
    if zeros:
        strip = min(zeros, -exponent)
        mantissa >>= strip
        exponent += strip
        if exponent == 0:
            return mantissa
    return Big(mantissa, exponent)


def ratio(numerator: int, denominator: int) -> Number:
    """numerator / denominator, correctly rounded."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    sign = -1 if numerator < 0 else 1
    numerator = abs(numerator)
    shift = max(0, PRECISION + 2 - numerator.bit_length() + denominator.bit_length())
    quotient, rest = divmod(numerator << shift, denominator)
    if rest:  # a sticky bit below the quotient keeps rounding exact
        quotient = (quotient << 1) | 1
        shift += 1
    return make(sign * quotient, -shift)


def parse(literal: str) -> Number:
    """Read a decimal number. Raises NumberError if it is none or beyond the limits."""
    match = _DECIMAL.fullmatch(literal)
    if match is None:
        raise NumberError("a number is required")
    sign, whole, fraction, bare, exponent_text = match.groups()
    fraction = bare or fraction or ""
    digits = (whole or "") + fraction
    if len(digits) > limits.NUMBER_DIGITS_MAX:
        raise NumberError(f"the number has more than {limits.NUMBER_DIGITS_MAX} digits")
    exponent = -len(fraction)
    if exponent_text:
        if len(exponent_text) > 8 or abs(int(exponent_text)) > limits.NUMBER_EXPONENT_MAX:
            raise NumberError(f"the exponent is beyond {limits.NUMBER_EXPONENT_MAX}")
        exponent += int(exponent_text)
    value = int(digits)
    if sign == "-":
        value = -value
    if exponent >= 0:
        return make(value * 10**exponent)
    return ratio(value, 10**-exponent)


def of_float(value: float) -> Number:
    """The number a float shows as, which is what Go prints for one. Raises NumberError for infinities and NaN."""
    if value != value or value in (float("inf"), float("-inf")):
        raise NumberError("the result is not a finite number")
    return parse(repr(value))


def _parts(value: Number) -> tuple[int, int]:
    return (value, 0) if isinstance(value, int) else (value.mantissa, value.exponent)


def add(left: Number, right: Number) -> Number:
    """left + right."""
    left_m, left_e = _parts(left)
    right_m, right_e = _parts(right)
    low = min(left_e, right_e)
    return make((left_m << (left_e - low)) + (right_m << (right_e - low)), low)


def negate(value: Number) -> Number:
    """-value."""
    return -value if isinstance(value, int) else Big(-value.mantissa, value.exponent)


def multiply(left: Number, right: Number) -> Number:
    """left * right."""
    left_m, left_e = _parts(left)
    right_m, right_e = _parts(right)
    return make(left_m * right_m, left_e + right_e)


def divide(left: Number, right: Number) -> Number:
    """left / right. Raises NumberError for a zero divisor."""
    if right == 0:
        raise NumberError("division by zero")
    left_m, left_e = _parts(left)
    right_m, right_e = _parts(right)
    shift = left_e - right_e
    return ratio(left_m << max(shift, 0), right_m << max(-shift, 0))


def modulo(left: Number, right: Number) -> Number:
    """What is left of `left` after taking out whole `right`s; has the sign of `left`."""
    if right == 0:
        raise NumberError("division by zero")
    left_m, left_e = _parts(left)
    right_m, right_e = _parts(right)
    low = min(left_e, right_e)
    dividend, divisor = left_m << (left_e - low), right_m << (right_e - low)
    rest = abs(dividend) % abs(divisor)
    return make(-rest if dividend < 0 else rest, low)


def compare(left: Number, right: Number) -> int:
    """Negative, zero or positive as left is below, equal to or above right."""
    if isinstance(left, int) and isinstance(right, int):
        return (left > right) - (left < right)
    left_m, left_e = _parts(left)
    right_m, right_e = _parts(right)
    low = min(left_e, right_e)
    a, b = left_m << (left_e - low), right_m << (right_e - low)
    return (a > b) - (a < b)


def truncate(value: Number) -> int:
    """The whole part, towards zero."""
    if isinstance(value, int):
        return value
    size = abs(value.mantissa) >> -value.exponent
    return -size if value.mantissa < 0 else size


def floor(value: Number) -> int:
    """The nearest whole number that is not above."""
    return value if isinstance(value, int) else value.mantissa >> -value.exponent


def to_float(value: Number) -> float:
    """The nearest float; infinite if out of its range."""
    if isinstance(value, Big):
        return float(value)
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def text(value: Number) -> str:
    """The shortest decimal that reads back as the same number, never with an exponent."""
    if isinstance(value, int) and value.bit_length() <= PRECISION:
        return str(value)
    mantissa, exponent = _parts(value)
    sign = "-" if mantissa < 0 else ""
    return sign + _shortest(abs(mantissa), exponent)


def _shortest(mantissa: int, exponent: int) -> str:
    bits = mantissa.bit_length()
    if bits > PRECISION:  # trailing zeros of a big whole number
        mantissa >>= bits - PRECISION
        exponent += bits - PRECISION
    else:
        mantissa <<= PRECISION - bits
        exponent -= PRECISION - bits
    even = mantissa & 1 == 0
    # Two more bits make room for half a unit on either side, and a quarter below a power of two.
    middle, above = mantissa << 2, (mantissa << 2) + 2
    below = middle - (1 if mantissa & (mantissa - 1) == 0 else 2)
    exponent -= 2
    places = max(0, -exponent)
    scale = 5**places if exponent < 0 else 1 << exponent
    return _digits(below * scale, middle * scale, above * scale, places, even)


def _digits(below: int, middle: int, above: int, places: int, inclusive: bool) -> str:
    """The fewest digits of `middle` (with `places` decimals) that stay between the other two."""
    width = max(len(str(above)), places + 1)
    low, mid, high = (str(each).zfill(width) for each in (below, middle, above))
    low_end, high_end, mid_end = (len(each.rstrip("0")) for each in (low, high, mid))
    for at in range(mid_end):
        down = low[at] != mid[at] or (inclusive and at + 1 >= low_end)
        up = mid[at] != high[at] and (inclusive or int(mid[at]) + 1 < int(high[at]) or at + 1 < high_end)
        # Before the numbers part, nothing may be dropped.
        if low[: at + 1] == mid[: at + 1] and at + 1 < low_end:
            down = False
        if not (up or down):
            continue
        rest = mid[at + 1 :]
        half = "5" + "0" * (len(rest) - 1)
        if up and down:
            up = rest > half or (rest == half and int(mid[at]) % 2 == 1) if rest else False
        kept = int(mid[: at + 1]) + (1 if up else 0)
        mid = str(kept).zfill(at + 1) + "0" * len(rest)
        break
    if not places:
        return mid.lstrip("0") or "0"
    whole, fraction = mid[:-places].lstrip("0") or "0", mid[-places:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole
