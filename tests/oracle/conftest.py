"""Go's own HCL library beside ours: builds the oracle where Go is, else answers from a recording.

The recording holds, for each input (by digest), a digest of what Go says, so that machines without Go still notice
a change. To renew it: ROVE_RECORD=1 pytest tests/oracle
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rove.jobspec.hcl import Body, HclError, evaluate_file, parse
from rove.jobspec.hcl import numbers as numbers
from rove.jobspec.hcl.constraints import constraint_of
from rove.jobspec.hcl.convert import ConvertError
from rove.jobspec.hcl.nodes import Call, Node
from rove.jobspec.hcl.parser import parse_expression
from rove.jobspec.hcl.scope import EvalError, Scope, keep_as_text
from rove.jobspec.hcl.types import ListOf, MapOf, SetOf, object_type

HERE = Path(__file__).parent
CORPUS = HERE.parent / "corpus"
RECORDING = HERE / "recorded.json"
GO_LIBRARIES = Path("/usr/share/gocode")
# Functions that job files have, but which are not part of Go's library.
NOT_IN_GO = frozenset(
    [
        "abspath",
        "base64decode",
        "base64encode",
        "basename",
        "bcrypt",
        "cidrhost",
        "cidrnetmask",
        "cidrsubnet",
        "cidrsubnets",
        "dirname",
        "file",
        "filebase64",
        "fileexists",
        "fileset",
        "md5",
        "pathexpand",
        "rsadecrypt",
        "sha1",
        "sha256",
        "sha512",
        "urlencode",
        "uuidv4",
        "uuidv5",
    ]
)
RECORDED_ANSWERS = "recorded"


def digest(value: Any) -> str:
    """A short digest of a value that JSON can hold."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


class Oracle:
    """Asks Go, or the recording. Answers are digests, so that both can be compared the same way."""

    def __init__(self, binary: Path | None) -> None:
        self.binary = binary
        self.recorded: dict[str, str] = json.loads(RECORDING.read_text()) if RECORDING.exists() else {}
        self.fresh: dict[str, str] = {}

    def _ask(self, arguments: list[str], lines: list[Any]) -> list[Any]:
        stdin = "".join(json.dumps(line) + "\n" for line in lines)
        done = subprocess.run(
            [str(self.binary), *arguments], input=stdin, capture_output=True, text=True, check=True, timeout=300
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    def answers(self, mode: str, inputs: list[bytes], settle: Callable[[Any], Any]) -> list[tuple[str | None, Any]]:
        """(digest, full answer) for each input; None where neither Go nor the recording knows."""
        keys = [digest([mode, base64.b64encode(each).decode()]) for each in inputs]
        if self.binary is None:
            return [(self.recorded.get(key), RECORDED_ANSWERS) for key in keys]
        if mode == "eval":
            answers = [settle(each) for each in self._ask(["eval"], [each.decode() for each in inputs])]
        else:
            lines = [{"name": "f", "b64": base64.b64encode(each).decode()} for each in inputs]
            answers = [settle(each[1:]) for each in self._ask([mode, "-"], lines)]
        assert len(answers) == len(inputs)
        found = [(digest(answer), answer) for answer in answers]
        self.fresh.update(zip(keys, [each[0] for each in found], strict=True))
        return found


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    go = "/usr/bin/go" if Path("/usr/bin/go").exists() else shutil.which("go")
    binary = None
    if go and (GO_LIBRARIES / "src/github.com/hashicorp/hcl/v2").is_dir() and not os.environ.get("ROVE_NO_GO"):
        folder = tmp_path_factory.mktemp("oracle")
        binary = folder / "oracle"
        env = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_LIBRARIES), "GOFLAGS": ""}
        cache = Path(env.get("ROVE_GOCACHE") or folder / "cache")
        subprocess.run(
            [go, "build", "-o", str(binary), "main.go"],
            cwd=HERE / "go", env={**env, "GOCACHE": str(cache)}, check=True, capture_output=True, timeout=600,
        )  # fmt: skip
    made = Oracle(binary)
    if binary is None and not made.recorded:
        pytest.skip("neither Go with its HCL library nor a recording of its answers")
    yield made
    if os.environ.get("ROVE_RECORD") and made.fresh:
        RECORDING.write_text(json.dumps(made.fresh, sort_keys=True, indent=0) + "\n")


