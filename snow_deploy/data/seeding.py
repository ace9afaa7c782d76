"""Random numbers that depend on a key alone: the same on every platform and in every worker.

NumPy promises that `SeedSequence` and the raw stream of `PCG64` never change; it doesn't promise
that of `Generator.permutation`. A split that decides what a model is tested on is therefore
drawn from the raw stream.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_SEED_BITS = 64


def keyed_bits(purpose: str, *key: int) -> np.random.PCG64:
    """Return a bit generator for one purpose and key.

    Args:
        purpose: What the numbers are for; two purposes never share a stream.
        key: Integers such as (seed, epoch, index); negative ones are taken modulo 2**64.
    """
    words = [zlib.crc32(purpose.encode())]
    words.extend(value % 2**_SEED_BITS for value in key)
    return np.random.PCG64(np.random.SeedSequence(words))


def keyed_seed(purpose: str, *key: int) -> int:
    """Return a seed in [0, 2**63) for one purpose and key."""
    return int(keyed_bits(purpose, *key).random_raw()) >> 1


def keyed_permutation(length: int, purpose: str, *key: int) -> npt.NDArray[np.int64]:
    """Return a permutation of range(length), int64 `[length]`, for one purpose and key."""
    draws = np.asarray(keyed_bits(purpose, *key).random_raw(length), dtype=np.uint64)
    return np.argsort(draws, kind="stable").astype(np.int64, copy=False)


class Draws:
    """Numbers drawn one after another from a bit generator's raw stream."""

    _BLOCK = 64

    def __init__(self, bits: np.random.PCG64) -> None:
        """Draw from `bits`, which nothing else should draw from."""
        self._bits = bits
        self._ready: list[int] = []

    def below(self, limit: int) -> int:
        """Draw an integer in [0, limit); `limit` must be small against 2**64."""
        return self._next() % limit

    def between(self, low: float, high: float) -> float:
        """Draw a number in [low, high)."""
        return low + (high - low) * ((self._next() >> 11) * 2.0**-53)

    def bytes(self, count: int) -> npt.NDArray[np.uint8]:
        """Draw `count` integers in [0, 256), uint8 `[count]`."""
        words = np.asarray(self._bits.random_raw(-(-count // 8)), dtype="<u8")
        return words.view(np.uint8)[:count]

    def _next(self) -> int:
        if not self._ready:
            self._ready = np.asarray(self._bits.random_raw(self._BLOCK)).tolist()[::-1]
        return self._ready.pop()
