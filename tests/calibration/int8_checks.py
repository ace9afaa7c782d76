"""What tests of INT8 graphs look at: what stands before a value, and how far answers move."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx

from tests.export.test_readouts import answers

if TYPE_CHECKING:
    from pathlib import Path

    from snow_calibration.calibrate import Calibration
    from snow_calibration.pictures import CalibrationPictures


def behind(graph: onnx.GraphProto, name: str, stop: set[str]) -> set[str]:
    """Return the operators between a value and those that stop, looking against the flow."""
    made = {output: node for node in graph.node for output in node.output}
    operators, waiting = set[str](), [name]
    while waiting:
        node = made.get(waiting.pop())
        if node is not None:
            operators.add(node.op_type)
            waiting += [] if node.op_type in stop else node.input
    return operators


def int8_errors(
    found: Calibration, graph: Path, samples: CalibrationPictures, int8: Path
) -> dict[str, float]:
    """Return by output how far INT8 moves it on average, in standard deviations.

    Args:
        found: The calibration.
        graph: The graph in fp32.
        samples: Pictures to answer.
        int8: Where the INT8 graph is written.
    """
    onnx.save(replace(found, rest="fp32").int8(), int8)
    preprocessing = found.manifest.preprocessing
    mean, std = (np.array(it, np.float32) for it in (preprocessing.mean, preprocessing.std))
    images = ((samples.pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
    exact, moved = answers(graph, images), answers(int8, images)
    return {
        name: float(np.abs(moved[name] - values).mean() / values.std())
        for name, values in exact.items()
    }
