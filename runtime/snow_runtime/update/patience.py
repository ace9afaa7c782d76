"""How long a box waits before it downloads again what came to nothing."""

from __future__ import annotations

from typing import Final

_MOST_ROUNDS: Final = 256


class Patience:
    """Leaves out rounds after downloads that came to nothing, twice as many each time.

    A forged piece, or a disk that is full in the middle, would else cost the same bytes at every
    look. The first time it is tried again at the next look.
    """

    def __init__(self) -> None:
        self._generation = ""
        self._error: Exception | None = None
        self._failures = 0
        self._left = 0

    def check(self, generation: str) -> None:
        """Look whether a release is downloaded in this round.

        Raises:
            Exception: It is not; this is how it failed.
        """
        if generation != self._generation or self._error is None or self._left == 0:
            return
        self._left -= 1
        raise self._error.with_traceback(None)

    def lose(self, generation: str, error: Exception) -> None:
        """Note that what was downloaded of a release came to nothing."""
        self._failures = self._failures + 1 if generation == self._generation else 1
        self._generation, self._error = generation, error
        self._left = min(2 ** (self._failures - 1), _MOST_ROUNDS) - 1
