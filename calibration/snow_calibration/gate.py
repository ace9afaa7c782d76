"""The gate: what each precision costs each task, measured on the files as a device runs them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_calibration.errors import CalibrationError
from snow_calibration.pictures import as_input
from snow_runtime.backends.onnxruntime_session import OnnxSession

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_calibration.pictures import LabelledPictures

    Answers = dict[str, NDArray[np.float32]]

_BATCH: Final = 16


@dataclass(frozen=True)
class TaskScore:
    """How well one task is answered in one precision.

    Where any number of labels may be right, an answer to a picture is one decision for each label,
    and a picture is lost where more of them are wrong than in fp32, and won where fewer are. The
    decisions about one picture are not independent, so that the test of the drop, which counts
    independent things, has to count pictures. Nor would it do to count those of which every
    decision is right: with many labels they are few, and no loss on the others would show.

    Attributes:
        task: Its name.
        pictures: How many were measured.
        top1: Share answered rightly, in every label where there are several, 0 to 1.
        drop: Points lost against fp32, percent: the pictures lost less those won; below 0 where it
            won some. Where one label is right, these are points of top-1.
        agreement: Share with the same best label as fp32, or the same decisions, 0 to 1.
        logit_error: Mean absolute difference of a logit from fp32's.
        lost: Pictures answered rightly by fp32 and wrongly now.
        won: Pictures answered wrongly by fp32 and rightly now.
    """

    task: str
    pictures: int
    top1: float
    drop: float
    agreement: float
    logit_error: float
    lost: int
    won: int

    @property
    def finite(self) -> bool:
        """Whether all answers are numbers."""
        return math.isfinite(self.logit_error)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Agreement:
    """How often one task is answered as by fp32, on pictures without labels.

    Attributes:
        task: Its name.
        pictures: How many were compared.
        changed: The number of those with another best label, or another decision about one.
    """

    task: str
    pictures: int
    changed: int


def answers_of(path: Path, data: Mapping[str, LabelledPictures]) -> Answers:
    """Run a graph file on every task's labelled pictures: see `answers_to`."""
    return answers_to(path, {task: labelled.pixels for task, labelled in data.items()})


def answers_to(path: Path, pixels: Mapping[str, NDArray[np.uint8]]) -> Answers:
    """Run a graph file on every task's pictures: float32 [M, C] by task.

    Tasks that are given one and the same array are answered together.

    Raises:
        GraphError: The file cannot be run.
        CalibrationError: Data of a task that the file does not answer, or of another size.
    """
    session = OnnxSession(path, providers=["CPUExecutionProvider"])
    try:
        outputs = {task.name: task.output for task in session.manifest.tasks}
        if missing := sorted(set(pixels) - set(outputs)):
            msg = (
                f"{path} does not answer {', '.join(missing)}, expected some of "
                f"{', '.join(outputs)}. Name the task that each --data is for."
            )
            raise CalibrationError(msg)
        found: Answers = {}
        for array in {id(array): array for array in pixels.values()}.values():
            tasks = [task for task, own in pixels.items() if own is array]
            answers = _answer(session, [outputs[task] for task in tasks], array)
            found |= dict(zip(tasks, answers, strict=True))
        return {task: found[task] for task in pixels}
    finally:
        session.close()


def outputs_of(path: Path, pictures: NDArray[np.uint8]) -> Answers:
    """Run a graph file on pictures: all that it gives out, float32 [M, C] or [M, F], by output.

    Raises:
        GraphError: The file cannot be run.
        CalibrationError: The pictures are of another size.
    """
    session = OnnxSession(path, providers=["CPUExecutionProvider"])
    try:
        names = list(session.manifest.outputs)
        return dict(zip(names, _answer(session, names, pictures), strict=True))
    finally:
        session.close()


def scores(
    answers: Answers, reference: Answers, data: Mapping[str, LabelledPictures]
) -> tuple[TaskScore, ...]:
    """Compare a precision's answers with fp32's and with the truth, task by task."""
    found = []
    for task, labelled in data.items():
        seen, expected = answers[task], reference[task]
        now, known = (_decided(logits, several=labelled.several) for logits in (seen, expected))
        truth = labelled.targets.reshape(len(labelled.targets), -1)
        wrong, before = (now != truth).sum(1), (known != truth).sum(1)
        lost, won = int((wrong > before).sum()), int((wrong < before).sum())
        count = len(labelled.targets)
        found.append(
            TaskScore(
                task,
                count,
                float((wrong == 0).mean()),
                100 * (lost - won) / count,
                float((now == known).all(1).mean()),
                float(np.abs(seen.astype(np.float64) - expected).mean()),
                lost,
                won,
            )
        )
    return tuple(found)


def agreements(
    answers: Answers, reference: Answers, several: Collection[str] = ()
) -> tuple[Agreement, ...]:
    """Count the answers that differ from fp32's; one that is no number differs.

    Args:
        answers: Logits [M, C] by task.
        reference: What fp32 answers, likewise.
        several: Tasks of which any number of labels may be right.
    """
    found = []
    for task, seen in answers.items():
        now, known = (_decided(it, several=task in several) for it in (seen, reference[task]))
        same = (now == known).all(1) & np.isfinite(seen).all(1)
        found.append(Agreement(task, len(same), int((~same).sum())))
    return tuple(found)


def _decided(logits: NDArray[np.float32], *, several: bool) -> NDArray[Any]:
    """Return the best label of each picture, [M, 1]; or of each label whether it is, [M, C]."""
    return logits >= 0 if several else logits.argmax(1)[:, None]


def _answer(
    session: OnnxSession, outputs: Sequence[str], pictures: NDArray[np.uint8]
) -> list[NDArray[np.float32]]:
    """Run the pictures in batches, the last one filled up where the graph's batch is fixed."""
    size = session.batch_size or _BATCH
    logits = []
    for start in range(0, len(pictures), size):
        pixels = pictures[start : start + size]
        count = len(pixels)
        if session.batch_size is not None:
            pixels = np.resize(pixels, (size, *pixels.shape[1:]))
        answers = session.run(as_input(pixels, session.manifest))
        logits.append([answers[output][:count] for output in outputs])
    return [np.concatenate(parts) for parts in zip(*logits, strict=True)]
