"""Functions of cryptography: digests, bcrypt, RSA decryption, UUIDs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping

from boatyard.bake.functions.arithmetic import whole
from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values.type import NUMBER, STRING
from boatyard.bake.values.value import Value, string
from boatyard.errors import UnsupportedError

_BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BASE64_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_COST = 10
_LONGEST_PASSWORD = 72
_PEM = re.compile(r"-----BEGIN (RSA )?PRIVATE KEY-----(.*?)-----END", re.DOTALL)


def _digest(name: str) -> Function:
    def implementation(text: Value) -> Value:
        return string(hashlib.new(name, text.raw.encode(), usedforsecurity=False).hexdigest())

    return function(implementation, Parameter("str", STRING))


def _bcrypt(random: Callable[[int], bytes]) -> Callable[..., Value]:
    def implementation(password: Value, *costs: Value) -> Value:
        cost = whole(costs[0], 1) if costs else _COST
        if len(costs) > 1:
            raise CallError("bcrypt() takes no more than two arguments")
        if not 4 <= cost <= 31:
            raise CallError("a cost is a whole number from 4 to 31", 1)
        if len(password.raw.encode()) > _LONGEST_PASSWORD:
            raise CallError(f"a password has at most {_LONGEST_PASSWORD} bytes", 0)
        return string(_crypt(password.raw.encode(), cost, random(16)))

    return implementation


def _crypt(password: bytes, cost: int, salt: bytes) -> str:
    """By the system's libcrypt: in Python, the thousands of rounds would take seconds."""
    import ctypes.util

    library = ctypes.util.find_library("crypt")
    if library is None:
        raise UnsupportedError("bcrypt() needs the system's libcrypt, which isn't there", hint="install libcrypt1")
    crypt = ctypes.CDLL(library).crypt
    crypt.restype, crypt.argtypes = ctypes.c_char_p, (ctypes.c_char_p, ctypes.c_char_p)
    # The 128 bits of the salt, six to a character, the last of which has two.
    letters = base64.b64encode(salt).decode().rstrip("=")
    encoded = letters.translate(str.maketrans(_BASE64_ALPHABET, _BCRYPT_ALPHABET))
    found = crypt(password, f"$2a${cost:02}${encoded}".encode())
    if not found or not found.startswith(b"$2a$"):
        raise UnsupportedError("this system's libcrypt doesn't know bcrypt")
    return str(found.decode())


def _rsadecrypt(ciphertext: Value, key: Value) -> Value:
    try:
        data = base64.b64decode(ciphertext.raw, validate=True)
    except (binascii.Error, ValueError):
        raise CallError("this is no base64", 0) from None
    modulus, exponent = _private_key(key.raw)
    size = (modulus.bit_length() + 7) // 8
    if len(data) != size:
        raise CallError("the ciphertext is not of this key's size", 0)
    message = pow(int.from_bytes(data), exponent, modulus).to_bytes(size)
    separator = message.find(b"\0", 2)
    if not message.startswith(b"\0\x02") or separator < 10:
        raise CallError("the ciphertext can't be decrypted with this key", 0)
    try:
        return string(message[separator + 1 :].decode())
    except UnicodeDecodeError:
        raise CallError("what was decrypted is no UTF-8 text", 0) from None


def _private_key(pem: str) -> tuple[int, int]:
    """Modulus and private exponent of a PEM file (PKCS #1, or PKCS #8 around it)."""
    match = _PEM.search(pem)
    if match is None:
        raise CallError("this is no unencrypted RSA private key in PEM form", 1)
    try:
        body = _sequence(base64.b64decode("".join(match[2].split()), validate=True))
        if not match[1]:
            body = _sequence(body[2][1])
        return int.from_bytes(body[1][1]), int.from_bytes(body[3][1])
    except (binascii.Error, IndexError, ValueError):
        raise CallError("this private key is malformed", 1) from None


def _sequence(data: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents of what is in a DER sequence."""
    (tag, content), rest = _element(data)
    if tag != 0x30 or rest:
        raise ValueError("no sequence")
    found = []
    while content:
        element, content = _element(content)
        found.append(element)
    return found


def _element(data: bytes) -> tuple[tuple[int, bytes], bytes]:
    tag, size, start = data[0], data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start])
    if len(data) < start + size:
        raise ValueError("cut off")
    return (tag, data[start : start + size]), data[start + size :]


def _uuidv4(random: Callable[[int], bytes]) -> Callable[[], Value]:
    def implementation() -> Value:
        import uuid  # with what it imports it takes as long as all of this package's functions

        return string(str(uuid.UUID(bytes=random(16), version=4)))

    return implementation


def _uuidv5(namespace: Value, name: Value) -> Value:
    import uuid

    known = {
        "dns": uuid.NAMESPACE_DNS,
        "url": uuid.NAMESPACE_URL,
        "oid": uuid.NAMESPACE_OID,
        "x500": uuid.NAMESPACE_X500,
    }
    try:
        space = known.get(namespace.raw) or uuid.UUID(namespace.raw)
    except ValueError:
        raise CallError(f"a namespace is a UUID or one of: {', '.join(known)}", 0) from None
    return string(str(uuid.uuid5(space, name.raw)))


def functions(random: Callable[[int], bytes]) -> Mapping[str, Function]:
    """`random`: so many random bytes."""
    return {
        **{name: _digest(name) for name in ("md5", "sha1", "sha256", "sha512")},
        "bcrypt": function(_bcrypt(random), Parameter("str", STRING), variadic=Parameter("cost", NUMBER)),
        "rsadecrypt": function(_rsadecrypt, Parameter("ciphertext", STRING), Parameter("privatekey", STRING)),
        "uuidv4": function(_uuidv4(random)),
        "uuidv5": function(_uuidv5, Parameter("namespace", STRING), Parameter("name", STRING)),
    }
