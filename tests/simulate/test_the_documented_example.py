"""The example in docs/what-if.md works as it is written there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "what-if.md"


def _example() -> dict[str, Any]:
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(compile(code[1], str(DOCUMENT), "exec"), names)
    return names


def test_the_example_has_its_tests() -> None:
    assert sorted(name for name in _example() if name.startswith("test_")) == [
        "test_web_survives_the_loss_of_a_node",
        "test_what_is_missing_is_said",
    ]


@pytest.mark.parametrize("name", ["test_web_survives_the_loss_of_a_node", "test_what_is_missing_is_said"])
def test_an_example_passes(name: str) -> None:
    _example()[name]()
