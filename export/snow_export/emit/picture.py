"""The graph's first nodes: from camera frames to normalised planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

if TYPE_CHECKING:
    from snow_export.emit.emitter import Emitter
    from snow_runtime.graph.manifest import InputEntry, Preprocessing


def emit_picture(emitter: Emitter, entry: InputEntry, preprocessing: Preprocessing) -> str:
    """Write what turns the input into [B, 3, S, S], normalised, red first; return its name.

    A float input is that already. Frames, uint8 [B, S, S, 3], are cast, transposed, put into
    RGB order and scaled: (x / 255 - mean) / std as one product and one sum per channel. The
    nodes are called `input/...`, and stay in float32 whatever the graph's precision.
    """
    if entry.dtype != "uint8":
        return entry.name
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    name = emitter.add("Cast", [entry.name], "input/cast", to=TensorProto.FLOAT)
    name = emitter.add("Transpose", [name], "input/planes", perm=[0, 3, 1, 2])
    if entry.colour == "bgr":
        order = emitter.constant("input/rgb.indices", np.array([2, 1, 0], np.int64))
        name = emitter.add("Gather", [name, order], "input/rgb", axis=1)
    scale = emitter.constant("input/scale", _channels(1 / (255 * std)))
    shift = emitter.constant("input/shift", _channels(-mean / std))
    scaled = emitter.add("Mul", [name, scale], "input/scaled")
    return emitter.add("Add", [scaled, shift], "input/normalised")


def _channels(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return values.astype(np.float32).reshape(1, 3, 1, 1)
