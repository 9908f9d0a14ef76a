"""`dynamic` blocks: one block for each element of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.convert import ConvertError, to_text
from rove.jobspec.hcl.nodes import Literal, Node, Traversal, TupleNode
from rove.jobspec.hcl.scope import BudgetError, EvalError, Scope
from rove.jobspec.hcl.tree import Block
from rove.jobspec.hcl.types import friendly, items_of, type_of

if TYPE_CHECKING:
    from rove.jobspec.hcl.module import EvalBlock, Evaluator

_ARGUMENTS = frozenset({"for_each", "iterator", "labels"})


def expand(block: Block, scope: Scope, blocks: list[EvalBlock], evaluator: Evaluator) -> None:
    """Append what `block` stands for to `blocks`. Raises EvalError."""
    from rove.jobspec.hcl.module import EvalBlock

    content = _content(block)
    iterator = _iterator(block)
    labels = block.body.attributes.get("labels")
    for key, each in _elements(block, scope):
        evaluator.blocks_made += 1
        if evaluator.blocks_made > limits.BLOCKS_MAX:
            raise BudgetError("Too many blocks", f"a file may make {limits.BLOCKS_MAX} dynamic blocks", *_header(block))
        inner = scope.child({iterator: {"key": key, "value": each}})
        names = _labels(labels.expr, inner) if labels is not None else list(content.labels)
        failures = len(evaluator.diagnostics)
        made = EvalBlock(block, block.labels[0], names, evaluator.body(content.body, inner))
        made._block = _Placed(block, content)
        blocks.append(made)
        if len(evaluator.diagnostics) > failures:
            return  # the next round would only say the same again


class _Placed(Block):
    """A block that `dynamic` made: its type is the label of the dynamic block."""

    __slots__ = ()

    def __init__(self, origin: Block, content: Block) -> None:
        super().__init__(content.body.source, origin.labels[0], [], content.body, _header(origin), [])


def _header(block: Block) -> tuple[int, int]:
    return block.range.start_offset, block.range.end_offset


def _content(block: Block) -> Block:
    if len(block.labels) != 1:
        raise EvalError("Wrong labels", "dynamic takes one label: the type of block to make", *_header(block))
    for name, attribute in block.body.attributes.items():
        if name not in _ARGUMENTS:
            place = attribute.name_range
            detail = f'dynamic takes for_each, iterator, labels and a content block, not "{name}"'
            raise EvalError("Unknown argument", detail, place.start_offset, place.end_offset)
    if "for_each" not in block.body.attributes:
        raise EvalError("Argument missing", "dynamic needs for_each", *_header(block))
    contents = [each for each in block.body.blocks if each.type == "content"]
    others = [each for each in block.body.blocks if each.type != "content"]
    if others:
        raise EvalError("Unknown block", 'only a "content" block can stand here', *_header(others[0]))
    if len(contents) != 1:
        raise EvalError("Content", "dynamic needs exactly one content block", *_header(block))
    if contents[0].labels:
        raise EvalError("Labels on content", "write them in the labels argument", *_header(contents[0]))
    return contents[0]


def _iterator(block: Block) -> str:
    attribute = block.body.attributes.get("iterator")
    if attribute is None:
        return block.labels[0]
    node = attribute.expr
    if isinstance(node, Traversal) and not node.steps:
        return node.root
    if block.body.json and isinstance(node, Literal) and isinstance(node.literal, str):
        return node.literal
    raise node.fail("Unsuitable iterator", "it must be a single name")


def _elements(block: Block, scope: Scope) -> list[tuple[Any, Any]]:
    node = block.body.attributes["for_each"].expr
    many = node.value(scope)
    if many is None:
        raise node.fail("Loop over null", "for_each must not be null")
    if not isinstance(many, list | tuple | dict):
        raise node.fail("Loop over a single value", f"for_each must be a collection, not {friendly(type_of(many))}")
    return items_of(many)


def _labels(node: Node, scope: Scope) -> list[str]:
    if not isinstance(node, TupleNode):
        raise node.fail("Unsuitable labels", "labels must be written as a list of texts")
    return [_label(each, scope) for each in node.items]


def _label(node: Node, scope: Scope) -> str:
    found = node.value(scope)
    if found is None:
        raise node.fail("Null label", "a label must not be null")
    try:
        return to_text(found)
    except ConvertError as failure:
        raise node.fail("Unsuitable label", str(failure)) from None
