"""Whether a graph's values on real pictures fit into half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snow_export.intermediate import run_exposed
from snow_runtime.half import check_half

if TYPE_CHECKING:
    import onnx

    from snow_runtime.session import Batch


def check_range(model: onnx.ModelProto, batch: Batch) -> None:
    """Refuse half precision where a value on real pictures would overflow.

    Args:
        model: The float32 graph.
        batch: Real pictures as the graph's input has them, [B, ...].

    Raises:
        HalfError: A layer's output is beyond the largest half; the message names the first.
    """
    for name, value in run_exposed(model, batch):
        if np.issubdtype(value.dtype, np.floating):
            check_half(name, value)
