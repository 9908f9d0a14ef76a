"""The functions a job file may call, and how a call is made. Each group of functions is loaded on first use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.convert import ConvertError, convert
from rove.jobspec.hcl.numbers import NumberError
from rove.jobspec.hcl.scope import BudgetError, EvalError, Scope
from rove.jobspec.hcl.types import Type, weigh

if TYPE_CHECKING:
    from rove.jobspec.hcl.nodes import Call

# Which module has which function.
_MODULES = {
    "arithmetic": "abs ceil floor log max min parseint pow signum",
    "text": (
        "chomp format formatlist indent join lower regex_replace replace reverse split strlen strrev substr title trim "
        "trimprefix trimspace trimsuffix upper"
    ),
    "collections": (
        "chunklist coalesce coalescelist compact concat contains distinct element flatten index keys length lookup "
        "merge range setintersection setproduct setunion slice sort values zipmap"
    ),
    "encoding": "base64decode base64encode csvdecode jsondecode jsonencode urlencode yamldecode yamlencode",
    "crypto": "bcrypt md5 rsadecrypt sha1 sha256 sha512 uuidv4 uuidv5",
    "dates": "formatdate timeadd",
    "addresses": "cidrhost cidrnetmask cidrsubnet cidrsubnets",
    "files": "abspath basename dirname file filebase64 fileexists fileset pathexpand",
}
HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}
# Steps of one call, by module; most take two. What a call reads and makes is charged too, one step for so many
# characters (as a power of two, by name): 64, but more where a value is only looked at or copied by C code.
_COSTS = {"addresses": 12, "dates": 15, "encoding": 8}
_SHIFTS = {
    **dict.fromkeys(["element", "file", "fileexists", "filebase64", "index", "length", "lookup"], 10),
    **dict.fromkeys(["base64decode", "base64encode", "join", "md5", "sha1", "sha256", "sha512", "split", "trim"], 8),
    **dict.fromkeys(["indent", "lower", "replace", "trimprefix", "trimspace", "trimsuffix", "upper"], 8),
    **dict.fromkeys(["contains", "regex_replace"], 5),
}
SPECIAL = frozenset({"can", "convert", "try"})  # these see the expressions, not only their values
NAMES = frozenset(HOMES) | SPECIAL


class FunctionError(Exception):
    """A call that cannot be answered. argument: which one is to blame, from 0; None: the call as a whole."""

    def __init__(self, detail: str, argument: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.argument = argument


class Function:
    """A function's code and the types its arguments are converted to first.

    rest: the type of further arguments, if it takes any number. nulls: positions that may be null.
    scoped: the code gets the scope as its first argument.
    """

    __slots__ = ("code", "name", "nulls", "parameters", "rest", "scoped")

    def __init__(
        self,
        name: str,
        code: Callable[..., Any],
        parameters: tuple[Type, ...],
        rest: Type | None,
        nulls: frozenset[int],
        scoped: bool,
    ) -> None:
        self.name = name
        self.code = code
        self.parameters = parameters
        self.rest = rest
        self.nulls = nulls
        self.scoped = scoped


_loaded: dict[str, Function] = {}


def function(
    name: str, *parameters: Type, rest: Type | None = None, nulls: tuple[int, ...] = (), scoped: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make the decorated code available under `name`."""

    def register(code: Callable[..., Any]) -> Callable[..., Any]:
        _loaded[name] = Function(name, code, parameters, rest, frozenset(nulls), scoped)
        return code

    return register


def find(name: str) -> Function | None:
    """The function of that name, None if there is none."""
    found = _loaded.get(name)
    if found is None and name in HOMES:
        import_module(f"{__name__}.{HOMES[name]}")
        found = _loaded.get(name)
    return found


def call(node: Call, scope: Scope) -> Any:
    """The value of a call. Raises EvalError."""
    if not scope.functions:
        raise node.fail("Function call", "functions cannot be called here")
    scope.budget.step()
    if node.name in SPECIAL:
        from rove.jobspec.hcl.functions import special

        return special.call(node, scope)
    found = find(node.name)
    if found is None:
        failure = EvalError("Unknown function", f'there is no function "{node.name}"', node.start, node.name_end)
        failure.mistyped = (node.name, sorted(NAMES))
        raise failure
    arguments, places = _arguments(node, scope)
    _check_count(found, len(arguments), node)
    prepared = []
    size = 0
    for at, value in enumerate(arguments):
        size += weigh(value, limits.TEXT_MAX)
        wanted = found.parameters[at] if at < len(found.parameters) else found.rest
        prepared.append(_prepare(found, at, value, wanted, places[at]))
    scope.budget.hold(size, limits.TEXT_MAX)
    scope.budget.step(_COSTS.get(HOMES[node.name], 2) + (size >> _SHIFTS.get(node.name, 6)))
    return _run(found, prepared, places, node, scope)


def _run(found: Function, arguments: list[Any], places: list[tuple[int, int]], node: Call, scope: Scope) -> Any:
    try:
        result = found.code(scope, *arguments) if found.scoped else found.code(*arguments)
    except FunctionError as failure:
        at = failure.argument
        start, end = places[at] if at is not None and at < len(places) else (node.start, node.end)
        raise EvalError(f"{node.name}() failed", failure.detail, start, end) from None
    except (ConvertError, NumberError) as failure:
        raise EvalError(f"{node.name}() failed", str(failure), node.start, node.end) from None
    except BudgetError as failure:
        failure.start, failure.end = node.start, node.end
        raise
    if not isinstance(result, int | bool):
        weight = weigh(result, limits.TEXT_MAX)
        scope.budget.hold(weight)
        scope.budget.step(weight >> _SHIFTS.get(found.name, 6))
    return result


def _arguments(node: Call, scope: Scope) -> tuple[list[Any], list[tuple[int, int]]]:
    values = [each.value(scope) for each in node.arguments]
    places = [(each.start, each.end) for each in node.arguments]
    if not node.spread:
        return values, places
    many, place = values.pop(), places.pop()
    if not isinstance(many, list | tuple):
        raise EvalError("Unsuitable argument", '"..." needs a list, set or tuple before it', *place)
    values.extend(many)
    places.extend([place] * len(many))
    return values, places


def _check_count(found: Function, count: int, node: Call) -> None:
    wanted = len(found.parameters)
    if count < wanted:
        least = "at least " if found.rest is not None else ""
        raise node.fail("Argument missing", f"{found.name}() takes {least}{wanted}, not {count}")
    if found.rest is None and count > wanted:
        raise node.fail("Too many arguments", f"{found.name}() takes {wanted}, not {count}")


def _prepare(found: Function, at: int, value: Any, wanted: Type | None, place: tuple[int, int]) -> Any:
    if value is None and min(at, len(found.parameters)) not in found.nulls:
        raise EvalError("Null argument", f"argument {at + 1} of {found.name}() must not be null", *place)
    try:
        return convert(value, wanted)
    except ConvertError as failure:
        raise EvalError("Unsuitable argument", f"argument {at + 1} of {found.name}(): {failure}", *place) from None
