"""What a model answers: per task the labels with their probabilities.

Axes: B pictures of a batch; C labels of a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from snow_runtime.confidence.conformal import bound_at
from snow_runtime.confidence.selective import certainties

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from snow_runtime.graph.confidence_entry import ConfidenceEntry
    from snow_runtime.multilabel import Labelling

UnknownReason = Literal["unsure", "unlike training"]
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
        confidence: How far such answers can be trusted; None where that is not known.
        unlikeness: How unlike those trained on the picture is: above 1 it is more so than nearly
            all that were held out. None where that is not known.
    """

    name: str
    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    answers: Labelling = "one"
    confidence: ConfidenceEntry | None = None
    unlikeness: float | None = None

    @property
    def unknown(self) -> bool:
        """Whether the answer should not be acted on; see `unknown_because`."""
        return self.unknown_because is not None

    @property
    def unknown_because(self) -> UnknownReason | None:
        """Why the answer should not be acted on; None where it may be.

        ``unlike training`` where the picture is; else ``unsure`` where the answer is less certain
        than the task's least probability.
        """
        if self.unlikeness is not None and self.unlikeness > 1:
            return "unlike training"
        least = None if self.confidence is None else self.confidence.least_probability
        return "unsure" if least is not None and self.certainty < least else None

    @property
    def certainty(self) -> float:
        """How certain the answer is, in [0, 1].

        The most probable label's probability; where several labels may be right, that of the least
        certain decision, yes or no, about one of them.
        """
        table = self.probabilities[np.newaxis]
        return float(certainties(table, several=self.answers == "several")[0])

    def labels_at(self, level: float) -> tuple[str, ...]:
        """Give the labels of which the right one is one in at least so many cases.

        That is so for pictures like those held out: split conformal prediction. The most probable
        label comes first and is always there. Bounds are known of a few levels; the next higher one
        serves. Above the highest all labels are given.

        Args:
            level: In how many cases, in (0, 1).

        Raises:
            ValueError: The level is not in (0, 1), or several labels may be right.
        """
        if not 0 < level < 1:
            msg = f"Cannot give labels at the level {level}: expected a number between 0 and 1."
            raise ValueError(msg)
        if self.answers == "several":
            msg = f"Several labels of {self.name!r} may be right: expected a task of one answer."
            raise ValueError(msg)
        bound = bound_at({} if self.confidence is None else self.confidence.sets, level)
        ordered = self.top(len(self.labels))
        return tuple(label for place, (label, p) in enumerate(ordered) if place == 0 or p >= bound)

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

    def to_dict(self, top: int | None = None, *, unknown: bool = True) -> dict[str, Any]:
        """Give plain Python values, which JSON can write.

        ``{"latency_ms": float, "tasks": {name: {"label", "index", "probability", "top"}}}``, where
        ``top`` lists ``{"label", "probability"}``, the most probable first. A task of which several
        labels may be right has ``present`` too, a list of the same form: all labels that have a
        probability of 0.5 or more. ``unknown`` says why an answer should not be acted on, and is
        not there where it may be; ``unlikeness`` is there where it is known.

        Args:
            top: How many labels ``top`` lists; None lists all.
            unknown: Whether to say what is unknown.

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
                    **(_unknown(task) if unknown else {}),
                }
                for task in self._tasks.values()
            },
        }


def _unknown(task: TaskResult) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if task.unlikeness is not None:
        found["unlikeness"] = task.unlikeness
    if task.unknown_because is not None:
        found["unknown"] = task.unknown_because
    return found


def _listed(labels: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in labels]


def _shown(task: TaskResult) -> str:
    if task.unknown:
        return f"unknown ({task.unknown_because})"
    if task.answers == "one":
        return f"{task.label!r} {task.probability:.3f}"
    return "{" + ", ".join(f"{label!r} {share:.3f}" for label, share in task.present()) + "}"
