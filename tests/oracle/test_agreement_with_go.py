"""Go's HCL library is the judge: same acceptance, same tree, same positions, same values, same layout."""

from __future__ import annotations

from typing import Any

import pytest

from rove.jobspec.hcl import HclError, format_source

MUTANTS_OF_EACH_FILE = 25
# Deliberate: infinity is no number to us, and minus zero is zero. Newer versions of Go's library than the one this is
# compared with count from the end for a negative index.
KNOWN_DIFFERENCES = {
    b"1 / 0", b"1 % 0", b"log(0, 2)", b"log(5, 1)", b"pow(10, 400)", b"yamldecode(\".inf\")",
    b"try(1/0, 2)", b'convert("Inf", number)', b'convert("-0", number)', b"element(var.l, -1)",
    b'element(["a", "b"], -1)',
}  # fmt: skip


def _differences(oracle: Any, ours: Any, mode: str, inputs: list[bytes], mine: Any, settle: Any) -> list[str]:
    found = []
    for text, (theirs, answer) in zip(inputs, oracle.answers(mode, inputs, settle), strict=True):
        if theirs is None:
            continue
        our_answer = mine(text)
        if ours.digest(our_answer) != theirs:
            shown = text[:3000].decode(errors="replace")
            found.append(f"{shown}\n--- Go: {str(answer)[:600]}\n--- ours: {str(our_answer)[:600]}\n")
    return found


def test_expressions_have_the_value_they_have_in_go(oracle: Any, ours: Any) -> None:
    lines = (ours.corpus / "hcl/expressions.txt").read_bytes().split(b"\n")
    inputs = [line for line in lines if line and line not in KNOWN_DIFFERENCES]
    assert len(inputs) > 1000
    found = _differences(oracle, ours, "eval", inputs, ours.value, ours.go_value)
    assert not found, "\n".join(found[:10])


def test_corpus_files_have_the_tree_and_values_they_have_in_go(oracle: Any, ours: Any) -> None:
    inputs = [path.read_bytes() for path in ours.files()]
    found = _differences(oracle, ours, "tree", inputs, ours.tree, ours.go_tree)
    assert not found, "\n".join(found[:10])


def test_mutants_are_accepted_or_refused_as_in_go_and_mean_the_same(oracle: Any, ours: Any) -> None:
    sources = {path.name: path.read_bytes().decode() for path in ours.files() if path.stat().st_size < 6000}
    inputs = [
        ours.mutant(source, f"{name} {number}").encode()
        for name, source in sources.items()
        for number in range(MUTANTS_OF_EACH_FILE)
    ]
    assert len(inputs) >= 2000
    found = _differences(oracle, ours, "tree", inputs, ours.tree, ours.go_tree)
    assert not found, f"{len(found)} differences\n" + "\n".join(found[:10])


def _formatted(source: bytes) -> Any:
    try:
        return [format_source(source.decode())]
    except HclError:
        return ["invalid"]


def test_formatted_files_look_as_hclfmt_leaves_them(oracle: Any, ours: Any) -> None:
    inputs = [path.read_bytes() for path in ours.files()]
    inputs = [each for each in inputs if ours.tree(each) != ["invalid"] and not each.startswith(b"\xef\xbb\xbf")]

    def settle(answer: Any) -> Any:
        return [answer[0].rstrip("\n") + "\n" if answer[0].strip() else ""]

    found = _differences(oracle, ours, "format", inputs, _formatted, settle)
    assert not found, "\n".join(found[:5])


@pytest.mark.parametrize("seed", range(3))
def test_mutants_differ_from_their_source(ours: Any, seed: int) -> None:
    source = "a = 1\nb = 2\nc {\n}\n" * 5
    assert any(ours.mutant(source, f"{seed} {each}") != source for each in range(5))
