"""A batch of pictures, as every backend takes it, and what is checked of it.

Axes: B pictures of a batch; S the image size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.graph.manifest import Manifest

Batch: TypeAlias = "NDArray[np.float32] | NDArray[np.uint8]"
"""Normalised planes float32 `[B, 3, S, S]`, or frames uint8 `[B, S, S, 3]`."""


def check_batch(manifest: Manifest, batch_size: int | None, batch: Batch) -> None:
    """Refuse a batch that is not as the manifest's input has it.

    Args:
        manifest: What the batch is for.
        batch_size: How many pictures it has to hold; None for any number above 0.
        batch: float32 `[B, 3, S, S]`, finite; or uint8 `[B, S, S, 3]`.

    Raises:
        InputError: It has another type, shape or dtype, or NaN or infinity in it.
    """
    entry = manifest.input
    picture = entry.picture_shape(manifest.preprocessing.image_size)
    expected = f"{entry.dtype} [{', '.join(map(str, (batch_size or 'B', *picture)))}]"
    advice = "Make it with snow_runtime.prepare, or call the model on pictures."
    if not isinstance(batch, np.ndarray):
        msg = f"The batch is a {type(batch).__name__}, expected {expected}. {advice}"
        raise InputError(msg)
    fits = batch.ndim == 4 and batch.shape[1:] == picture and len(batch) > 0
    if not fits or batch.dtype != entry.dtype or batch_size not in (None, len(batch)):
        shape = list(batch.shape)
        msg = f"The batch is {batch.dtype} {shape}, expected {expected}. {advice}"
        raise InputError(msg)
    if entry.dtype == "float32" and not np.isfinite(batch).all():
        msg = f"The batch holds NaN or infinity, expected finite {expected}. {advice}"
        raise InputError(msg)
