"""The verbs of `format` and `formatlist`."""

from __future__ import annotations

import re
from typing import Any

from rove.jobspec.hcl import limits, numbers
from rove.jobspec.hcl.convert import ConvertError, to_bool, to_number, to_text
from rove.jobspec.hcl.functions import FunctionError
from rove.jobspec.hcl.numbers import Number
from rove.jobspec.hcl.positions import clusters

SHORTEST_EXPONENT = 6  # from here on the shortest form has an exponent

_VERB = re.compile(
    r"%(?P<flags>[ +\-#0]*)(?P<width>[0-9]*)(?P<precision>\.[0-9]*)?(?:\[(?P<place>[0-9]+)\])?(?P<mode>.)?", re.DOTALL
)


class _Verb:
    """One verb. precision: None if not given."""

    __slots__ = ("flags", "mode", "precision", "raw", "width")

    def __init__(self, found: re.Match[str]) -> None:
        self.raw = found[0]
        self.flags = found["flags"]
        self.width = _small(found["width"] or "0", self.raw)
        precision = found["precision"]
        self.precision = None if precision is None else _small(precision[1:] or "0", self.raw)
        self.mode = found["mode"]


def _small(digits: str, raw: str) -> int:
    if len(digits) > 9 or int(digits) > limits.FORMAT_WIDTH_MAX:
        raise FunctionError(f"width and precision may be at most {limits.FORMAT_WIDTH_MAX}: {raw[:40]}", 0)
    return int(digits)


def format_text(template: str, arguments: list[Any]) -> str:
    """The template with its verbs filled in. Raises FunctionError."""
    made: list[str] = []
    position = following = used = size = 0
    while (at := template.find("%", position)) >= 0:
        made.append(template[position:at])
        found = _VERB.match(template, at)
        if found is None or not found["mode"]:
            raise FunctionError("the format ends within a verb", 0)
        position = found.end()
        if found["mode"] == "%" and len(found[0]) == 2:
            made.append("%")
            continue
        verb = _Verb(found)
        if found["place"] is not None:
            following = _small(found["place"], verb.raw) - 1
            if following < 0:
                raise FunctionError("arguments are counted from 1", 0)
        if following >= len(arguments):
            raise FunctionError(f"no argument for {verb.raw}: there are only {len(arguments)}", 0)
        piece = _verb_text(verb, arguments[following], following + 1)
        size += len(piece)
        if size > limits.TEXT_MAX:
            raise FunctionError(f"the result would have more than {limits.TEXT_MAX} characters")
        made.append(piece)
        following += 1
        used = max(used, following)
    if used < len(arguments):
        raise FunctionError(f"the format uses only {used} of {len(arguments)} arguments", used + 1)
    made.append(template[position:])
    return "".join(made)


def _verb_text(verb: _Verb, value: Any, argument: int) -> str:
    if value is None and verb.mode != "v":
        raise FunctionError(f"null does not fit {verb.raw}", argument)
    try:
        if verb.mode == "v":
            return _pad(verb, _as_is(verb, value))
        if verb.mode == "t":
            return "true" if to_bool(value) else "false"
        if verb.mode in "bdoxX":
            return _integer(verb, to_number(value), argument)
        if verb.mode in "eEfgG":
            return _fraction(verb, to_number(value))
        if verb.mode in "sq":
            return _text(verb, to_text(value))
    except ConvertError as failure:
        raise FunctionError(f"the value does not fit {verb.raw}: {failure}", argument) from None
    raise FunctionError(f'there is no verb "{verb.raw}"', 0)


def _as_is(verb: _Verb, value: Any) -> str:
    if "#" not in verb.flags:
        if isinstance(value, str):
            return value
        if numbers_only(value):
            return _general_shortest(value)
    from rove.jobspec.hcl.functions.encoding import to_json

    return to_json(value)


def numbers_only(value: Any) -> bool:
    """Whether a value is a number (bool is none)."""
    return isinstance(value, int | numbers.Big) and not isinstance(value, bool)


def _text(verb: _Verb, text: str) -> str:
    if verb.precision:
        from rove.jobspec.hcl.functions.text import split_clusters

        pieces = list(split_clusters(text)) if not text.isascii() else text
        text = "".join(pieces[: verb.precision])
    if verb.mode == "q":
        from rove.jobspec.hcl.functions.encoding import to_json

        text = to_json(text)
    return _pad(verb, text)


def _pad(verb: _Verb, text: str) -> str:
    missing = verb.width - clusters(text)
    if missing <= 0:
        return text
    fill = ("0" if "0" in verb.flags else " ") * missing
    return text + fill if "-" in verb.flags else fill + text


