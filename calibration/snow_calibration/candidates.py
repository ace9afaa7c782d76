"""Measuring candidates: INT8 graphs as files, on pictures, opened the way a device opens them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_calibration.calibrate import write_graph
from snow_calibration.gate import agreements, answers_of, answers_to, scores
from snow_runtime.errors import HalfError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from snow_calibration.calibrate import Calibration
    from snow_calibration.gate import Agreement, Answers, TaskScore
    from snow_calibration.pictures import LabelledPictures


@dataclass(frozen=True)
class CandidateRunner:
    """Compares graphs with fp32 on one set of labelled pictures.

    Attributes:
        folder: Where candidates are written.
        truth: The pictures, by task.
        reference: What fp32 answers.
    """

    folder: Path
    truth: Mapping[str, LabelledPictures]
    reference: Answers

    @classmethod
    def of(
        cls, folder: Path, graph: Path, truth: Mapping[str, LabelledPictures]
    ) -> CandidateRunner:
        """Answer the pictures with fp32, once."""
        return cls(folder, truth, answers_of(graph, truth))

    def write(self, model: onnx.ModelProto) -> Path:
        """Write a candidate in place of the last one."""
        path = self.folder / "candidate.onnx"
        write_graph(model, path)
        return path

    def fp32(self) -> tuple[TaskScore, ...]:
        """Return how well fp32 itself answers."""
        return scores(self.reference, self.reference, self.truth)

    def scores(self, candidate: Path) -> tuple[TaskScore, ...]:
        """Run a candidate on the pictures and compare."""
        return self.compare(self.answers(candidate))

    def answers(self, candidate: Path) -> Answers:
        """Run a candidate on the pictures."""
        return answers_of(candidate, self.truth)

    def compare(self, answers: Answers) -> tuple[TaskScore, ...]:
        """Compare what a candidate answered to the pictures."""
        return scores(answers, self.reference, self.truth)

    def half(self, found: Calibration) -> tuple[Answers, list[str]]:
        """Run the fp16 graph; where a weight is too large for one, say so instead."""
        try:
            return self.answers(self.write(found.half())), []
        except HalfError as error:
            return {}, [f"fp16 was not measured: {error}"]


def compare_unlabelled(
    graph: Path,
    candidate: Path,
    unlabelled: Mapping[str, NDArray[np.uint8]],
    several: Collection[str],
) -> tuple[Agreement, ...]:
    """Count where a candidate answers otherwise than fp32, on pictures without labels."""
    if not unlabelled:
        return ()
    return agreements(answers_to(candidate, unlabelled), answers_to(graph, unlabelled), several)
