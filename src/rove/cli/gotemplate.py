"""A small part of Go's text templates, for `-t`: fields, range, if, with, variables, pipes, a few functions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rove.errors import BadRequestError

MAX_OUTPUT = 16 * 2**20
NO_VALUE = "<no value>"

SUPPORTED = (
    "fields (.ID, .TaskGroups), range, else, if, with, end, $variables, |, parentheses, comments, and the functions "
    "len, index, print, printf, println, eq, ne, lt, le, gt, ge, and, or, not, join, toJSON"
)


def render(template: str, value: Any) -> str:
    """The text of a template for a value. Raises BadRequestError for what is not understood."""
    nodes, rest = _Parser(template).parse()
    del rest
    out: list[str] = []
    _Run(out, {"$": value}).nodes(nodes, value)
    return "".join(out)


def _fail(why: str, where: str = "") -> BadRequestError:
    place = f' in "{{{{{where}}}}}"' if where else ""
    return BadRequestError(
        "cli.bad_template", f"the template after -t was not understood{place}", why, f"understood are {SUPPORTED}"
    )


@dataclass
class _Node:
    """A piece: text, a value to print, or a block."""

    kind: str
    text: str = ""
    pipe: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    body: list[_Node] = field(default_factory=list)
    otherwise: list[_Node] = field(default_factory=list)


_ACTION = re.compile(r"\{\{(- )?(.*?)( -)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<str>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<num>-?\d+(?:\.\d+)?)|(?P<var>\$\w*)"""
    r"""|(?P<field>(?:\.\w+)+|\.)|(?P<op>:=|[|(),=])|(?P<word>\w+)|(?P<bad>\S))"""
)


class _Parser:
    def __init__(self, text: str) -> None:
        self._pieces = self._split(text)
        self._at = 0

    def _split(self, text: str) -> list[tuple[str, str]]:
        pieces: list[tuple[str, str]] = []
        at, trim = 0, False
        for found in _ACTION.finditer(text):
            plain = text[at : found.start()]
            plain = plain.lstrip() if trim else plain
            pieces.append(("text", plain.rstrip() if found[1] else plain))
            pieces.append(("action", found[2].strip()))
            at, trim = found.end(), bool(found[3])
        rest = text[at:]
        if "{{" in rest:
            raise _fail("a {{ is never closed")
        pieces.append(("text", rest.lstrip() if trim else rest))
        return pieces

    def parse(self, inside: str = "") -> tuple[list[_Node], str]:
        """The nodes up to an `end` or `else` of the block we are in, and the word that ended it."""
        nodes: list[_Node] = []
        while self._at < len(self._pieces):
            kind, text = self._pieces[self._at]
            self._at += 1
            if kind == "text":
                if text:
                    nodes.append(_Node("text", text))
                continue
            word = text.split(None, 1)[0] if text else ""
            if word in ("end", "else"):
                if not inside:
                    raise _fail(f"{word} without a block before it", text)
                return nodes, text
            if text.startswith("/*"):
                continue
            nodes.append(self._block(word, text) if word in ("range", "if", "with") else self._value(text))
        if inside:
            raise _fail(f"{inside} has no end")
        return nodes, ""

    def _block(self, word: str, text: str) -> _Node:
        names, pipe = _assignment(text[len(word) :].strip(), text)
        body, ended = self.parse(word)
        otherwise: list[_Node] = []
        if ended != "end":
            rest = ended[len("else") :].strip()
            if rest:
                # `else if x`: a block of its own, which takes our end.
                otherwise = [self._block(rest.split(None, 1)[0], rest)]
            else:
                otherwise, ended = self.parse(word)
                if ended != "end":
                    raise _fail("a second else", ended)
        return _Node(word, text, pipe, names, body, otherwise)

    def _value(self, text: str) -> _Node:
        names, pipe = _assignment(text, text)
        return _Node("set" if names else "print", text, pipe, names)


def _assignment(text: str, whole: str) -> tuple[list[str], list[Any]]:
    tokens = _tokens(text, whole)
    names: list[str] = []
    for operator in (("op", ":="), ("op", "=")):
        if operator in tokens:
            at = tokens.index(operator)
            names = [value for kind, value in tokens[:at] if kind == "var"]
            tokens = tokens[at + 1 :]
            break
    pipe, rest = _pipe(tokens, whole)
    if rest:
        raise _fail(f'"{rest[0][1]}" is too much', whole)
    return names, pipe


def _tokens(text: str, whole: str) -> list[tuple[str, Any]]:
    tokens: list[tuple[str, Any]] = []
    for found in _TOKEN.finditer(text):
        kind = str(found.lastgroup)
        if kind == "bad":
            raise _fail(f'"{found[0].strip()}" is not understood', whole)
        tokens.append((kind, found[kind]))
    return tokens


def _pipe(tokens: list[tuple[str, Any]], whole: str) -> tuple[list[Any], list[tuple[str, Any]]]:
    """Commands joined by ``|``: lists of operands; and the tokens that follow."""
    commands: list[Any] = []
    operands: list[Any] = []
    while tokens:
        kind, value = tokens[0]
        if (kind, value) == ("op", ")"):
            break
        tokens = tokens[1:]
        if (kind, value) == ("op", "|"):
            commands.append(operands)
            operands = []
        elif (kind, value) == ("op", "("):
            inner, tokens = _pipe(tokens, whole)
            if not tokens:
                raise _fail("a parenthesis is never closed", whole)
            tokens = tokens[1:]
            path = ""
            if tokens and tokens[0][0] == "field" and tokens[0][1] != ".":
                path, tokens = tokens[0][1], tokens[1:]
            operands.append(("pipe", inner, path))
        elif kind == "var" and tokens and tokens[0][0] == "field" and tokens[0][1] != ".":
            operands.append(("var", value, tokens[0][1]))
            tokens = tokens[1:]
        elif kind == "op":
            raise _fail(f'"{value}" is not understood', whole)
        else:
            operands.append((kind, value, ""))
    commands.append(operands)
    if not all(commands):
        raise _fail("a value is missing", whole)
    return commands, tokens


