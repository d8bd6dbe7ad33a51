"""Draw: choices that depend on a key and a value and on nothing else."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import count


class Draw:
    """A stream of choices; the same key and value give the same ones, and without the key they tell nothing.

    Args:
        key: The key; any bytes.
        what: What the choices are for, and the value that they are for.
    """

    def __init__(self, key: bytes, *what: str) -> None:
        self._bytes = _stream(key, "\x1f".join(what).encode("utf8", "surrogatepass"))

    def below(self, bound: int) -> int:
        """A number from 0 up to, and without, ``bound``."""
        number = 0
        for _ in range(8):
            number = number << 8 | next(self._bytes)
        return number % bound

    def of(self, choices: Sequence[str]) -> str:
        """One of the choices."""
        return choices[self.below(len(choices))]

    def digits(self, length: int) -> str:
        """That many digits."""
        return "".join(str(self.below(10)) for _ in range(length))


def _stream(key: bytes, seed: bytes) -> Iterator[int]:
    for number in count():
        yield from hmac.digest(key, number.to_bytes(8, "big") + seed, sha256)
