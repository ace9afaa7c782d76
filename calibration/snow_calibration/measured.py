"""An INT8 graph with all that is measured of it before the gate decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_calibration.candidates import compare_unlabelled
from snow_calibration.trust import match_fp32, measure_trust
from snow_runtime.graph.onnx_file import with_manifest
from snow_runtime.self_check import with_self_check

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from snow_calibration.calibrate import Calibration
    from snow_calibration.candidates import CandidateRunner
    from snow_calibration.gate import Agreement, TaskScore
    from snow_calibration.pictures import CalibrationPictures
    from snow_calibration.trust import TaskTrust


@dataclass(frozen=True)
class MeasuredInt8:
    """An INT8 graph, and how it answers beside fp32 and fp16.

    Attributes:
        model: The graph, with its manifest and its check picture's answers.
        int8: Its scores.
        fp16: Scores of the same graph in half precision; empty where it overflows.
        compared: Where it agrees with fp32 on pictures without labels.
        trust: How reliable the tasks' probabilities are in each precision.
        notes: What was not measured, and why.
    """

    model: onnx.ModelProto
    int8: tuple[TaskScore, ...]
    fp16: tuple[TaskScore, ...]
    compared: tuple[Agreement, ...]
    trust: tuple[TaskTrust, ...]
    notes: tuple[str, ...]


def measure_int8(  # noqa: PLR0917 - a network, and the pictures that it is measured on
    runner: CandidateRunner,
    graph: Path,
    found: Calibration,
    kept: tuple[str, ...],
    samples: CalibrationPictures,
    unlabelled: Mapping[str, NDArray[np.uint8]],
) -> MeasuredInt8:
    """Make the INT8 graph, and measure it.

    Args:
        runner: Answers the labelled pictures.
        graph: The fp32 graph.
        found: Its calibration.
        kept: Layers that stay in floating point.
        samples: Pictures that the temperatures are matched on.
        unlabelled: Pictures without labels by task, [M, S, S, 3] uint8.
    """
    truth, fp32 = runner.truth, found.manifest
    model, said = found.quantised(kept)
    candidate = runner.write(with_manifest(model, said))
    said = match_fp32(said, graph, candidate, samples)
    answers = runner.answers(candidate)
    several = frozenset(task.name for task in fp32.tasks if task.answers == "several")
    compared = compare_unlabelled(graph, candidate, unlabelled, several)
    in_half, notes = runner.half(found)  # takes the place of the candidate
    return MeasuredInt8(
        model=with_self_check(model, said),
        int8=runner.compare(answers),
        fp16=runner.compare(in_half) if in_half else (),
        compared=compared,
        trust=(
            *measure_trust("fp32", runner.reference, truth, fp32),
            *measure_trust("fp16", in_half, truth, fp32),
            *measure_trust("int8", answers, truth, said),
        ),
        notes=tuple(notes),
    )
