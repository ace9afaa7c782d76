"""A contender: a model that is called on random frames, its stages timed.

Axes: H, W height and width of a camera's frame.
"""

from __future__ import annotations

import time
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_runtime.bench.errors import BenchError
from snow_runtime.bench.stages import LatencySamples, TimedSession
from snow_runtime.model import Model, is_engine, load

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_runtime.bench.options import BenchOptions
    from snow_runtime.bench.stages import StageTimes

_SPARE: Final = 3
"""Frames beyond a batch, so that a call does not find in the cache what the last one left there."""


class Contender:
    """A graph or an engine, loaded, that is called on the same frames as the others.

    Args:
        path: The file.
        options: How it is called.

    Attributes:
        path: The file.
        model: What it became.
        session: What the model runs, with its clock.
        samples: The times of its calls so far.

    Raises:
        BenchError: It takes another number of pictures a call.
        SnowError: It cannot be loaded.
    """

    def __init__(self, path: Path, options: BenchOptions) -> None:
        self.path = path
        # Threads are ONNX Runtime's, and an engine may be compared with the graph that it is of.
        loaded = load(path) if is_engine(path) else load(path, threads=options.threads)
        self.session = TimedSession(loaded.session)
        self.model = Model(self.session, loaded.manifest, loaded)
        self.samples = LatencySamples()
        self._batch, self._colour = options.batch, options.colour
        size = self.session.batch_size
        if size not in (None, options.batch):
            self.close()
            msg = (
                f"{path.name} takes {size} {'picture' if size == 1 else 'pictures'} a call, not "
                f"{options.batch}, expected a batch that every contender takes. Give --batch "
                f"{size}, or make it anew for such a batch."
            )
            raise BenchError(msg)

    def call(self, frames: list[NDArray[np.uint8]]) -> StageTimes:
        """Answer one batch, and tell what each stage took.

        Args:
            frames: Frames, as many as the batch has, uint8 `[H, W, 3]`.
        """
        began_s = time.perf_counter()
        if self._batch == 1:
            self.model(frames[0], self._colour)
        else:
            self.model.batch(frames, self._colour)
        return self.session.stages(began_s, time.perf_counter())

    def close(self) -> None:
        """Let go of the model's memory."""
        self.model.close()


class Frames:
    """Random frames of a camera's size, given out in turn.

    Args:
        options: Options with their size and seed, and how many a call takes.
    """

    def __init__(self, options: BenchOptions, spare: int = _SPARE) -> None:
        width, height = options.camera
        rng = np.random.default_rng(options.seed)
        self._batch = options.batch
        self._turn = cycle(
            [
                rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                for _ in range(options.batch + spare)
            ]
        )

    def take(self) -> list[NDArray[np.uint8]]:
        """Return the frames of the next call, uint8 `[H, W, 3]` each."""
        return list(islice(self._turn, self._batch))
