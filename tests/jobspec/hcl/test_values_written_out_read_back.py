from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rove.jobspec.hcl import HclError, evaluate_file, numbers, parse
from rove.jobspec.hcl.nodes import normal

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=10,
)
_SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def written(value: Any) -> str:
    """A value in the language's own words."""
    if isinstance(value, str):
        shown = (_SHORT.get(char) or (char if char.isprintable() else f"\\U{ord(char):08x}") for char in value)
        return '"' + "".join(shown).replace("${", "$${").replace("%{", "%%{") + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(name)} = {written(each)}" for name, each in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def composed(value: Any) -> Any:
    """The value with every text in Unicode's composed form."""
    if isinstance(value, str):
        return normal(value)
    if isinstance(value, list):
        return [composed(each) for each in value]
    if isinstance(value, dict):
        return {normal(name): composed(each) for name, each in value.items()}
    return value


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_any_value(value: Any) -> None:
    assert evaluate_file(parse(f"x = {written(value)}\n", "a.hcl")).attributes["x"].value == composed(value)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_json_functions_undo_each_other(value: Any) -> None:
    text = f"x = jsondecode(jsonencode({written(value)})) == {written(value)}\n"
    assert evaluate_file(parse(text, "a.hcl")).attributes["x"].value is True


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**40), 10**40), st.integers(1, 10**40))
def test_a_number_is_written_so_that_it_reads_back(numerator: int, denominator: int) -> None:
    number = numbers.ratio(numerator, denominator)
    assert numbers.parse(numbers.text(number)) == number


def _tree_or_positioned_error(text: str) -> None:
    try:
        evaluate_file(parse(text, "a.hcl"))
    except HclError as failure:
        assert failure.diagnostics
        assert all(each.range is not None for each in failure.diagnostics)
        assert failure.render()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_a_tree_or_a_positioned_error(text: str) -> None:
    _tree_or_positioned_error(text)


PIECES = [*'{}[]()=",:?.\n#~-+*/%<>!&|$1ax ', "${", "%{", "<<E\n", "E\n", "for ", " in ", "if ", "endif ", "=>", "..."]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_any_run_of_tokens_gives_a_tree_or_a_positioned_error(pieces: list[str]) -> None:
    _tree_or_positioned_error("".join(pieces))
