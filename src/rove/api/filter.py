"""Filter expressions on lists: `Status == "running" and not (Meta.team in "a" or Tags is empty)`.

The language is go-bexpr's, as its documentation describes it: ``==  !=  in  not in  contains  not contains
is empty  is not empty  matches  not matches``, ``and  or  not``, parentheses, selectors such as ``A.B``,
``Meta["k"]`` and ``"/A/B"``, and ``any X as v { ... }`` and ``all X as k, v { ... }``. Hostile text is expected:
length, depth, number of terms and work are limited, and regular expressions run in linear time (RE2).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from rove.errors import BadRequestError

MAX_LENGTH = 8192
MAX_DEPTH = 64
MAX_TERMS = 512
MAX_REGEX = 1024
MAX_QUANTIFIERS = 4
"""`any` and `all` inside one another."""
MAX_WORK = 1_000_000
"""Comparisons inside `any` and `all` in one request: these multiply, while all else grows with the list."""
MAX_INDEX_DIGITS = 9
TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})


class Work:
    """What evaluating a filter may still cost."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def spend(self, comparisons: int) -> None:
        """Count some. Raises `BadRequestError` once it is too much."""
        self._left -= comparisons
        if self._left < 0:
            raise filter_error(f"`any` and `all` in it need more than {MAX_WORK} comparisons")


class Scope(msgspec.Struct, frozen=True):
    """What the names of the quantifiers around an expression stand for, and the work that is left."""

    names: Mapping[str, Any]
    work: Work


Node = Callable[[Any, Scope], bool]
Selector = Callable[[Any, Scope], Any]


class _Missing:
    """A key that a map does not have."""


MISSING = _Missing()

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<op>==|!=|\(|\)|\{|\}|\[|\]|\.|,)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    | (?P<number>-?\d+(?:\.\d+)?(?![A-Za-z_]))
    | (?P<word>[A-Za-z_][A-Za-z0-9_/-]*)
    )""",
    re.VERBOSE,
)
_KEYWORDS = frozenset({"and", "or", "not", "in", "contains", "is", "empty", "matches", "any", "all", "as"})


class Filter:
    """An expression for one request; call it with an item to learn whether the item is wanted."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._scope = Scope({}, Work())

    def __call__(self, item: Any) -> bool:
        """True if the item matches. Raises `BadRequestError` for a field it does not have and for too much work."""
        return self._root(item, self._scope)


def parse_filter(text: str) -> Filter:
    """Parse an expression. Raises `BadRequestError` that says where it went wrong."""
    return Filter(_parse(text))


@functools.lru_cache(maxsize=256)
def _parse(text: str) -> Node:
    if len(text) > MAX_LENGTH:
        raise filter_error(f"the expression is longer than {MAX_LENGTH} characters")
    parser = _Parser(_tokens(text), text)
    root = parser.expression(0)
    parser.expect_end()
    return root


def filter_error(why: str) -> BadRequestError:
    """The error of a filter; clients look for its first words."""
    return BadRequestError("request.filter", "failed to create result paginator: the filter cannot be used", why)


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise filter_error(f"column {at + 1}: unexpected {text[at:].lstrip()[:1]!r}")
        kind, word = match.lastgroup, match.group(match.lastgroup)
        start = match.start(match.lastgroup)
        if kind == "string":
            word = word[1:-1] if word[0] == "`" else _unescape(word)
        tokens.append(_Token("keyword" if kind == "word" and word in _KEYWORDS else kind, word, start))
        at = match.end()
    return tokens


def _unescape(quoted: str) -> str:
    if "\\" not in quoted:
        return quoted[1:-1]
    try:
        return str(msgspec.json.decode(quoted.encode(), type=str))
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise filter_error(f"{quoted[:64]} is not a string") from None


