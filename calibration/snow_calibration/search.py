"""Which layers INT8 hurts most, and which of them go back to floating point."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_calibration.float_graph import open_quiet_session
from snow_calibration.pictures import as_input

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx
    from numpy.typing import NDArray

    from snow_calibration.calibrate import Calibration
    from snow_calibration.gate import Answers, TaskScore
    from snow_runtime.progress import ProgressCallback


@dataclass(frozen=True)
class Sensitivity:
    """What INT8 in one layer alone does to the answers.

    Attributes:
        layer: The layer's name.
        error: Mean absolute change of a logit, in units of the task's logits' deviation; the
            worst task's.
    """

    layer: str
    error: float


@dataclass(frozen=True)
class SearchStep:
    """One graph that was measured.

    Attributes:
        kept: The layers in floating point.
        added: The one that is new among them; None for the first step.
        int8_share: Share of the graph's multiply-adds that is INT8, 0 to 1.
        scores: How well each task is answered, on the pictures that are searched on.
        holds: Whether that is well enough to stop.
    """

    kept: tuple[str, ...]
    added: str | None
    int8_share: float
    scores: tuple[TaskScore, ...]
    holds: bool

    @property
    def worst_drop(self) -> float:
        """The largest drop of any task, in points."""
        return max(score.drop for score in self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "worst_drop": self.worst_drop}


def sensitivities(
    calibration: Calibration,
    pixels: NDArray[np.uint8],
    *,
    fixed: Sequence[str] = (),
    progress: ProgressCallback | None = None,
) -> tuple[Sensitivity, ...]:
    """Measure each layer in INT8 alone, all others in floating point; the most sensitive first.

    Args:
        calibration: The float graph and its ranges.
        pixels: [M, S, S, 3] uint8, pictures to answer.
        fixed: Layers that stay in floating point anyway, and are not measured.
        progress: Callback that gets `layers` and the share that is done, after each of them.
    """
    alone = calibration.in_fp32()
    reference = _answers(alone.model, alone, pixels)
    scale = {task: max(float(logits.std()), 1e-6) for task, logits in reference.items()}
    layers = [layer for layer in alone.layers if layer not in set(fixed)]
    found = []
    for number, layer in enumerate(layers, 1):
        others = [other for other in alone.layers if other != layer]
        answers = _answers(alone.int8(others), alone, pixels)
        changes = [
            float(np.abs(answers[task] - logits).mean()) / scale[task]
            for task, logits in reference.items()
        ]
        found.append(Sensitivity(layer, max(changes)))
        if progress is not None:
            progress("layers", number / len(layers))
    return tuple(sorted(found, key=lambda item: -item.error))


def keep_worst(
    ranking: Callable[[], Sequence[Sensitivity]],
    measure: Callable[[Sequence[str]], tuple[TaskScore, ...]],
    *,
    share: Callable[[Sequence[str]], float],
    fixed: Sequence[str],
    holds: Callable[[tuple[TaskScore, ...]], bool],
    most: int,
) -> list[SearchStep]:
    """Give the worst layers back to floating point, one by one, until it is enough.

    Args:
        ranking: Function that gives the layers by sensitivity; asked only where it is not enough at
            once.
        measure: Function from the kept layers to the scores of their graph.
        share: Function from the kept layers to the share of the arithmetic that is INT8.
        fixed: Layers that are kept from the start.
        holds: Function that tells from the scores whether they are enough.
        most: How many layers may be given back.

    Returns:
        What was measured, in order; the last one holds, unless `most` were not enough.
    """
    kept, added, steps = tuple(fixed), None, list[SearchStep]()
    worst: list[str] | None = None
    while True:
        found = measure(kept)
        steps.append(SearchStep(kept, added, share(kept), found, holds(found)))
        if steps[-1].holds or len(steps) > most:
            return steps
        if worst is None:
            worst = [item.layer for item in ranking()]
        if not worst:
            return steps
        added = worst.pop(0)
        kept = (*kept, added)


def _answers(
    model: onnx.ModelProto, calibration: Calibration, pixels: NDArray[np.uint8]
) -> Answers:
    session = open_quiet_session(model)
    first = model.graph.input[0]
    size = first.type.tensor_type.shape.dim[0].dim_value or 1
    names = [task.output for task in calibration.manifest.tasks]
    found: list[list[NDArray[np.float32]]] = []
    for start in range(0, len(pixels), size):
        some = pixels[start : start + size]
        full = np.resize(some, (size, *some.shape[1:]))  # where the graph's batch is fixed
        answers = session.run(names, {first.name: as_input(full, calibration.manifest)})
        found.append([answer[: len(some)] for answer in answers])
    return {name: np.concatenate(parts) for name, *parts in zip(names, *found, strict=True)}