def _pad_number(verb: _Verb, sign: str, digits: str, zeros: bool) -> str:
    missing = verb.width - len(sign) - len(digits)
    if missing > 0 and "-" not in verb.flags and zeros and "0" in verb.flags:
        return sign + "0" * missing + digits
    return (sign + digits).ljust(verb.width) if "-" in verb.flags else (sign + digits).rjust(verb.width)


def _sign(verb: _Verb, negative: bool) -> str:
    return "-" if negative else "+" if "+" in verb.flags else " " if " " in verb.flags else ""


def _integer(verb: _Verb, number: Number, argument: int) -> str:
    if not isinstance(number, int):
        raise FunctionError(f"a whole number is needed for {verb.raw}", argument)
    size = abs(number)
    digits = _short(size) if verb.mode == "d" else format(size, verb.mode)
    if verb.precision is not None:
        digits = "" if verb.precision == 0 and size == 0 else digits.rjust(verb.precision, "0")
    prefix = {"o": "0", "x": "0x", "X": "0X", "b": "0b"}.get(verb.mode, "") if "#" in verb.flags else ""
    return _pad_number(verb, _sign(verb, number < 0) + prefix, digits, verb.precision is None)


def _short(size: int) -> str:
    return numbers.text(size) if size.bit_length() <= numbers.PRECISION else str(size)


def _digits(number: Number) -> tuple[str, int]:
    """(digits without zeros around them, exponent): 0.digits * 10**exponent, by the shortest text."""
    whole, _, fraction = numbers.text(number).lstrip("-").partition(".")
    whole = whole.lstrip("0")
    digits = whole + fraction
    exponent = len(whole)
    if not whole:
        stripped = fraction.lstrip("0")
        exponent = -(len(fraction) - len(stripped))
        digits = stripped
    return digits.rstrip("0"), exponent if digits.strip("0") else 0


def _exact_digits(number: Number, places: int) -> str:
    """Digits of |number| rounded half to even at `places` decimals, as one whole number."""
    mantissa, exponent = (abs(number), 0) if isinstance(number, int) else (abs(number.mantissa), number.exponent)
    scale = 10 ** max(places, 0)
    numerator, denominator = mantissa * scale, 1 << -exponent
    if places < 0:
        denominator *= 10**-places
    quotient, rest = divmod(numerator, denominator)
    if rest * 2 > denominator or (rest * 2 == denominator and quotient & 1):
        quotient += 1
    return str(quotient)


def _fraction(verb: _Verb, number: Number) -> str:
    negative = numbers.compare(number, 0) < 0
    mode = verb.mode.lower()
    if mode == "f":
        places = 6 if verb.precision is None else verb.precision
        digits = _exact_digits(number, places).rjust(places + 1, "0")
        body = f"{digits[:-places]}.{digits[-places:]}" if places else digits
        if "#" in verb.flags and not places:
            body += "."
    elif mode == "e":
        body = _scientific(number, 6 if verb.precision is None else verb.precision)
    elif verb.precision is None:
        body = _general_shortest(number).lstrip("-")
    else:
        body = _general(number, verb.precision or 1)
    return _pad_number(verb, _sign(verb, negative), body.upper() if verb.mode in "EG" else body, True)


def _rounded(number: Number, count: int) -> tuple[str, int]:
    """`count` significant digits and the exponent of 0.digits."""
    _, exponent = _digits(number)
    digits = _exact_digits(number, count - exponent)
    if len(digits) > count:  # rounding carried over
        digits, exponent = digits[:count], exponent + 1
    return digits.ljust(count, "0"), exponent


def _scientific(number: Number, places: int) -> str:
    if number == 0:
        digits, exponent = "0" * (places + 1), 1
    else:
        digits, exponent = _rounded(number, places + 1)
    return _with_exponent(digits, exponent - 1)


def _with_exponent(digits: str, exponent: int) -> str:
    body = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{body}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _general(number: Number, precision: int) -> str:
    if number == 0:
        return "0"
    digits, exponent = _rounded(number, precision)
    digits = digits.rstrip("0") or "0"
    if exponent - 1 < -4 or exponent - 1 >= precision:
        return _with_exponent(digits, exponent - 1)
    return _plain(digits, exponent)


def _general_shortest(number: Number) -> str:
    if number == 0:
        return "0"
    sign = "-" if numbers.compare(number, 0) < 0 else ""
    digits, exponent = _digits(number)
    if exponent - 1 < -4 or exponent - 1 >= SHORTEST_EXPONENT:
        return sign + _with_exponent(digits, exponent - 1)
    return sign + _plain(digits, exponent)


def _plain(digits: str, exponent: int) -> str:
    if exponent <= 0:
        return f"0.{'0' * -exponent}{digits}"
    if exponent >= len(digits):
        return digits + "0" * (exponent - len(digits))
    return f"{digits[:exponent]}.{digits[exponent:]}"
