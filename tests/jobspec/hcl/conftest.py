"""Short ways to evaluate a text, for the tests of the language."""

from __future__ import annotations

from typing import Any

import pytest

from rove.jobspec.hcl import HclError, as_map, evaluate_file, parse


class Language:
    """What tests ask of the language."""

    @staticmethod
    def values(text: str, **options: Any) -> dict[str, Any]:
        """A file's attributes and blocks as plain dicts."""
        return as_map(evaluate_file(parse(text, "test.hcl"), **options))

    @classmethod
    def value(cls, expression: str, **options: Any) -> Any:
        """The value of one expression."""
        return cls.values(f"x = {expression}\n", **options)["x"]

    @classmethod
    def problems(cls, text: str | bytes, **options: Any) -> list[str]:
        """`line:column summary` of everything that is wrong with a file."""
        try:
            evaluate_file(parse(text, "test.hcl"), **options)
        except HclError as failure:
            failure.render()
            return [
                f"{each.range.start.line}:{each.range.start.column} {each.message}" if each.range else each.message
                for each in failure.diagnostics
            ]
        return []


@pytest.fixture
def hcl() -> type[Language]:
    return Language
