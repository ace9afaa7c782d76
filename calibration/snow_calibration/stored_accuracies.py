"""Whether fp32 is as accurate on the gate's pictures as the graph says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snow_calibration.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_calibration.gate import TaskScore
    from snow_calibration.pictures import LabelledPictures
    from snow_runtime.graph.manifest import Manifest, TaskEntry

_CHANCE: Final = 0.05  # a difference rarer than this is no chance, and said
_NEVER: Final = 0.001  # one rarer than this is refused even of pictures that were held out
_SLACK: Final = 0.01  # of the very same pictures, answered by torch and by ONNX Runtime


def check_accuracies(
    manifest: Manifest,
    fp32: Sequence[TaskScore],
    truth: Mapping[str, LabelledPictures],
    *,
    accept: bool = False,
) -> list[str]:
    """Compare what fp32 answers rightly with the accuracies in the manifest.

    Where any number of labels may be right that is the share of pictures of which all are, and
    not the stored `accuracy` of single labels: the answers about one picture are not independent,
    and the tests count pictures.

    Args:
        manifest: The fp32 graph's.
        fp32: Scores measured with it.
        truth: The pictures that they were measured on.
        accept: Whether to say what would be refused, and to go on.

    Returns:
        What is to be said: other held-out pictures may be easier or harder.

    Raises:
        CalibrationError: The very pictures of the stored accuracy are answered otherwise, or
            ones of unknown origin are by more than chance explains, or ones that were held out
            are by so much that their labels or their origin must be other ones. Where fp32 is
            wrong anyway, INT8 has nothing to lose.
    """
    notes = []
    for score in fp32:
        entry = manifest.task(score.task)
        known = truth[score.task].known
        said, value = _difference(entry, score, same=known == "measured")
        if said is None:
            continue
        if accept or known == "rest" or (known == "held out" and value >= _NEVER):
            notes.append(said)
        else:
            msg = (
                f"{said}. The pictures are not those that it was measured on, or some of them were "
                "trained on, or files or labels have changed: give the data that the task was "
                "trained with. --other-pictures judges by these all the same."
            )
            raise CalibrationError(msg)
    return notes


def _difference(entry: TaskEntry, score: TaskScore, *, same: bool) -> tuple[str | None, float]:
    """Say that the accuracies differ, if they do, and with which p-value."""
    several = entry.answers == "several"
    stored = entry.metrics.get("exact_match" if several else "accuracy")
    if stored is None:
        return None, 1.0
    seen = (
        f"fp32 answers {score.top1:.4f} of the {score.pictures} pictures of task {score.task!r} "
        f"rightly{' in every label' if several else ''}, expected {stored:.4f} as when it was "
        "trained"
    )
    if same:
        slack = max(_SLACK, 1.5 / score.pictures)
        return (seen, 0.0) if abs(score.top1 - stored) > slack else (None, 1.0)
    value = _chance(score, stored, entry)
    said = f"{seen}; chance explains that with p = {value:.1g}" if value < _CHANCE else None
    return said, value


def _chance(score: TaskScore, stored: float, entry: TaskEntry) -> float:
    """Return the p-value of both accuracies being of one kind of pictures, by Fisher's test."""
    from scipy.stats import fisher_exact

    measured = None if entry.data is None else entry.data.measured
    count = score.pictures if measured is None else measured.pictures
    right, before = round(score.top1 * score.pictures), round(stored * count)
    table = [[right, score.pictures - right], [before, max(count - before, 0)]]
    return float(fisher_exact(table)[1])
