"""Whether a graph's values on real pictures fit into half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snow_export.all_values import AllValuesSession, with_any_batch
from snow_runtime.graph.half_precision import check_half_on_pictures

if TYPE_CHECKING:
    import onnx

    from snow_runtime.backends.batch import Batch


def check_range(model: onnx.ModelProto, batch: Batch) -> None:
    """Refuse half precision where a value on real pictures would overflow, or comes near it.

    Args:
        model: The float32 graph, of any batch size.
        batch: Real pictures as the graph's input has them, [B, ...]; run one by one, since all
            values inside are held together.

    Raises:
        HalfError: A layer's output is beyond the largest half, with headroom for other pictures;
            the message names the first.
    """
    exposed = AllValuesSession(with_any_batch(model))
    for number in range(len(batch)):
        for name, value in exposed.run(batch[number : number + 1]):
            if np.issubdtype(value.dtype, np.floating):
                check_half_on_pictures(name, value)