# -- our side ------------------------------------------------------------------------------------------------------

VARIABLES = {
    "s": "text", "n": 3, "b": True, "z": None,
    "l": ListOf(["a", "b"], "string"), "nl": ListOf([1, 2], "number"), "el": ListOf([], "string"),
    "m": MapOf({"x": "1", "y": "2"}, "string"), "st": SetOf(["q", "p"], "string"),
    "t": ("a", 1, True), "o": {"k": "v", "i": 7},
    "lo": ListOf([{"id": 1}, {"id": 2}], object_type({"id": "number"})),
}  # fmt: skip


def encode(value: Any) -> Any:
    """A value with its kind, the way the Go program prints it."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | numbers.Big):
        return {"n": numbers.text(value)}
    if isinstance(value, dict):
        return ["map" if isinstance(value, MapOf) else "object", {name: encode(each) for name, each in value.items()}]
    kind = "set" if isinstance(value, SetOf) else "list" if isinstance(value, ListOf) else "tuple"
    return [kind, *map(encode, value)]


def _place(position: Any) -> list[int]:
    return [position.line, position.column, position.byte]


def _scope() -> Scope:
    return Scope({"var": VARIABLES}, unknown=keep_as_text)


def _calls(node: Node) -> Iterator[str]:
    if isinstance(node, Call):
        yield node.name
    for each in node.children():
        yield from _calls(each)


def _tree(body: Body) -> Any:
    attributes = {}
    for name, attribute in body.attributes.items():
        try:
            if not NOT_IN_GO.isdisjoint(_calls(attribute.expr)):
                raise attribute.expr.fail("Go's library has no such function")
            value, known = encode(attribute.expr.value(_scope())), True
        except EvalError:
            value, known = "error", False
        places = [_place(attribute.name_range.start), _place(attribute.range.start), _place(attribute.range.end)]
        attributes[name] = [known, value, *places]
    blocks = []
    for block in body.blocks:
        labels = [
            [label, _place(where.start), _place(where.end)]
            for label, where in zip(block.labels, block.label_ranges, strict=True)
        ]
        blocks.append([block.type, labels, _place(block.type_range.start), _tree(block.body)])
    return [attributes, blocks]


def our_tree(source: bytes) -> Any:
    """What we make of a file: "invalid", or its tree with every value."""
    try:
        return ["valid", _tree(parse(source, "f"))]
    except HclError:
        return ["invalid"]


def go_tree(answer: Any) -> Any:
    """Go's answer in the same form. It knows infinity; we call what gives it an error."""
    return ["valid", _without_infinity(answer[1])] if answer[0] == "valid" else ["invalid"]


def _without_infinity(tree: Any) -> Any:
    attributes, blocks = tree
    made = {}
    for name, (known, value, *places) in attributes.items():
        infinite = "Inf" in json.dumps(value) and '"n": "' in json.dumps(value)
        made[name] = [False, "error", *places] if infinite else [known, value, *places]
    return [made, [[*block[:3], _without_infinity(block[3])] for block in blocks]]


def our_value(text: bytes) -> Any:
    """What an expression gives: ["ok", value], or ["error"] or ["syntax"]."""
    try:
        node, _ = parse_expression(text.decode(), "e")
    except HclError:
        return ["syntax"]
    try:
        return ["ok", encode(node.value(_scope()))]
    except EvalError:
        return ["error"]


def go_value(answer: Any) -> Any:
    """Go's answer in the same form."""
    return answer if answer[0] == "ok" else answer[:1]


