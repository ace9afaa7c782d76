"""Pictures made ready for a graph's input, and runs of a graph on them.

Axes: B pictures; S the image size; C labels of a task.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snow_runtime.errors import InputError
from snow_runtime.pictures.preprocessing import Colour, Picture, prepare_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch
    from snow_runtime.backends.session import Session
    from snow_runtime.graph.manifest import InputEntry, Manifest, Preprocessing


@dataclass(frozen=True, eq=False)
class Prepared:
    """What :meth:`snow_runtime.model.Model.prepare` hands to ``answer``.

    Attributes:
        images: The pictures themselves; kept for a model that wants them prepared otherwise.
        colour: Order of the arrays' channels.
        batch: float32 `[B, 3, S, S]`, normalised; or uint8 `[B, S, S, 3]`. Empty without images.
        took_s: How long that took, in seconds.
        entry: The graph's input that it is for.
        preprocessing: Preprocessing that they were prepared by.
    """

    images: tuple[Picture, ...]
    colour: Colour
    batch: Batch
    took_s: float
    entry: InputEntry
    preprocessing: Preprocessing

    def fits(self, manifest: Manifest) -> bool:
        """Tell whether a graph takes this as it is."""
        return (self.entry, self.preprocessing) == (manifest.input, manifest.preprocessing)


def make_ready(manifest: Manifest, images: Sequence[Picture], colour: Colour) -> Prepared:
    """Turn pictures into a batch as a graph's input has it.

    Raises:
        InputError: A picture has another type, shape or dtype; the message says which one.
    """
    start = time.perf_counter()
    entry, preprocessing = manifest.input, manifest.preprocessing
    shape = (len(images), *entry.picture_shape(preprocessing.image_size))
    batch: Batch = np.empty(shape, entry.dtype)
    index = 0
    try:
        for index, image in enumerate(images):
            batch[index] = prepare_for(entry, image, preprocessing, colour)
    except InputError as error:
        place = f"Image {index} of the batch: " if len(images) > 1 else ""
        msg = f"{place}{error}"
        raise InputError(msg) from error
    took_s = time.perf_counter() - start
    return Prepared(tuple(images), colour, batch, took_s, entry, preprocessing)


def run_in_parts(session: Session, batch: Batch) -> dict[str, NDArray[np.float32]]:
    """Run a graph as often as a batch needs: one that takes so many pictures only gets so many.

    Args:
        session: Session that runs the graph.
        batch: Batch of any number of pictures, 1 or more.

    Returns:
        Table by output name: float32 `[B, C]`.

    Raises:
        GraphError: The session is closed, or the computation failed.
    """
    size, count = session.batch_size, len(batch)
    if size in (None, count):
        return session.run(batch)
    missing = -count % size
    if missing:  # the last picture once more
        batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
    parts = [session.run(batch[start : start + size]) for start in range(0, len(batch), size)]
    return {
        name: np.concatenate([part[name] for part in parts])[:count].copy() for name in parts[0]
    }
