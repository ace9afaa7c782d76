"""The gate: what each precision costs each task, measured on the files as a device runs them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_calibration.errors import CalibrationError
from snow_calibration.pictures import as_input
from snow_runtime.session import OnnxSession

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_calibration.pictures import Labelled

    Answers = dict[str, NDArray[np.float32]]

_BATCH: Final = 16


@dataclass(frozen=True)
class TaskScore:
    """How well one task is answered in one precision.

    Attributes:
        task: Its name.
        pictures: How many were measured.
        top1: Share answered rightly, 0 to 1.
        drop: Points of top-1 lost against fp32, percent; below 0 where it won some.
        agreement: Share with the same best label as fp32, 0 to 1.
        logit_error: Mean absolute difference of a logit from fp32's.
    """

    task: str
    pictures: int
    top1: float
    drop: float
    agreement: float
    logit_error: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def answers_of(path: Path, data: Mapping[str, Labelled]) -> Answers:
    """Run a graph file on every task's pictures: float32 [M, C] by task.

    Raises:
        GraphError: The file cannot be run.
        CalibrationError: Data of a task that the file does not answer, or of another size.
    """
    session = OnnxSession(path, providers=["CPUExecutionProvider"])
    try:
        outputs = {task.name: task.output for task in session.manifest.tasks}
        if missing := sorted(set(data) - set(outputs)):
            msg = (
                f"{path} does not answer {', '.join(missing)}, expected some of "
                f"{', '.join(outputs)}. Name the task that each --data is for."
            )
            raise CalibrationError(msg)
        return {task: _answer(session, outputs[task], data[task]) for task in data}
    finally:
        session.close()


def scores(
    answers: Answers, reference: Answers, data: Mapping[str, Labelled]
) -> tuple[TaskScore, ...]:
    """Compare a precision's answers with fp32's and with the truth, task by task."""
    found = []
    for task, labelled in data.items():
        seen, expected = answers[task], reference[task]
        best, known = seen.argmax(1), expected.argmax(1)
        right, before = (best == labelled.targets).sum(), (known == labelled.targets).sum()
        count = len(labelled.targets)
        found.append(
            TaskScore(
                task,
                count,
                float(right / count),
                100 * int(before - right) / count,
                float((best == known).mean()),
                float(np.abs(seen.astype(np.float64) - expected).mean()),
            )
        )
    return tuple(found)


def holds(found: tuple[TaskScore, ...], max_drop: float) -> bool:
    """Whether no task lost more than `max_drop` points; an answer of NaN never holds."""
    return all(score.drop <= max_drop and np.isfinite(score.logit_error) for score in found)


def _answer(session: OnnxSession, output: str, labelled: Labelled) -> NDArray[np.float32]:
    """Run the pictures in batches, the last one filled up where the graph's batch is fixed."""
    size = session.batch_size or _BATCH
    logits = []
    for start in range(0, len(labelled.pixels), size):
        pixels = labelled.pixels[start : start + size]
        count = len(pixels)
        if session.batch_size is not None:
            pixels = np.resize(pixels, (size, *pixels.shape[1:]))
        logits.append(session.run(as_input(pixels, session.manifest))[output][:count])
    return np.concatenate(logits)
