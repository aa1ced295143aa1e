"""bcrypt() and rsadecrypt(), against known values."""

from __future__ import annotations

import base64

import pytest

from boatyard.bake.functions.signature import CallError
from boatyard.bake.functions.table import Surroundings, functions
from boatyard.bake.values.value import number, string

# Two well-known primes (Mersenne's): a key that nobody takes for a secret.
P, Q = 2**521 - 1, 2**607 - 1
MODULUS = P * Q
EXPONENT = pow(65537, -1, (P - 1) * (Q - 1))


def element(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2)
    return bytes([tag]) + length + content


def integer(value: int) -> bytes:
    return element(2, value.to_bytes(value.bit_length() // 8 + 1))


RSA = element(0x30, b"".join(map(integer, (0, MODULUS, 65537, EXPONENT, P, Q))))
PKCS8 = element(0x30, integer(0) + element(0x30, b"") + element(4, RSA))


def pem(data: bytes, kind: str) -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(data).decode()}-----END {kind}-----\n"


def encrypted(text: bytes, size: int = 141) -> str:
    message = b"\0\2" + b"\x55" * (size - 3 - len(text)) + b"\0" + text
    return base64.b64encode(pow(int.from_bytes(message), 65537, MODULUS).to_bytes(size)).decode()


def decrypted(ciphertext: str, key: str) -> object:
    return functions(Surroundings())["rsadecrypt"].call([string(ciphertext), string(key)]).raw


@pytest.mark.parametrize("key", [pem(RSA, "RSA PRIVATE KEY"), pem(PKCS8, "PRIVATE KEY")])
def test_what_was_encrypted_with_a_key_is_decrypted(key: str) -> None:
    assert decrypted(encrypted(b"a word"), key) == "a word"


@pytest.mark.parametrize(
    ("ciphertext", "key", "message"),
    [
        ("!", pem(RSA, "RSA PRIVATE KEY"), "no base64"),
        ("YQ==", pem(RSA, "RSA PRIVATE KEY"), "not of this key's size"),
        (base64.b64encode(bytes(140) + b"x").decode(), pem(RSA, "RSA PRIVATE KEY"), "can't be decrypted with this key"),
        (encrypted(b"\xff"), pem(RSA, "RSA PRIVATE KEY"), "no UTF-8"),
        (encrypted(b"a"), "no key", "no unencrypted RSA private key"),
        (encrypted(b"a"), pem(RSA[:20], "RSA PRIVATE KEY"), "malformed"),
        (encrypted(b"a"), pem(element(0x30, b""), "PRIVATE KEY"), "malformed"),
    ],
)
def test_what_cannot_be_decrypted_is_told(ciphertext: str, key: str, message: str) -> None:
    with pytest.raises(CallError, match=message):
        decrypted(ciphertext, key)


@pytest.mark.parametrize(
    ("password", "cost", "expected"),
    [
        ("U*U", 5, "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("", 5, "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
    ],
)
def test_bcrypt_makes_the_known_digests(password: str, cost: int, expected: str) -> None:
    salt = base64.b64decode("E" * 21 + "A==")  # what C...C. is in bcrypt's own base64
    made = functions(Surroundings(random=lambda count: salt[:count]))["bcrypt"]
    assert made.call([string(password), number(cost)]).raw == expected
