"""What a model answers: per task the labels with their probabilities.

Axes: B pictures of a batch; C labels of a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from snow_runtime.multilabel import Labelling

_NOT_FINITE: Final = (
    "The graph computed logits that are NaN or infinite, expected finite ones. Export it again in "
    "fp32; if that cures it, the numbers inside are too large for its precision."
)
PRESENT: Final = 0.5
"""Probability from which a label counts as present, where nothing else is asked for."""


@dataclass(frozen=True, eq=False)
class TaskResult:
    """One task's answer about one picture.

    Attributes:
        name: Name of the task.
        labels: The C labels, in the order of the probabilities.
        probabilities: float32 `[C]`, each in [0, 1]; the caller's own array. Together they are 1
            where one label is right, and independent of each other where several may be.
        answers: ``one`` or ``several``: how many labels may be right.
    """

    name: str
    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    answers: Labelling = "one"

    @property
    def index(self) -> int:
        """Index of the most probable label; the first one of several equals."""
        return int(self.probabilities.argmax())

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.labels[self.index]

    @property
    def probability(self) -> float:
        """Probability of the most probable label, in [0, 1]."""
        return float(self.probabilities[self.index])

    def top(self, n: int = 5) -> list[tuple[str, float]]:
        """Give the ``n`` most probable labels with their probabilities, all if there are fewer.

        The most probable comes first; equals keep the order of the labels.

        Raises:
            ValueError: ``n`` is negative.
        """
        if n < 0:
            msg = f"Cannot give {n} labels: expected 0 or more."
            raise ValueError(msg)
        order = np.argsort(-self.probabilities, kind="stable")[:n]
        return [(self.labels[index], float(self.probabilities[index])) for index in order]

    def present(self, threshold: float = PRESENT) -> list[tuple[str, float]]:
        """Give all labels with at least this probability, with their probabilities.

        It is made for tasks of which several labels may be right; none need be. The most probable
        comes first; equals keep the order of the labels.

        Raises:
            ValueError: ``threshold`` is not in [0, 1].
        """
        if not 0 <= threshold <= 1:
            msg = f"Cannot give the labels from {threshold} on: expected a probability, 0 to 1."
            raise ValueError(msg)
        return [each for each in self.top(len(self.labels)) if each[1] >= threshold]


class Result(Mapping[str, TaskResult]):
    """All tasks' answers about one picture, by task name: the graph's in order, then the readouts'.

    Attributes:
        latency_ms: Wall time of the call that made this result, preprocessing included, in
            milliseconds. The results of one batch all carry the time of the whole batch.
    """

    __slots__ = ("_tasks", "latency_ms")

    def __init__(self, tasks: Iterable[TaskResult], latency_ms: float) -> None:
        self._tasks = {task.name: task for task in tasks}
        self.latency_ms = latency_ms

    def __getitem__(self, name: str) -> TaskResult:
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        answers = ", ".join(f"{task.name}={_shown(task)}" for task in self._tasks.values())
        return f"<Result {answers}, {self.latency_ms:.1f} ms>"

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Give plain Python values, which JSON can write.

        ``{"latency_ms": float, "tasks": {name: {"label", "index", "probability", "top"}}}``, where
        ``top`` lists ``{"label", "probability"}``, the most probable first. A task of which several
        labels may be right has ``present`` too, a list of the same form: all labels that have a
        probability of 0.5 or more.

        Args:
            top: How many labels ``top`` lists; None lists all.

        Raises:
            ValueError: ``top`` is negative.
        """
        return {
            "latency_ms": self.latency_ms,
            "tasks": {
                task.name: {
                    "label": task.label,
                    "index": task.index,
                    "probability": task.probability,
                    "top": _listed(task.top(len(task.labels) if top is None else top)),
                    **({"present": _listed(task.present())} if task.answers == "several" else {}),
                }
                for task in self._tasks.values()
            },
        }


def _listed(labels: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in labels]


def _shown(task: TaskResult) -> str:
    if task.answers == "one":
        return f"{task.label!r} {task.probability:.3f}"
    return "{" + ", ".join(f"{label!r} {share:.3f}" for label, share in task.present()) + "}"


def to_probabilities(logits: NDArray[np.float32], answers: Labelling) -> NDArray[np.float32]:
    """Turn a task's logits `[B, C]` into probabilities `[B, C]`: see `softmax` and `sigmoid`.

    Raises:
        GraphError: A logit is NaN or infinite, so that there are no probabilities.
    """
    return softmax(logits) if answers == "one" else sigmoid(logits)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn logits into probabilities along the last axis, without overflow for any finite logits.

    Args:
        logits: float32 `[B, C]`.

    Returns:
        float32 `[B, C]`, each row in [0, 1] and summing to 1.

    Raises:
        GraphError: A logit is NaN or infinite, so that there are no probabilities.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
    if not np.isfinite(probabilities).all():
        raise GraphError(_NOT_FINITE)
    return np.asarray(probabilities, np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn each logit into a probability of its own, without overflow for any finite logit.

    Args:
        logits: float32 `[B, C]`.

    Returns:
        float32 `[B, C]`, each in [0, 1].

    Raises:
        GraphError: A logit is NaN or infinite, so that there is no probability.
    """
    if not np.isfinite(logits).all():
        raise GraphError(_NOT_FINITE)
    shrunk = np.exp(-np.abs(logits))  # at most 1; it underflows to 0 where the logit is far off
    return np.asarray(np.where(logits >= 0, 1, shrunk) / (1 + shrunk), np.float32)
