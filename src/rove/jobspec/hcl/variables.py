"""`variable`, `variables` and `locals` blocks, and the values that come from outside for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.constraints import TypeConstraint, constraint_of
from rove.jobspec.hcl.convert import ConvertError
from rove.jobspec.hcl.diagnostics import Diagnostic, HclError, error
from rove.jobspec.hcl.loops import names_used
from rove.jobspec.hcl.nodes import Node
from rove.jobspec.hcl.operators import condition_holds
from rove.jobspec.hcl.parser import parse, parse_expression
from rove.jobspec.hcl.positions import Range, Source
from rove.jobspec.hcl.scope import POISONED, EvalError, Scope, keep_as_text
from rove.jobspec.hcl.tree import Attribute, Block, Body
from rove.jobspec.hcl.types import ANY, NUMBER, PRIMITIVES, STRING, Value, type_of, weigh

if TYPE_CHECKING:
    from rove.jobspec.hcl.module import Evaluator

ENV_PREFIX = "NOMAD_VAR_"
_MISSING = object()


class Variable:
    """A declared variable. value: what it has been given so far."""

    __slots__ = ("constraint", "name", "place", "typed", "validations", "value")

    def __init__(self, name: str, place: Range) -> None:
        self.name = name
        self.place = place
        self.constraint = TypeConstraint(ANY)
        self.typed = False
        self.validations: list[Block] = []
        self.value: Any = _MISSING


def define(
    body: Body,
    evaluator: Evaluator,
    given: Mapping[str, str],
    var_files: Sequence[tuple[str, str | bytes]],
    env: Mapping[str, str],
    strict: bool,
) -> dict[str, Any]:
    """The objects `var` and `local`. What is wrong is reported to `evaluator`.

    Later sources win: defaults, environment, var files in order, given values.
    """
    declared = _Declarations(evaluator)
    for block in body.blocks:
        if block.type == "variable":
            declared.variable(block)
        elif block.type == "variables":
            declared.short_forms(block)
    declared.from_environment(env)
    for filename, text in var_files:
        declared.from_file(filename, text, strict)
    for name, text in given.items():
        declared.from_text(name, text, "-var")
    values = declared.settle()
    names: dict[str, Any] = {"var": values, "local": {}}
    scope = evaluator.scope.child(names)
    declared.validate(scope)
    names["local"] = _locals(body, evaluator, scope)
    return names


class _Declarations:
    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.by_name: dict[str, Variable] = {}
        self.scope = Scope({}, unknown=keep_as_text, budget=evaluator.scope.budget, files=evaluator.scope.files)

    def problem(self, summary: str, detail: str, place: Range | None) -> None:
        if len(self.evaluator.diagnostics) < limits.ERRORS_MAX:
            self.evaluator.diagnostics.append(error(summary, detail, place))

    # -- declarations ------------------------------------------------------------------------------------------

    def variable(self, block: Block) -> None:
        """`variable "name" { ... }`."""
        if len(block.labels) != 1:
            self.problem("Wrong labels", "variable takes one label: its name", block.range)
            return
        name = block.labels[0]
        if not self._usable(name, block.label_ranges[0]):
            return
        made = self.by_name[name] = Variable(name, block.range)
        attributes = block.body.attributes
        for other, attribute in attributes.items():
            if other not in ("type", "default", "description", "sensitive"):
                self.problem("Unknown argument", f'variable takes no argument "{other}"', attribute.name_range)
        for inner in block.body.blocks:
            if inner.type == "validation" and not inner.labels:
                made.validations.append(inner)
            else:
                self.problem("Unknown block", f'variable takes no block "{inner.type}"', inner.range)
        if "description" in attributes:
            self.evaluator.value(attributes["description"].expr, self.scope, block.body.source)
        if "type" in attributes:
            self._type(made, attributes["type"], block.body)
        if "default" in attributes:
            self._default(made, attributes["default"], block.body.source)

    def _usable(self, name: str, place: Range) -> bool:
        earlier = self.by_name.get(name)
        if earlier is not None:
            detail = f'variable "{name}" is declared on line {earlier.place.start.line} already'
            self.problem("Variable declared twice", detail, place)
            return False
        if not name.replace("-", "_").isidentifier():
            self.problem("Invalid variable name", "a name has letters, digits, _ and -", place)
            return False
        return True

    def _type(self, made: Variable, attribute: Attribute, body: Body) -> None:
        try:
            made.constraint = constraint_of(attribute.expr, body.json)
            made.typed = True
        except EvalError as failure:
            self.evaluator.report(body.source, failure)
            made.value = POISONED

    def _default(self, made: Variable, attribute: Attribute, source: Source) -> None:
        value, known = self.evaluator.value(attribute.expr, self.scope, source)
        if made.value is POISONED or not known:
            made.value = POISONED
            return
        if not made.typed:
            have = type_of(value)
            made.value = value
            if have in PRIMITIVES:  # the default of an untyped variable decides its type
                made.constraint = TypeConstraint(have)
            return
        try:
            made.value = made.constraint.apply(value)
        except ConvertError as failure:
            made.value = POISONED
            detail = f'the default of "{made.name}" does not fit its type: {failure}'
            self.problem("Unsuitable default", detail, attribute.value_range)

    def short_forms(self, block: Block) -> None:
        """`variables { name = default }`."""
        if block.labels:
            self.problem("Wrong labels", "variables takes no label", block.range)
        for inner in block.body.blocks:
            self.problem("Unknown block", f'variables takes no block "{inner.type}"', inner.range)
        for name, attribute in block.body.attributes.items():
            if self._usable(name, attribute.name_range):
                made = self.by_name[name] = Variable(name, attribute.name_range)
                self._default(made, attribute, block.body.source)

    # -- values from outside -----------------------------------------------------------------------------------

    def from_environment(self, env: Mapping[str, str]) -> None:
        """NOMAD_VAR_name; those of undeclared variables are ignored."""
        for name in self.by_name:
            text = env.get(ENV_PREFIX + name)
            if text is not None:
                self.from_text(name, text, ENV_PREFIX + name)

    def from_text(self, name: str, text: str, origin: str) -> None:
        """A value given as text: taken as it is for strings and numbers, as an expression for other types."""
        variable = self.by_name.get(name)
        if variable is None:
            self.problem(
                "Undeclared variable", f'"{name}" is set with {origin}, but the file declares no such variable', None
            )
            return
        source: Source | None = None
        try:
            value: Any = text
            type = variable.constraint.type
            literal = type in (STRING, NUMBER) or (type == ANY and not variable.typed and variable.value is _MISSING)
            if len(text) > limits.SOURCE_BYTES_MAX:
                raise ConvertError("the text is too long")
            if not literal:
                node, source = parse_expression(text, f"<value for var.{name} from {origin}>")
                value = node.value(Scope({}, budget=self.scope.budget, functions=False))
            self._assign(variable, value)
        except EvalError as failure:
            place = Range(source, failure.start or 0, failure.end or 1) if source else None
            self._reject(variable, f"{failure.summary}: {failure.detail}", place)
        except ConvertError as failure:
            self._reject(variable, f"the value for var.{name} from {origin}: {failure}", None)
        except HclError as failure:
            variable.value = POISONED
            self.evaluator.diagnostics.extend(failure.diagnostics)

    def _assign(self, variable: Variable, value: Value) -> None:
        variable.value = variable.constraint.apply(value)

    def _reject(self, variable: Variable, detail: str, place: Range | None) -> None:
        variable.value = POISONED
        self.problem("Unsuitable value for a variable", detail, place)

    def from_file(self, filename: str, text: str | bytes, strict: bool) -> None:
        """`name = value` lines; nothing but constants."""
        try:
            body = parse(text, filename)
        except HclError as failure:
            self.evaluator.diagnostics.extend(failure.diagnostics)
            return
        for block in body.blocks:
            self.problem("Unknown block", "a file of values has only name = value lines", block.range)
        scope = Scope({}, budget=self.scope.budget, functions=False)
        for name, attribute in body.attributes.items():
            variable = self.by_name.get(name)
            if variable is None:
                severity = "error" if strict else "warning"
                detail = f'the job file declares no variable "{name}"'
                self.evaluator.diagnostics.append(
                    Diagnostic(severity, "Undeclared variable", detail, attribute.name_range)
                )
                continue
            value, known = self.evaluator.value(attribute.expr, scope, body.source)
            if not known:
                variable.value = POISONED
                continue
            try:
                self._assign(variable, value)
            except ConvertError as failure:
                detail = f'"{name}" does not fit the type of the variable: {failure}'
                self._reject(variable, detail, attribute.value_range)

    # -- results -----------------------------------------------------------------------------------------------

    def settle(self) -> dict[str, Any]:
        """Values by name."""
        values: dict[str, Any] = {}
        for name, variable in self.by_name.items():
            if variable.value is _MISSING:
                detail = f'"{name}" has no default, so it must be given with -var, -var-file or {ENV_PREFIX}{name}'
                self.problem("Unset variable", detail, variable.place)
                variable.value = POISONED
            values[name] = variable.value
        return values

    def validate(self, scope: Scope) -> None:
        """Check every `validation` block whose variable has a value."""
        for variable in self.by_name.values():
            for block in variable.validations:
                self._validate_one(variable, block, scope)

    def _validate_one(self, variable: Variable, block: Block, scope: Scope) -> None:
        source = block.body.source
        condition = block.body.attributes.get("condition")
        message = block.body.attributes.get("error_message")
        for name, attribute in block.body.attributes.items():
            if name not in ("condition", "error_message"):
                self.problem("Unknown argument", f'validation takes no argument "{name}"', attribute.name_range)
        if condition is None or message is None:
            self.problem("Argument missing", "validation needs condition and error_message", block.range)
            return
        if not self._refers_to_self(variable, condition.expr, source):
            return
        text, known = self.evaluator.value(message.expr, scope, source)
        if known and not (isinstance(text, str) and text.strip()):
            self.problem("Unsuitable message", "error_message must be a text that says something", message.value_range)
            return
        if variable.value is POISONED:
            return
        try:
            if not condition_holds(condition.expr, scope):
                detail = str(text) if known else "the condition does not hold"
                self.problem(f'Invalid value for variable "{variable.name}"', detail, variable.place)
        except EvalError as failure:
            self.evaluator.report(source, failure)

    def _refers_to_self(self, variable: Variable, node: Node, source: Source) -> bool:
        found = False
        for used in names_used(node):
            is_self = used.root == "var" and bool(used.steps) and used.steps[0][1] == variable.name
            if not is_self:
                detail = f"it may refer only to var.{variable.name}"
                self.problem("Invalid reference in a validation", detail, Range(source, used.start, used.end))
                return False
            found = True
        if not found:
            detail = f"it must refer to var.{variable.name}"
            self.problem("Invalid condition", detail, Range(source, node.start, node.end))
        return found


# -- locals ------------------------------------------------------------------------------------------------------


def _locals(body: Body, evaluator: Evaluator, scope: Scope) -> dict[str, Any]:
    """Local values by name, each worked out after those it refers to."""
    definitions: dict[str, Attribute] = {}
    source = body.source
    for block in body.blocks:
        if block.type != "locals":
            continue
        if block.labels or block.body.blocks:
            place = block.range if block.labels else block.body.blocks[0].range
            evaluator.diagnostics.append(error("Invalid locals", "locals holds only name = value lines", place))
        for name, attribute in block.body.attributes.items():
            if name in definitions:
                line = definitions[name].name_range.start.line
                detail = f'"{name}" is defined on line {line} already'
                evaluator.diagnostics.append(error("Local value defined twice", detail, attribute.name_range))
            else:
                definitions[name] = attribute
    values: dict[str, Any] = {}
    inner = scope.child({"local": values})
    for name in _order(definitions, evaluator, values):
        value, known = evaluator.value(definitions[name].expr, inner, source)
        if known and weigh(value, limits.ITEMS_MAX * 4) > limits.TEXT_MAX:
            evaluator.report(
                source, EvalError("Too large", "", definitions[name].expr.start, definitions[name].expr.end)
            )
            known = False
        values[name] = value if known else POISONED
    return values


def _order(definitions: dict[str, Attribute], evaluator: Evaluator, values: dict[str, Any]) -> list[str]:
    """Names so that each comes after those it needs. Those in a circle are reported and get no value."""
    needs = {name: _needs(attribute.expr, definitions) for name, attribute in definitions.items()}
    order: list[str] = []
    done: set[str] = set()
    for root in definitions:
        if root in done:
            continue
        path = [root]
        places = {root: 0}
        rest = [iter(needs[root])]
        back = [1]  # for each name of the path: the earliest place that it leads back to, beyond its own if none
        while path:
            following = next(rest[-1], None)
            if following is None:
                at = len(path) - 1
                name = path.pop()
                rest.pop()
                done.add(name)
                del places[name]
                earliest = back.pop()
                if earliest > at:
                    order.append(name)
                else:
                    values[name] = POISONED
                    if at:
                        back[-1] = min(back[-1], earliest)
            elif following in places:
                at = places[following]
                if at < back[-1]:
                    _report_circle(path[at:][:10], following, definitions, evaluator)
                    back[-1] = at
            elif following not in done:
                places[following] = len(path)
                path.append(following)
                rest.append(iter(needs[following]))
                back.append(len(path))
    return order


def _report_circle(circle: list[str], closed_by: str, definitions: dict[str, Attribute], evaluator: Evaluator) -> None:
    shown = " -> ".join(f"local.{each}" for each in [*circle, closed_by])
    place = definitions[closed_by].name_range
    if not any(each.range == place for each in evaluator.diagnostics[-limits.ERRORS_MAX :]):
        evaluator.report(
            place.source, EvalError("Local values in a circle", shown, place.start_offset, place.end_offset)
        )


def _needs(node: Node, definitions: dict[str, Attribute]) -> list[str]:
    """The local values that an expression refers to. All of them at once are itself too: a circle."""
    needed: dict[str, None] = {}
    for used in names_used(node):
        if used.root == "local":
            key = used.steps[0][1] if used.steps else None
            if key is None:
                return [name for name, each in definitions.items() if each.expr is node]
            if key in definitions:
                needed[key] = None
    return list(needed)
