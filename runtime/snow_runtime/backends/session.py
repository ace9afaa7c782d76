"""What a model needs of whatever runs its graph.

Axes: B pictures of a batch; C labels of a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch


class Session(Protocol):
    """What :class:`snow_runtime.model.Model` needs of a backend."""

    @property
    def batch_size(self) -> int | None:
        """How many pictures every call must bring; None if the graph takes any number."""

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """Map a batch, as the manifest's input has it, to what each output gives, float32.

        That is `[B, C]` logits of a task, and `[B, F]` features where the graph gives them.
        """

    def close(self) -> None:
        """Let go of the backend's memory."""
