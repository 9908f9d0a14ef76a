"""A whole file with its variables, locals and dynamic blocks worked out: plain values with positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.diagnostics import Diagnostic, HclError, error
from rove.jobspec.hcl.nodes import Literal, Node
from rove.jobspec.hcl.numbers import Big
from rove.jobspec.hcl.positions import Range, Source
from rove.jobspec.hcl.scope import BudgetError, EvalError, PoisonedError, Scope, keep_as_text
from rove.jobspec.hcl.tree import Attribute, Block, Body
from rove.jobspec.hcl.types import plain, weigh

if TYPE_CHECKING:
    from rove.jobspec.hcl.functions.files import Files

_NOT_IN_THE_RESULT = frozenset({"variable", "variables", "locals"})
_PLAIN_KINDS = (str, int, bool)


class EvalAttribute:
    """An attribute with its value: str, int, float, bool, None, list or dict, nested as written."""

    __slots__ = ("_attribute", "name", "value")

    def __init__(self, attribute: Attribute, value: Any) -> None:
        self._attribute = attribute
        self.name = attribute.name
        self.value = value

    @property
    def range(self) -> Range:
        """From the name to the end of the value."""
        return self._attribute.range

    @property
    def name_range(self) -> Range:
        """The name alone."""
        return self._attribute.name_range

    @property
    def value_range(self) -> Range:
        """The value alone."""
        return self._attribute.value_range


class EvalBlock:
    """A block with its body worked out. `range` is its header, for messages."""

    __slots__ = ("_block", "body", "labels", "type")

    def __init__(self, block: Block, type: str, labels: list[str], body: EvalBody) -> None:
        self._block = block
        self.type = type
        self.labels = labels
        self.body = body

    @property
    def range(self) -> Range:
        """The header: from the type to the last label."""
        return self._block.range

    @property
    def type_range(self) -> Range:
        """The type alone."""
        return self._block.type_range

    @property
    def label_ranges(self) -> list[Range]:
        """Each label; for a block made by `dynamic`, its header instead."""
        ranges = self._block.label_ranges
        return ranges if len(ranges) == len(self.labels) else [self._block.range] * len(self.labels)


class EvalBody:
    """Attributes by name and blocks in order. `warnings`: findings that do not stop the file (root only)."""

    __slots__ = ("_body", "attributes", "blocks", "warnings")

    def __init__(self, body: Body, attributes: dict[str, EvalAttribute], blocks: list[EvalBlock]) -> None:
        self._body = body
        self.attributes = attributes
        self.blocks = blocks
        self.warnings: list[Diagnostic] = []

    @property
    def range(self) -> Range:
        """All of the body."""
        return self._body.range


def evaluate_file(
    body: Body,
    *,
    variables: Mapping[str, str] | None = None,
    var_files: Sequence[tuple[str, str | bytes]] = (),
    env: Mapping[str, str] | None = None,
    strict: bool = True,
    files: Files | None = None,
    entropy: Callable[[int], bytes] | None = None,
) -> EvalBody:
    """Work out a job file. The root keeps every block but `variable`, `variables` and `locals`.

    variables: `-var` values by name, as text. var_files: (filename, text) in the order given. env: environment;
    only NOMAD_VAR_* is looked at. strict: a var file that sets an undeclared variable is an error, else a warning.
    files: a `functions.files.Files` for the file functions; None switches these off. entropy: gives that many random
    bytes, for `bcrypt` and `uuidv4`; None takes the operating system's.
    Raises HclError with everything found.
    """
    scope = Scope({}, unknown=keep_as_text, files=files, entropy=entropy)
    evaluator = Evaluator(scope)
    wanted = {block.type for block in body.blocks} & _NOT_IN_THE_RESULT
    if wanted or variables or var_files:
        from rove.jobspec.hcl.variables import define

        scope.names.update(define(body, evaluator, variables or {}, var_files, env or {}, strict))
    else:
        scope.names.update({"var": {}, "local": {}})
    root = evaluator.body(body, scope, leave_out=_NOT_IN_THE_RESULT)
    return evaluator.finish(root)


def evaluate_body(body: Body, *, scope: Scope | None = None) -> EvalBody:
    """Work out a body that has no variables of its own. scope: None for one in which no name has a value.

    Raises HclError with everything found.
    """
    evaluator = Evaluator(scope or Scope({}))
    return evaluator.finish(evaluator.body(body, evaluator.scope))


class Evaluator:
    """Works out bodies and collects what is wrong with them."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.diagnostics: list[Diagnostic] = []
        self.blocks_made = 0

    def finish(self, root: EvalBody) -> EvalBody:
        """The result, unless there are errors: then HclError."""
        if any(each.is_error for each in self.diagnostics):
            raise HclError(_in_order(self.diagnostics))
        root.warnings = self.diagnostics
        return root

    def report(self, source: Source, failure: EvalError) -> None:
        """Keep what went wrong, unless it is but the result of something reported already.

        Raises HclError when it is pointless to go on.
        """
        if isinstance(failure, PoisonedError):
            return
        start = failure.start or 0
        end = start + 1 if failure.end is None else failure.end
        self.diagnostics.append(error(failure.summary, failure.full_detail, Range(source, start, end)))
        if isinstance(failure, BudgetError) or len(self.diagnostics) >= limits.ERRORS_MAX:
            raise HclError(_in_order(self.diagnostics))  # what comes now is costly, or noise

    def value(self, node: Node, scope: Scope, source: Source) -> tuple[Any, bool]:
        """The value of an expression and whether it has one; what is wrong is reported."""
        try:
            found = node.value(scope)
            scope.budget.hold(weigh(found, limits.TEXT_MAX))
            return found, True
        except EvalError as failure:
            if failure.start is None:
                failure.start, failure.end = node.start, node.end
            self.report(source, failure)
        except RecursionError:
            self.report(source, EvalError("Nested too deeply", "", node.start, node.end))
        return None, False

    def body(self, body: Body, scope: Scope, leave_out: frozenset[str] = frozenset()) -> EvalBody:
        """A body with everything in it."""
        attributes: dict[str, EvalAttribute] = {}
        for name, attribute in body.attributes.items():
            node = attribute.expr
            if type(node) is Literal:
                literal = node.literal
                attributes[name] = EvalAttribute(attribute, plain(literal) if type(literal) is Big else literal)
                continue
            value, known = self.value(node, scope, body.source)
            if known:
                attributes[name] = EvalAttribute(attribute, value if type(value) in _PLAIN_KINDS else plain(value))
        blocks: list[EvalBlock] = []
        for block in body.blocks:
            if block.type in leave_out:
                continue
            if block.type == "dynamic" and not leave_out:
                self.expand(block, scope, blocks)
            else:
                blocks.append(EvalBlock(block, block.type, block.labels, self.body(block.body, scope)))
        return EvalBody(body, attributes, blocks)

    def expand(self, block: Block, scope: Scope, blocks: list[EvalBlock]) -> None:
        """The blocks a `dynamic` block stands for."""
        from rove.jobspec.hcl.dynamic import expand

        try:
            expand(block, scope, blocks, self)
        except EvalError as failure:
            self.report(block.body.source, failure)
        except RecursionError:
            start = block.range.start_offset
            self.report(block.body.source, EvalError("Nested too deeply", "", start, start + 1))


def _in_order(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    def place(each: Diagnostic) -> tuple[bool, str, int]:
        where = each.range
        return (where is not None, where.filename if where else "", where.start_offset if where else 0)

    return sorted(diagnostics, key=place)


def as_map(body: EvalBody) -> dict[str, Any]:
    """A body as one dict: attributes by name, blocks as lists of dicts (labels become further levels)."""
    made: dict[str, Any] = {name: attribute.value for name, attribute in body.attributes.items()}
    for block in body.blocks:
        inner: Any = as_map(block.body)
        for label in reversed(block.labels):
            inner = {label: inner}
        earlier = made.setdefault(block.type, [])
        if isinstance(earlier, list):
            earlier.append(inner)
        else:
            made[block.type] = [earlier, inner]
    return made
