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


TYPES = [
    "object({a = string})", "object({a = optional(string)})", 'object({a = optional(string, "d")})',
    'object({a = optional(string, "d"), b = number})',
    "object({a = optional(list(string), []), b = optional(number, 1)})",
    'list(object({a = string, b = optional(number, 80)}))', "map(object({a = optional(bool, true)}))",
    'object({a = optional(object({b = optional(string, "d")}), {})})', "set(object({a = optional(number, 1)}))",
    "tuple([string, object({a = optional(number, 1)})])", "object({a = optional(any)})", "optional(string)",
    'object({a = optional(number, "x")})', "object({a = optional(string, 5)})", "list(string)", "map(any)",
    "any", "string",
]  # fmt: skip
VALUES = [
    "null", "{}", "{a = null}", '{a = "1"}', "{a = 1, b = 2}", "{b = 2}", "{a = [1]}", "{a = {}}", "{a = {b = null}}",
    "[]", '[{a = "x"}]', '[{a = "x"}, {a = "y", b = 1}]', "[{}, {a = 2}]", '{x = {}, y = {a = false}}', '["s", {}]',
    '["s", {a = 2}]', '"s"', "1", "[null]", "{a = true, extra = 1}",
]  # fmt: skip
# A null has no type of its own here; Go wants those of a list, set or tuple to be told apart in a few places.


def test_optional_attributes_have_the_values_they_have_in_go(oracle: Any, ours: Any) -> None:
    inputs = [f"{type}\n===\n{value}".encode() for type in TYPES for value in VALUES]
    found = _differences(oracle, ours, "type", inputs, ours.typed, list)
    assert not found, f"{len(found)} differences\n" + "\n".join(found[:10])


# How many labels a block has is checked by the decoder here, which knows the blocks of a job.
BODIES = [
    "for_each = [1, 2]\ncontent {\n x = b.value\n y = b.key\n}",
    "for_each = {k = 1, a = 2}\ncontent {\n x = b.value\n y = b.key\n}",
    "for_each = []\ncontent {\n}",
    "for_each = null\ncontent {\n}",
    "for_each = 5\ncontent {\n}",
    "content {\n}",
    "for_each = [1]",
    "for_each = [1]\niterator = i\ncontent {\n x = i.value\n}",
    'for_each = [1]\niterator = "i"\ncontent {\n x = i.value\n}',
    "for_each = [1]\ncontent {\n}\ncontent {\n}",
    "for_each = [1]\nother = 2\ncontent {\n}",
    'for_each = [1]\ncontent "l" {\n}',
    "for_each = [1]\nb {\n}\ncontent {\n}",
    (
        'for_each = [[1, 2], [3]]\ncontent {\n dynamic "b" {\n for_each = b.value\n iterator = c\n'
        "content {\n x = c.value\n y = b.key\n}\n}\n}"
    ),
    'for_each = [[1, 2], [3]]\ncontent {\n dynamic "b" {\n for_each = b.value\n content {\n x = b.value\n}\n}\n}',
    'for_each = ["p", "q"]\ncontent {\n l "${b.value}" {\n}\n}',
    "for_each = [for n in [1, 2]: n * 2]\ncontent {\n b {\n x = b.value\n}\n}",
    "for_each = convert([2, 1, 2], set(number))\ncontent {\n x = b.value\n y = b.key\n}",
    "for_each = [1]\ncontent {\n x = [for b in [7]: b]\n}",
]
LABELLED = [
    'for_each = ["p", "q"]\nlabels = [l.value]\ncontent {\n x = l.key\n}',
    "for_each = [1]\nlabels = [5]\ncontent {\n}",
    "for_each = [1]\nlabels = [null]\ncontent {\n}",
    'for_each = ["p"]\nlabels = ["${l.value}-${l.key}"]\ncontent {\n}',
    'for_each = ["p"]\nlabels = "p"\ncontent {\n}',
]


def test_dynamic_blocks_become_what_they_become_in_go(oracle: Any, ours: Any) -> None:
    inputs = [
        f'job {{\n dynamic "{kind}" {{\n{body}\n}}\n}}\n'.encode()
        for kind, bodies in (("b", BODIES), ("l", LABELLED))
        for body in bodies
    ]
    found = _differences(oracle, ours, "dynamic", inputs, ours.expanded, ours.go_expanded)
    assert not found, f"{len(found)} differences\n" + "\n".join(found[:10])


@pytest.mark.parametrize("seed", range(3))
def test_mutants_differ_from_their_source(ours: Any, seed: int) -> None:
    source = "a = 1\nb = 2\nc {\n}\n" * 5
    assert any(ours.mutant(source, f"{seed} {each}") != source for each in range(5))
