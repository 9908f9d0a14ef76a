"""Configuration in HCL, the older syntax of agent files, as a table of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rove.agent.config_decode import problems_error
from rove.agent.config_tree import Setting, Table, from_dict

if TYPE_CHECKING:
    from rove.jobspec.hcl import EvalAttribute, EvalBody, Range


def parse_hcl(text: str, filename: str) -> Table:
    """The table of a file's text. Raises BadRequestError that shows where it is wrong."""
    from rove.jobspec.hcl import HclError, evaluate_body, parse

    try:
        body = evaluate_body(parse(text, filename, hcl1=True))
    except HclError as error:
        raise problems_error([each.render() for each in error.diagnostics]) from None
    return _table(body)


def _table(body: EvalBody) -> Table:
    table = Table(where=_where(body.range))
    for name, attribute in body.attributes.items():
        table.items[name] = _item(attribute)
    for block in body.blocks:
        inner = _table(block.body)
        inner.where = _where(block.type_range)
        for label in reversed(block.labels):
            inner = Table(where=_where(block.type_range), items={label: inner})
        table.merge(Table(items={block.type: inner}))
    return table


def _item(attribute: EvalAttribute) -> Setting | Table:
    where = _where(attribute.name_range)
    value: Any = attribute.value
    if isinstance(value, dict):
        return from_dict(value, lambda _: where)
    return Setting(value, where)


def _where(place: Range) -> str:
    return f"{place.filename}:{place.start.line}"
