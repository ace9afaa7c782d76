"""Whether something has moved, by a few pixels of each picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE: Final = 32  # pixels of the small picture along its short side, at least
_LEVELS: Final = 25  # of 255: less is noise


class Motion:
    """Compares pictures with the one that was marked last.

    So what moves slowly is seen too, once it has come far enough.

    Args:
        share: Share of the small picture's pixels that have to differ, in (0, 1].
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._marked: NDArray[np.int16] | None = None

    def differs(self, image: NDArray[np.uint8]) -> bool:
        """Tell whether a picture, uint8 `[H, W, 3]`, differs from the marked one, or is the first.

        Another size counts as a difference.
        """
        small = _small(image)
        if self._marked is None or self._marked.shape != small.shape:
            return True
        changed = np.count_nonzero(np.abs(small - self._marked) > _LEVELS)
        return bool(changed >= self._share * small.size)

    def mark(self, image: NDArray[np.uint8]) -> None:
        """Compare with this picture from now on."""
        self._marked = _small(image)


def _small(image: NDArray[np.uint8]) -> NDArray[np.int16]:
    step = max(1, min(image.shape[:2]) // _SIDE)
    return image[::step, ::step, 1].astype(np.int16)  # green: most of what is bright