class _Parser:
    """Recursive descent over the tokens; precedence from loose to tight: or, and, not."""

    def __init__(self, tokens: list[_Token], text: str) -> None:
        self._tokens = tokens
        self._text = text
        self._at = 0
        self._terms = 0
        self._quantifiers = 0

    def expression(self, depth: int) -> Node:
        """a or b or c"""
        parts = [self._conjunction(depth)]
        while self._take("keyword", "or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else lambda item, scope: any(part(item, scope) for part in parts)

    def expect_end(self) -> None:
        """Raise unless every token was used."""
        if self._at < len(self._tokens):
            raise self._unexpected("an end, `and` or `or`")

    def _conjunction(self, depth: int) -> Node:
        parts = [self._unary(depth)]
        while self._take("keyword", "and"):
            parts.append(self._unary(depth))
        return parts[0] if len(parts) == 1 else lambda item, scope: all(part(item, scope) for part in parts)

    def _unary(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise filter_error(f"nested deeper than {MAX_DEPTH}")
        if self._take("keyword", "not"):
            inner = self._unary(depth + 1)
            return lambda item, scope: not inner(item, scope)
        if self._take("op", "("):
            inner = self.expression(depth + 1)
            self._expect("op", ")")
            return inner
        return self._quantified(depth) or self._comparison()

    def _quantified(self, depth: int) -> Node | None:
        token = self._peek()
        if token is None or token.kind != "keyword" or token.text not in {"any", "all"}:
            return None
        self._at += 1
        selector = self._selector(self._next("a selector"))
        self._expect("keyword", "as")
        names = [self._expect("word")]
        if self._take("op", ","):
            names.append(self._expect("word"))
        self._expect("op", "{")
        self._quantifiers += 1
        if self._quantifiers > MAX_QUANTIFIERS:
            raise filter_error(f"more than {MAX_QUANTIFIERS} of `any` and `all` inside one another")
        before = self._terms
        inner = self.expression(depth + 1)
        self._quantifiers -= 1
        self._expect("op", "}")
        return _quantify(any if token.text == "any" else all, selector, names, inner, self._terms - before)

    def _comparison(self) -> Node:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise filter_error(f"more than {MAX_TERMS} comparisons")
        left = self._next("a selector or value")
        if left.kind in {"string", "number"} or (left.kind == "word" and self._is_value()):
            return self._membership(left)
        return self._of_selector(self._selector(left))

    def _is_value(self) -> bool:
        """True if the word just taken is a value: it is followed by `in` or `not in`."""
        token, after = self._peek(), self._peek(1)
        return (
            token is not None
            and token.kind == "keyword"
            and (token.text == "in" or (token.text == "not" and after is not None and after.text == "in"))
        )

    def _membership(self, left: _Token) -> Node:
        if left.kind == "string" and left.text.startswith("/") and not self._is_value():
            return self._of_selector(_path(left.text.strip("/").split("/")))
        is_negated = self._take("keyword", "not")
        self._expect("keyword", "in")
        selector = self._selector(self._next("a selector"))
        return _negate(_contains(selector, left.text), is_negated)

    def _of_selector(self, selector: Selector) -> Node:
        if self._take("op", "=="):
            return _equals(selector, self._value())
        if self._take("op", "!="):
            return _negate(_equals(selector, self._value()), True)
        if self._take("keyword", "is"):
            is_negated = self._take("keyword", "not")
            self._expect("keyword", "empty")
            return _negate(lambda item, scope: _is_empty(selector(item, scope)), is_negated)
        is_negated = self._take("keyword", "not")
        if self._take("keyword", "contains"):
            return _negate(_contains(selector, self._value()), is_negated)
        if self._take("keyword", "matches"):
            return _negate(_matches(selector, self._value()), is_negated)
        raise self._unexpected("an operator")

    def _selector(self, first: _Token) -> Selector:
        if first.kind == "string" and first.text.startswith("/"):
            return _path(first.text.strip("/").split("/"))
        if first.kind != "word":
            self._at -= 1
            raise self._unexpected("a selector")
        names = [first.text]
        while True:
            if self._take("op", "."):
                token = self._next("a name")
                if token.kind not in {"word", "keyword", "number"}:
                    self._at -= 1
                    raise self._unexpected("a name")
                names.append(token.text)
            elif self._take("op", "["):
                names.append(self._expect("string"))
                self._expect("op", "]")
            else:
                return _path(names)

    def _value(self) -> str:
        token = self._next("a value")
        if token.kind not in {"string", "number", "word"}:
            self._at -= 1
            raise self._unexpected("a value")
        return token.text

    def _peek(self, ahead: int = 0) -> _Token | None:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else None

    def _next(self, wanted: str) -> _Token:
        token = self._peek()
        if token is None:
            raise self._unexpected(wanted)
        self._at += 1
        return token

    def _take(self, kind: str, text: str) -> bool:
        token = self._peek()
        if token is None or token.kind != kind or token.text != text:
            return False
        self._at += 1
        return True

    def _expect(self, kind: str, text: str | None = None) -> str:
        token = self._peek()
        if token is None or token.kind != kind or (text is not None and token.text != text):
            raise self._unexpected(f"`{text}`" if text else f"a {kind}")
        self._at += 1
        return token.text

    def _unexpected(self, wanted: str) -> BadRequestError:
        token = self._peek()
        found = f"column {token.at + 1}: found {token.text[:64]!r}" if token else "at the end"
        return filter_error(f"{found} where {wanted} should be")


def _path(names: list[str]) -> Selector:
    def select(item: Any, scope: Scope) -> Any:
        if names[0] in scope.names:
            value, rest = scope.names[names[0]], names[1:]
        else:
            value, rest = item, names
        for name in rest:
            value = _get(value, name)
            if value is MISSING:
                break
        return value

    return select


def _get(value: Any, name: str) -> Any:
    if isinstance(value, msgspec.Struct):
        attribute = field_names(type(value)).get(name)
        if attribute is None:
            raise filter_error(f"{type(value).__name__} has no field {name[:64]!r}")
        return getattr(value, attribute)
    if isinstance(value, Mapping):
        return value.get(name, MISSING)
    if isinstance(value, (list, tuple)) and name.isascii() and name.isdigit():
        if len(name) > MAX_INDEX_DIGITS:
            return MISSING
        return value[int(name)] if int(name) < len(value) else MISSING
    if value is None or value is MISSING:
        return MISSING
    raise filter_error(f"{name[:64]!r} asks for a field of a plain value")


@functools.cache
def field_names(kind: type[msgspec.Struct]) -> dict[str, str]:
    """JSON key -> Python attribute of a struct."""
    return dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))


