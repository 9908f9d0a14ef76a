"""Functions on text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.functions import FunctionError, function
from rove.jobspec.hcl.functions.arithmetic import whole
from rove.jobspec.hcl.functions.formatting import format_text
from rove.jobspec.hcl.lexer import GO_SPACE
from rove.jobspec.hcl.nodes import normal
from rove.jobspec.hcl.numbers import Number
from rove.jobspec.hcl.positions import cluster_starts, clusters
from rove.jobspec.hcl.types import ANY, NUMBER, STRING, ListOf

_LIST_OF_TEXT = ("list", STRING)


@function("chomp", STRING)
def chomp(text: str) -> str:
    return text.rstrip("\r\n")


@function("format", STRING, rest=ANY, nulls=(1,))
def format_(template: str, *arguments: Any) -> str:
    return normal(format_text(template, list(arguments)))


@function("formatlist", STRING, rest=ANY, nulls=(1,))
def format_list(template: str, *arguments: Any) -> Any:
    lengths = {len(each) for each in arguments if isinstance(each, list | tuple)}
    if len(lengths) > 1:
        raise FunctionError("all lists must have the same length")
    count = next(iter(lengths), 1)
    rows = [[each[at] if isinstance(each, list | tuple) else each for each in arguments] for at in range(count)]
    made = []
    size = 0
    for row in rows:
        made.append(normal(format_text(template, row)))
        size = _bounded(size + len(made[-1]))
    return ListOf(made, STRING)


@function("indent", NUMBER, STRING)
def indent(spaces: Number, text: str) -> str:
    count = whole(spaces, 0)
    if count < 0:
        raise FunctionError("the number of spaces must not be negative", 0)
    _bounded(len(text) + count * text.count("\n"))
    return text.replace("\n", "\n" + " " * count) if "\n" in text else text


def _bounded(size: int) -> int:
    if size > limits.TEXT_MAX:
        raise FunctionError(f"the result would have more than {limits.TEXT_MAX} characters")
    return size


@function("join", STRING, rest=_LIST_OF_TEXT)
def join(separator: str, *lists: Any) -> str:
    if not lists:
        raise FunctionError("at least one list is required")
    items: list[str] = []
    for at, each in enumerate(lists):
        if None in each:
            raise FunctionError("an element is null", at + 1)
        items.extend(each)
    _bounded(sum(map(len, items)) + len(separator) * max(0, len(items) - 1))
    return normal(separator.join(items))


@function("lower", STRING)
def lower(text: str) -> str:
    return text.lower() if text.isascii() else normal("".join([_single(char, char.lower()) for char in text]))


@function("upper", STRING)
def upper(text: str) -> str:
    return text.upper() if text.isascii() else normal("".join([_single(char, char.upper()) for char in text]))


def _single(char: str, changed: str) -> str:
    """Go maps letter by letter, so a letter that would become two stays."""
    return changed if len(changed) == 1 else "i" if char == "\u0130" else char


@function("regex_replace", STRING, STRING, STRING)
def regex_replace(text: str, pattern: str, replacement: str) -> str:
    import re2

    if len(pattern) > 4096:
        raise FunctionError("the regular expression is too long", 1)
    try:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = 8 << 20
        compiled = re2.compile(pattern, options)
    except re2.error as failure:
        reason = failure.args[0] if failure.args else ""
        shown = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise FunctionError(f"not a regular expression: {shown}", 1) from None
    template = _go_template(replacement, compiled)
    made: list[str] = []
    position = size = 0
    last_end = -1
    for match in compiled.finditer(text):
        start, end = match.span()
        if start == end == last_end:
            continue  # Go gives no empty match right after another match
        piece = text[position:start] + "".join(
            part if isinstance(part, str) else match.group(part) or "" for part in template
        )
        size = _bounded(size + len(piece))
        made.append(piece)
        position = last_end = end
    made.append(text[position:])
    return normal("".join(made))


def _go_template(replacement: str, compiled: Any) -> list[str | int]:
    """`$1`, `${1}`, `$name`, `${name}` and `$$`; groups that do not exist give nothing."""
    made: list[str | int] = []
    position = 0
    for found in re.finditer(r"\$(?:(\$)|\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))", replacement):
        made.append(replacement[position : found.start()])
        position = found.end()
        name = found[2] or found[3]
        if found[1]:
            made.append("$")
        elif name.isdigit():
            if len(name) < 4 and int(name) <= compiled.groups:
                made.append(int(name))
        elif name in compiled.groupindex:
            made.append(compiled.groupindex[name])
    made.append(replacement[position:])
    return made


@function("replace", STRING, STRING, STRING)
def replace(text: str, old: str, new: str) -> str:
    _bounded(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return normal(text.replace(old, new))


@function("reverse", STRING)
@function("strrev", STRING)
def reverse(text: str) -> str:
    return text[::-1] if text.isascii() and "\r\n" not in text else normal("".join(list(split_clusters(text))[::-1]))


@function("split", STRING, STRING)
def split(separator: str, text: str) -> Any:
    return ListOf(text.split(separator) if separator else list(text), STRING)


@function("strlen", STRING)
def strlen(text: str) -> int:
    return clusters(text) - text.count("\r\n")


@function("substr", STRING, NUMBER, NUMBER)
def substr(text: str, offset: Number, length: Number) -> str:
    start, count = whole(offset, 1), whole(length, 2)
    pieces: Any = text if text.isascii() and "\r\n" not in text else list(split_clusters(text))
    if start < 0:
        start = max(0, start + len(pieces))
    elif count == 0:
        return ""
    rest = pieces[start:]
    # With an offset from the end, cty takes a length of zero for "all of it".
    return "".join(rest if count <= 0 else rest[:count])


def split_clusters(text: str) -> Iterator[str]:
    """The user-perceived characters of a text; a carriage return and the newline after it are one."""
    begin = 0
    for at, starts in enumerate(cluster_starts(text)):
        if at and starts and not (text[at] == "\n" and text[at - 1] == "\r"):
            yield text[begin:at]
            begin = at
    if text:
        yield text[begin:]


@function("title", STRING)
def title(text: str) -> str:
    made = []
    before = " "
    for char in text:
        made.append(_single(char, char.title()) if _separates(before) else char)
        before = char
    return normal("".join(made))


def _separates(char: str) -> bool:
    if char.isascii():
        return not (char.isalnum() or char == "_")
    return char.isspace()


@function("trim", STRING, STRING)
def trim(text: str, cutset: str) -> str:
    return text.strip(cutset) if cutset else text


@function("trimprefix", STRING, STRING)
def trim_prefix(text: str, prefix: str) -> str:
    return text.removeprefix(prefix)


@function("trimsuffix", STRING, STRING)
def trim_suffix(text: str, suffix: str) -> str:
    return text.removesuffix(suffix)


@function("trimspace", STRING)
def trim_space(text: str) -> str:
    return text.strip(GO_SPACE)
