"""A whole file with its variables, locals and dynamic blocks worked out: plain values with positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rove.jobspec.hcl.diagnostics import Diagnostic
from rove.jobspec.hcl.positions import Range
from rove.jobspec.hcl.tree import Body


class EvalAttribute:
    """An attribute with its value: str, int, float, bool, None, list or dict, nested as written."""

    __slots__ = ("name", "name_range", "range", "value", "value_range")

    def __init__(self, name: str, value: Any, range: Range, name_range: Range, value_range: Range) -> None:
        self.name = name
        self.value = value
        self.range = range
        self.name_range = name_range
        self.value_range = value_range


class EvalBlock:
    """A block with its body worked out. `range` is its header, for messages."""

    __slots__ = ("body", "label_ranges", "labels", "range", "type", "type_range")

    def __init__(
        self, type: str, labels: list[str], body: EvalBody, range: Range, type_range: Range, label_ranges: list[Range]
    ) -> None:
        self.type = type
        self.labels = labels
        self.body = body
        self.range = range
        self.type_range = type_range
        self.label_ranges = label_ranges


class EvalBody:
    """Attributes by name and blocks in order. `warnings`: findings that do not stop the file (root only)."""

    __slots__ = ("attributes", "blocks", "range", "warnings")

    def __init__(self, attributes: dict[str, EvalAttribute], blocks: list[EvalBlock], range: Range) -> None:
        self.attributes = attributes
        self.blocks = blocks
        self.range = range
        self.warnings: list[Diagnostic] = []


def evaluate_file(
    body: Body,
    *,
    variables: Mapping[str, str] | None = None,
    var_files: Sequence[tuple[str, str]] = (),
    env: Mapping[str, str] | None = None,
    strict: bool = True,
    files: Any = None,
) -> EvalBody:
    """Work out a job file. The root keeps every block but `variable`, `variables` and `locals`.

    variables: `-var` values by name, as text. var_files: (filename, text) in the order given. env: environment;
    only NOMAD_VAR_* is looked at. strict: a var file that sets an undeclared variable is an error, else a warning.
    files: a `functions.files.Files` for the file functions; None switches these off.
    Raises HclError with everything found.
    """
    raise NotImplementedError