class _Run:
    def __init__(self, out: list[str], names: dict[str, Any]) -> None:
        self._out = out
        self._names = names
        self._size = 0

    def nodes(self, nodes: list[_Node], dot: Any) -> None:
        for node in nodes:
            self._node(node, dot)

    def _node(self, node: _Node, dot: Any) -> None:
        if node.kind == "text":
            self._write(node.text)
        elif node.kind == "range":
            self._range(node, dot)
        else:
            value = self._pipe(node.pipe, dot, node.text)
            for name in node.names:
                self._names[name] = value
            if node.kind == "print":
                self._write(_shown(value))
            elif node.kind == "if":
                self.nodes(node.body if _is_true(value) else node.otherwise, dot)
            elif node.kind == "with":
                self.nodes(node.body, value) if _is_true(value) else self.nodes(node.otherwise, dot)

    def _range(self, node: _Node, dot: Any) -> None:
        value = self._pipe(node.pipe, dot, node.text)
        pairs: list[tuple[Any, Any]]
        if isinstance(value, dict):
            pairs = sorted(value.items())
        elif isinstance(value, list):
            pairs = list(enumerate(value))
        elif value is None:
            pairs = []
        else:
            raise _fail(f"range over {_kind(value)}", node.text)
        for key, each in pairs:
            for name, bound in zip(node.names[::-1], (each, key), strict=False):
                self._names[name] = bound
            self.nodes(node.body, each)
        if not pairs:
            self.nodes(node.otherwise, dot)

    def _write(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_OUTPUT:
            raise _fail("its output is too long")
        self._out.append(text)

    def _pipe(self, commands: list[Any], dot: Any, whole: str) -> Any:
        last: list[Any] = []
        for operands in commands:
            last = [self._command(operands, last, dot, whole)]
        return last[0]

    def _command(self, operands: list[Any], piped: list[Any], dot: Any, whole: str) -> Any:
        kind, value, _ = operands[0]
        if kind == "word" and value not in ("true", "false", "nil"):
            function = FUNCTIONS.get(value)
            if function is None:
                raise _fail(f'there is no function "{value}"', whole)
            args = [self._operand(each, dot, whole) for each in operands[1:]]
            try:
                return function(*args, *piped)
            except (TypeError, ValueError, KeyError, IndexError) as error:
                raise _fail(f"{value}: {error}", whole) from None
        if len(operands) > 1 or piped:
            raise _fail("only a function takes arguments", whole)
        return self._operand(operands[0], dot, whole)

    def _operand(self, operand: Any, dot: Any, whole: str) -> Any:
        kind, value, path = operand
        if kind == "str":
            return value[1:-1] if value.startswith("`") else json.loads(value)
        if kind == "num":
            return float(value) if "." in value else int(value)
        if kind == "field":
            return _lookup(dot, value, whole)
        if kind == "pipe":
            return _lookup(self._pipe(value, dot, whole), path, whole)
        if kind == "var":
            if value not in self._names:
                raise _fail(f'there is no variable "{value}"', whole)
            return _lookup(self._names[value], path, whole)
        if value in ("true", "false", "nil"):
            return {"true": True, "false": False, "nil": None}[value]
        raise _fail(f'"{value}" is not understood as a value', whole)


def _lookup(value: Any, path: str, whole: str) -> Any:
    for name in [part for part in path.split(".") if part]:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise _fail(f'"{name}" of {_kind(value)}', whole)
        value = value.get(name)
    return value


def _kind(value: Any) -> str:
    return {list: "a list", dict: "an object", str: "a text", bool: "a truth value"}.get(type(value), "a number")


def _shown(value: Any) -> str:
    """As Go prints it."""
    if value is None:
        return NO_VALUE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + " ".join(_shown(each) for each in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_shown(each)}" for key, each in sorted(value.items())) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_true(value: Any) -> bool:
    return bool(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else value[key]
    return value


def _printf(form: str, *args: Any) -> str:
    rest = list(args)

    def one(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if not rest:
            raise ValueError(f"{found[0]} has no value")
        value = rest.pop(0)
        verb = found[0][-1]
        flags = found[0][1:-1]
        if len(flags) > 6:
            raise ValueError(f"{found[0]} is too wide")
        if verb == "q":
            return json.dumps(str(value), ensure_ascii=False)
        if verb in "sv":
            return ("%" + flags + "s") % _shown(value)
        return str(("%" + flags + verb) % value)

    return re.sub(r"%[-+ 0#]*\d*(?:\.\d+)?[svdqfgxt%]", one, form)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": lambda value: len(value or ()),
    "index": _index,
    "print": lambda *values: "".join(_shown(each) for each in values),
    "println": lambda *values: " ".join(_shown(each) for each in values) + "\n",
    "printf": _printf,
    "eq": lambda first, *others: any(first == each for each in others),
    "ne": lambda first, second: first != second,
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "and": lambda *values: next((each for each in values if not each), values[-1]),
    "or": lambda *values: next((each for each in values if each), values[-1]),
    "not": lambda value: not value,
    "join": lambda values, by: by.join(_shown(each) for each in values),
    "toJSON": lambda value: json.dumps(value, ensure_ascii=False),
}