def our_typed(source: bytes) -> Any:
    """A value made to fit a type with optional attributes: "type, ===, value"."""
    type_text, value_text = source.decode().split("\n===\n")
    try:
        constraint = constraint_of(parse_expression(type_text, "t")[0])
        return [encode(constraint.apply(parse_expression(value_text, "v")[0].value(_scope())))]
    except (HclError, EvalError, ConvertError):
        return ["error"]


def our_expanded(source: bytes) -> Any:
    """A file with its dynamic blocks worked out, in plain values."""
    try:
        return [_expanded(evaluate_file(parse(source, "f")))]
    except HclError:
        return ["error"]


def _expanded(body: Any) -> Any:
    attributes = {name: each.value for name, each in body.attributes.items()}
    return [attributes, [[each.type, each.labels, _expanded(each.body)] for each in body.blocks]]


def go_expanded(answer: Any) -> Any:
    """Go's answer in plain values, without their kinds."""
    return ["error"] if answer[0] in ("error", "invalid") else [_plain_tree(answer[0])]


def _plain_tree(tree: Any) -> Any:
    attributes, blocks = tree
    made = [[each[0], each[1], _plain_tree(each[2])] for each in blocks]
    return [{name: _plain(each) for name, each in attributes.items()}, made]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return json.loads(value["n"])
    if isinstance(value, list):
        kind, *items = value
        if kind in ("object", "map"):
            return {name: _plain(each) for name, each in items[0].items()}
        return [_plain(each) for each in items]
    return value


# -- inputs --------------------------------------------------------------------------------------------------------


def corpus_files() -> list[Path]:
    """Every file of the corpora that is native syntax."""
    return sorted([*CORPUS.glob("hcl/*.hcl"), *CORPUS.glob("jobs/**/*.hcl"), *CORPUS.glob("jobs/**/*.nomad")])


_PIECES = [
    "{", "}", "[", "]", "(", ")", "=", "==", '"', "\n", "\r\n", ",", ":", "?", ".", "...", "${", "%{", "$${", "~}", "#",
    "//", "/*", "*/", "<<EOT\n", "EOT\n", "<<-X\n", " ", "\t", "1", "-", "+", "*", "[*]", ".*", "a", "for", "in", "if ",
    "null", "true", "é", "\\", "\\n", "=>", "!", "&&", "%", "0.5", "x = 1\n", 'b "l" {\n}\n', "é", "'", ";", "@",
]  # fmt: skip


def mutant(source: str, seed: str | int) -> str:
    """The source with a few deterministic injuries."""
    rng = random.Random(seed)
    text = source
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.choice((1, 1, 2, 5, 20)))
        kind = rng.randrange(8)
        lines = text.split("\n")
        row = rng.randrange(len(lines))
        if kind == 0:
            text = text[:at] + text[to:]
        elif kind in (1, 2):
            text = text[:at] + rng.choice(_PIECES) + text[at:]
        elif kind == 3:
            text = text[:at] + rng.choice(_PIECES) + text[to:]
        elif kind == 4:
            text = "\n".join([*lines[: row + 1], *lines[row:]])
        elif kind == 5:
            text = "\n".join([*lines[:row], *lines[row + 1 :]])
        elif kind == 6:
            other = rng.randrange(len(lines))
            lines[row], lines[other] = lines[other], lines[row]
            text = "\n".join(lines)
        else:
            text = "\n".join([*lines[:row], " ".join(lines[row : row + 2]), *lines[row + 2 :]])
    return text


@pytest.fixture(scope="session")
def ours() -> Any:
    """Our side and the inputs, for the tests (test modules cannot import each other)."""

    class Ours:
        files = staticmethod(corpus_files)
        mutant = staticmethod(mutant)
        tree = staticmethod(our_tree)
        go_tree = staticmethod(go_tree)
        value = staticmethod(our_value)
        go_value = staticmethod(go_value)
        digest = staticmethod(digest)
        typed = staticmethod(our_typed)
        expanded = staticmethod(our_expanded)
        go_expanded = staticmethod(go_expanded)
        corpus = CORPUS

    return Ours
