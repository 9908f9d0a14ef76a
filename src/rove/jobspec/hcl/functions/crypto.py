"""Digests, UUIDs, password hashes, and RSA decryption of small secrets."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import cache
from typing import Any

from rove.jobspec.hcl.functions import FunctionError, function
from rove.jobspec.hcl.functions.arithmetic import whole
from rove.jobspec.hcl.numbers import Number
from rove.jobspec.hcl.scope import Scope
from rove.jobspec.hcl.types import NUMBER, STRING

BCRYPT_COST = 10
BCRYPT_COST_MAX = 12  # each step doubles the time; 12 takes about a quarter of a second
KEY_BITS_MAX = 8192


@function("md5", STRING)
def md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()


@function("sha1", STRING)
def sha1(text: str) -> str:
    return hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).hexdigest()


@function("sha256", STRING)
def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@function("sha512", STRING)
def sha512(text: str) -> str:
    return hashlib.sha512(text.encode("utf-8")).hexdigest()


def _random(scope: Scope, count: int) -> bytes:
    if scope.entropy is not None:
        return scope.entropy(count)
    from secrets import token_bytes

    return token_bytes(count)


@function("uuidv4", scoped=True)
def uuid_v4(scope: Scope) -> str:
    return _uuid(_random(scope, 16), 4)


_NAMESPACES = {
    "dns": "6ba7b8109dad11d180b400c04fd430c8",
    "url": "6ba7b8119dad11d180b400c04fd430c8",
    "oid": "6ba7b8129dad11d180b400c04fd430c8",
    "x500": "6ba7b8149dad11d180b400c04fd430c8",
}


@function("uuidv5", STRING, STRING)
def uuid_v5(namespace: str, name: str) -> str:
    digits = _NAMESPACES.get(namespace)
    if digits is None:
        plain = namespace.lower().removeprefix("urn:uuid:").strip("{}").replace("-", "")
        if not re.fullmatch(r"[0-9a-f]{32}", plain):
            raise FunctionError("the namespace must be dns, url, oid, x500 or a UUID", 0)
        digits = plain
    return _uuid(hashlib.sha1(bytes.fromhex(digits) + name.encode("utf-8"), usedforsecurity=False).digest()[:16], 5)


def _uuid(raw: bytes, version: int) -> str:
    number = int.from_bytes(raw, "big")
    number &= ~(0xF000 << 64) & ~(0xC000 << 48)
    number |= version << 76 | 0x8000 << 48
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@function("bcrypt", STRING, rest=NUMBER, scoped=True)
def bcrypt(scope: Scope, text: str, *given: Number) -> str:
    """A password hash with a fresh salt, made by the C library's `crypt`."""
    if len(given) > 1:
        raise FunctionError("at most one cost can be given", 2)
    cost = whole(given[0], 1) if given else BCRYPT_COST
    if not 4 <= cost <= BCRYPT_COST_MAX:
        raise FunctionError(f"the cost must be from 4 to {BCRYPT_COST_MAX}", 1)
    password = text.encode("utf-8")
    if b"\0" in password or len(password) > 72:
        raise FunctionError("the text must have at most 72 bytes and no NUL", 0)
    scope.budget.step(1000 + (1 << cost << 4))
    table = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    salt = "".join(table[byte & 63] for byte in _random(scope, 21)) + table[(_random(scope, 1)[0] & 3) << 4]
    setting = f"$2a${cost:02d}${salt}"
    hashed = _crypt(password, setting.encode("ascii"))
    if not hashed or not hashed.startswith("$2"):
        raise FunctionError("the C library of this machine has no bcrypt")
    return hashed


def _crypt(password: bytes, setting: bytes) -> str:
    import ctypes

    code = _crypt_code()
    if code is None:
        return ""
    room = ctypes.create_string_buffer(1 << 18)  # more than any known `struct crypt_data`
    found = code(password, setting, room)
    return found.decode("ascii", "replace") if found else ""


@cache
def _crypt_code() -> Any:
    """The C library's `crypt_r`, which unlike `crypt` can be called from several threads; None if there is none."""
    import ctypes

    for name in ("libcrypt.so.1", "libcrypt.so.2", None):
        try:
            code: Any = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        code.restype = ctypes.c_char_p
        code.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
        return code
    return None


@function("rsadecrypt", STRING, STRING)
def rsa_decrypt(ciphertext: str, key: str) -> str:
    """Undo PKCS #1 v1.5 encryption of a Base64 text, with a private key in PEM."""
    try:
        raw = base64.b64decode(ciphertext, validate=True)
    except (binascii.Error, ValueError):
        raise FunctionError("the text is not Base64", 0) from None
    modulus, exponent = _private_key(key)
    length = (modulus.bit_length() + 7) // 8
    if len(raw) != length:
        raise FunctionError("the text does not belong to this key", 0)
    block = pow(int.from_bytes(raw, "big"), exponent, modulus).to_bytes(length, "big")
    end = block.find(b"\0", 2)
    if not block.startswith(b"\0\2") or end < 10:
        raise FunctionError("decryption failed")
    try:
        return block[end + 1 :].decode("utf-8")
    except UnicodeDecodeError:
        raise FunctionError("the decrypted bytes are not UTF-8 text") from None


def _private_key(pem: str) -> tuple[int, int]:
    """Modulus and private exponent. Raises FunctionError; the key itself never gets into a message."""
    found = re.search(r"-----BEGIN (RSA )?PRIVATE KEY-----(.*?)-----END (?:RSA )?PRIVATE KEY-----", pem, re.DOTALL)
    if found is None:
        raise FunctionError("the key is not a private key in PEM", 1)
    try:
        raw = base64.b64decode("".join(line for line in found[2].split() if ":" not in line), validate=False)
        parts = _der_items(_der_items(raw)[0][1])
        if not found[1]:  # PKCS #8: the key is inside
            parts = _der_items(_der_items(parts[2][1])[0][1])
        modulus, exponent = (int.from_bytes(parts[at][1], "big") for at in (1, 3))
    except (binascii.Error, ValueError, IndexError):
        raise FunctionError("the key cannot be read", 1) from None
    if not 256 <= modulus.bit_length() <= KEY_BITS_MAX or exponent >= modulus:
        raise FunctionError("the key cannot be used", 1)
    return modulus, exponent


def _der_items(raw: bytes) -> list[tuple[int, bytes]]:
    """(tag, content) of each item. Raises ValueError or IndexError on broken input."""
    items = []
    at = 0
    while at < len(raw):
        tag, size = raw[at], raw[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(raw[at : at + count], "big")
            at += count
        if at + size > len(raw):
            raise ValueError("cut short")
        items.append((tag, raw[at : at + size]))
        at += size
    return items