def _negate(node: Node, is_negated: bool) -> Node:
    return (lambda item, scope: not node(item, scope)) if is_negated else node


def _equals(selector: Selector, text: str) -> Node:
    return lambda item, scope: _is_equal(selector(item, scope), text)


def _is_equal(value: Any, text: str) -> bool:
    if value is None or value is MISSING:
        return False
    if isinstance(value, str):
        return value == text
    if isinstance(value, bool):
        if text not in TRUE and text not in FALSE:
            raise filter_error(f"{text[:64]!r} is neither true nor false")
        return value == (text in TRUE)
    if isinstance(value, (int, float)):
        return value == _number(text)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z") == text
    raise filter_error(f"a {type(value).__name__} cannot be compared with {text[:64]!r}")


def _number(text: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            raise filter_error(f"{text[:64]!r} is not a number") from None


def _contains(selector: Selector, text: str) -> Node:
    def test(item: Any, scope: Scope) -> bool:
        value = selector(item, scope)
        if value is None or value is MISSING:
            return False
        if isinstance(value, (str, Mapping)):
            return text in value
        if isinstance(value, (list, tuple, set, frozenset)):
            return any(_is_equal(element, text) for element in value)
        raise filter_error(f"a {type(value).__name__} contains nothing")

    return test


def _is_empty(value: Any) -> bool:
    if value is None or value is MISSING:
        return True
    if isinstance(value, (str, bytes, Mapping, list, tuple, set, frozenset)):
        return len(value) == 0
    if isinstance(value, msgspec.Struct):
        return False
    raise filter_error("`is empty` is for texts, lists and maps")


def _matches(selector: Selector, pattern: str) -> Node:
    search = _regex(pattern)

    def test(item: Any, scope: Scope) -> bool:
        value = selector(item, scope)
        if value is None or value is MISSING:
            return False
        if not isinstance(value, str):
            raise filter_error("`matches` is for texts")
        return search(value)

    return test


def _regex(pattern: str) -> Callable[[str], bool]:
    import re2  # heavy, and only filters with `matches` need it

    if len(pattern) > MAX_REGEX:
        raise filter_error(f"the regular expression is longer than {MAX_REGEX} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise filter_error(f"{pattern[:64]!r} is not a regular expression: {error}") from None
    return lambda value: compiled.search(value) is not None


def _quantify(fold: Callable[[Any], bool], selector: Selector, names: list[str], inner: Node, cost: int) -> Node:
    def test(item: Any, scope: Scope) -> bool:
        value = selector(item, scope)
        if value is None or value is MISSING:
            return fold(())
        return fold(step(item, scope, bound) for bound in _bindings(value, names))

    def step(item: Any, scope: Scope, bound: dict[str, Any]) -> bool:
        scope.work.spend(cost)
        return inner(item, Scope({**scope.names, **bound}, scope.work))

    return test


def _bindings(value: Any, names: list[str]) -> list[dict[str, Any]]:
    """What the names stand for at each step: of a list value, or index and value; of a map key, or key and value."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
        return [{names[0]: k} if len(names) == 1 else {names[0]: k, names[1]: v} for k, v in pairs]
    if isinstance(value, (list, tuple)):
        return [{names[0]: v} if len(names) == 1 else {names[0]: i, names[1]: v} for i, v in enumerate(value)]
    raise filter_error("`any` and `all` are for lists and maps")
