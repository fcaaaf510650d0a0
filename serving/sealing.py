"""What only a customer's key opens, and what tells that a row of the ledger was changed."""

import hashlib
import zlib

import msgspec


class Sealed(msgspec.Struct, frozen=True):
    """What only the customer's key opens. row: little-endian float32; inputs, answer: the decider's."""

    customer_id: str
    row: bytes
    inputs: bytes
    answer: bytes


def seal(key: bytes, id: str, data: bytes) -> bytes:
    """Encrypt, or decrypt: exclusive or with SHAKE-256(key, id). A key is random, an id is used once."""
    stream = hashlib.shake_256(key + id.encode()).digest(len(data))
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(data), "big")


def digest(key: bytes, request: bytes) -> bytes:
    """Keyed: against a plain hash, anyone could try the requests of all customers until one fits."""
    return hashlib.blake2b(request, key=key, digest_size=16).digest()


def crc(values: tuple[object, ...]) -> int:
    """Of all columns. What is null at the end is as if it were not there: schema 1 did not have it."""
    known = len(values) - next(i for i, value in enumerate(reversed(values)) if value is not None)
    return zlib.crc32(msgspec.msgpack.encode(values[:known]))
