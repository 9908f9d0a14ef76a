"""Functions that Go's HCL library does not have itself; the others are compared with Go in tests/oracle."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from rove.jobspec.hcl.functions import HOMES, NAMES, find

CASES = [
    ('base64encode("héllo")', "aMOpbGxv"),
    ('base64decode("aMOpbGxv")', "héllo"),
    ('urlencode("a b&c/é~")', "a+b%26c%2F%C3%A9~"),
    ('md5("hello")', "5d41402abc4b2a76b9719d911017c592"),
    ('sha1("hello")', "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"),
    ('sha256("hello")', "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
    ('substr(sha512("hello"), 0, 16)', "9b71d224bd62f378"),
    ('uuidv5("dns", "www.example.org")', "74738ff5-5367-5958-9aee-98fffdcd1876"),
    ('uuidv5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.org")', "74738ff5-5367-5958-9aee-98fffdcd1876"),
    ('cidrhost("10.12.127.0/20", 16)', "10.12.112.16"),
    ('cidrhost("10.12.127.0/20", -1)', "10.12.127.255"),
    ('cidrhost("fd00:fd12:3456:7890:00a2::/72", 34)', "fd00:fd12:3456:7890::22"),
    ('cidrnetmask("172.16.0.0/12")', "255.240.0.0"),
    ('cidrsubnet("172.16.0.0/12", 4, 2)', "172.18.0.0/16"),
    ('cidrsubnet("fd00:fd12:3456:7890::/56", 16, 162)', "fd00:fd12:3456:7800:a200::/72"),
    (
        'cidrsubnets("10.1.0.0/16", 4, 4, 8, 4)',
        ["10.1.0.0/20", "10.1.16.0/20", "10.1.32.0/24", "10.1.48.0/20"],
    ),
    ('index(["a", "b"], 1)', "b"),
    ('index(convert({ a = 1 }, map(number)), "a")', 1),
    ('element(["a", "b"], -1)', "b"),
    ('strlen("héé")', 3),
]


@pytest.mark.parametrize(("expression", "value"), CASES)
def test_value(hcl: Any, expression: str, value: Any) -> None:
    assert hcl.value(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        'base64decode("%%%")',
        'base64decode("/w==")',
        'cidrhost("10.0.0.0/30", 4)',
        'cidrhost("10.0.0.0", 1)',
        'cidrsubnet("10.0.0.0/30", 4, 0)',
        'cidrsubnet("10.0.0.0/8", 1, 2)',
        'cidrsubnets("10.0.0.0/30", 1, 1, 1)',
        'uuidv5("nope", "x")',
        'bcrypt("x", 3)',
        'rsadecrypt("x", "y")',
        'index(["a"], 1)',
        'index(["a"], "a")',
        'index({ a = 1 }, "a")',
        "length({ a = 1 })",
        'length("abc")',
    ],
)
def test_refused(hcl: Any, expression: str) -> None:
    assert hcl.problems(f"x = {expression}\n")


def test_there_are_83_and_each_has_code() -> None:
    assert len(NAMES) == 83
    assert all(find(name) for name in HOMES)


def test_random_ones_take_their_randomness_from_outside(hcl: Any) -> None:
    def entropy(count: int) -> bytes:
        return bytes(range(count))

    assert hcl.value("uuidv4()", entropy=entropy) == "00010203-0405-4607-8809-0a0b0c0d0e0f"
    assert hcl.value("uuidv4()") != hcl.value("uuidv4()")
    first = hcl.value('bcrypt("secret", 4)', entropy=entropy)
    assert re.fullmatch(r"\$2[ab]\$04\$[./A-Za-z0-9]{53}", first)
    assert first == hcl.value('bcrypt("secret", 4)', entropy=entropy)


def test_rsa_decryption(hcl: Any) -> None:
    # Two primes of 256 bits, enough for a test and for nothing else.
    p = 2**255 + 95
    q = 2**256 + 297
    modulus, public = p * q, 65537
    private = pow(public, -1, (p - 1) * (q - 1))

    def integer(value: int) -> bytes:
        raw = value.to_bytes(value.bit_length() // 8 + 1, "big")
        return b"\x02" + _length(len(raw)) + raw

    def _length(size: int) -> bytes:
        return bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")

    body = b"".join(map(integer, (0, modulus, public, private, p, q, 1, 1, 1)))
    pem = base64.b64encode(b"\x30" + _length(len(body)) + body).decode()
    key = f"-----BEGIN RSA PRIVATE KEY-----\\n{pem}\\n-----END RSA PRIVATE KEY-----"
    size = (modulus.bit_length() + 7) // 8
    block = b"\x00\x02" + b"\x07" * (size - 3 - 6) + b"\x00secret"
    secret = pow(int.from_bytes(block, "big"), public, modulus).to_bytes(size, "big")
    assert hcl.value(f'rsadecrypt("{base64.b64encode(secret).decode()}", "{key}")') == "secret"


class OneFile:
    """Files with one in them."""

    def read(self, name: str) -> bytes:
        if name != "a.txt":
            raise FileNotFoundError(2, "no such file")
        return b"content\n"

    def exists(self, name: str) -> bool:
        return name == "a.txt"

    def match(self, folder: str, pattern: str) -> list[str]:
        return ["b", "a"]

    def home(self) -> str:
        return "/home/x"

    def absolute(self, name: str) -> str:
        return f"/work/{name}"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('file("a.txt")', "content\n"),
        ('filebase64("a.txt")', "Y29udGVudAo="),
        ('fileexists("b.txt")', False),
        ('fileset(".", "*")', ["a", "b"]),
        ('abspath("x")', "/work/x"),
        ('basename("/a/b.txt")', "b.txt"),
        ('dirname("/a/b.txt")', "/a"),
        ('pathexpand("~/x")', "/home/x/x"),
    ],
)
def test_files_come_through_a_port(hcl: Any, expression: str, value: Any) -> None:
    assert hcl.value(expression, files=OneFile()) == value
    assert "filesystem function disabled" in hcl.problems(f"x = {expression}\n")[0]


def test_a_missing_file_is_an_error_at_its_name(hcl: Any) -> None:
    assert hcl.problems('x = file("b.txt")\n', files=OneFile())[0].startswith('1:10 file() failed: "b.txt"')
