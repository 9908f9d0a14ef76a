"""HCL2 in pure Python: text in, values with positions out. No I/O; nothing here blocks or touches the machine.

    body = parse(text, "web.hcl")                      # syntax only: HclError(diagnostics) on failure
    root = evaluate_file(body, variables={"n": "3"})   # variables, locals, functions, dynamic blocks done
    root.blocks[0].body.attributes["count"].value      # a plain Python value, with .range beside it

Every failure is an `HclError` that carries all the `Diagnostic`s found; `render(diagnostics)` makes them text.
Names the file does not define (``${attr.kernel.name}``) evaluate to their own source text, for the node to fill in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rove.jobspec.hcl.diagnostics import Diagnostic, HclError, render
from rove.jobspec.hcl.positions import Position, Range, Source
from rove.jobspec.hcl.tree import Attribute, Block, Body

if TYPE_CHECKING:
    from rove.jobspec.hcl.format import format_source
    from rove.jobspec.hcl.json_form import parse_json
    from rove.jobspec.hcl.module import EvalAttribute, EvalBlock, EvalBody, as_map, evaluate_body, evaluate_file
    from rove.jobspec.hcl.parser import parse, parse_expression

__all__ = [
    "Attribute",
    "Block",
    "Body",
    "Diagnostic",
    "EvalAttribute",
    "EvalBlock",
    "EvalBody",
    "HclError",
    "Position",
    "Range",
    "Source",
    "as_map",
    "evaluate_body",
    "evaluate_file",
    "format_source",
    "parse",
    "parse_expression",
    "parse_json",
    "render",
]

# Loaded on first use, so that importing the package stays cheap for programs that only want the names.
_HOMES = {
    "EvalAttribute": "module",
    "EvalBlock": "module",
    "EvalBody": "module",
    "as_map": "module",
    "evaluate_body": "module",
    "evaluate_file": "module",
    "format_source": "format",
    "parse": "parser",
    "parse_expression": "parser",
    "parse_json": "json_form",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
