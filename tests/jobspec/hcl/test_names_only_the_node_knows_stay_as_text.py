from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    "reference",
    [
        "attr.kernel.name",
        "NOMAD_PORT_http",
        "meta.rack",
        "node.unique.name",
        'env["x"]',
        'attr["a.b"][0].c',
        "secret.a.b",
    ],
)
def test_in_a_text_and_bare(hcl: Any, reference: str) -> None:
    assert hcl.value(f'"${{{reference}}}"') == f"${{{reference}}}"
    assert hcl.value(f'"a ${{{reference}}} b"') == f"a ${{{reference}}} b"
    assert hcl.value(reference) == f"${{{reference}}}"


def test_beside_a_variable_that_is_known(hcl: Any) -> None:
    text = 'variable "v" {\n  default = 3\n}\nx = "${var.v}-${attr.cpu.arch}-$${attr.cpu.arch}"\n'
    assert hcl.values(text)["x"] == "3-${attr.cpu.arch}-${attr.cpu.arch}"


def test_the_bare_reference_has_no_blanks_it_was_not_written_with(hcl: Any) -> None:
    assert hcl.value('"${  node.class  }"') == "${node.class}"


def test_a_loop_name_is_not_such_a_name(hcl: Any) -> None:
    assert hcl.value("[for x in [1] : x]") == [1]


def test_functions_see_the_text(hcl: Any) -> None:
    assert hcl.value("upper(attr.kernel.name)") == "${ATTR.KERNEL.NAME}"
