"""What a calibration found, for people and programs: a table, a JSON document and a plot."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from snow_calibration.errors import CalibrationError
from snow_calibration.judge import together
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_calibration.gate import TaskScore
    from snow_calibration.ranges import Origin
    from snow_calibration.search import SearchStep, Sensitivity
    from snow_calibration.trust import TaskTrust
    from snow_calibration.verdict import GateOutcome, Verdict


@dataclass(frozen=True)
class CalibrationReport:
    """What was measured.

    Attributes:
        origin: Graph, pictures and method.
        rest: Precision of what is not INT8.
        max_drop: Points that each task must be shown to lose less than.
        fp32: Scores of the graph that was calibrated.
        fp16: Scores of the same graph in half precision; empty where it overflows.
        int8: Scores of the INT8 graph that is judged.
        verdicts: What they say of each task.
        written: Whether the graph is: it passed, or is undecided and that was accepted.
        kept: Its layers in floating point.
        int8_share: Share of the graph's multiply-adds that is INT8, 0 to 1.
        steps: The INT8 graphs that a search tried, the one that it chose last; empty without.
        sensitivities: Sensitivities by layer, the most sensitive first; empty where they were not
            measured.
        file_bytes: Sizes of the fp32 file and of the INT8 one, in bytes.
        notes: What else is to be known, such as outputs that were not judged.
        trust: How reliable the tasks' probabilities are in each precision.
    """

    origin: Origin
    rest: str
    max_drop: float
    fp32: tuple[TaskScore, ...]
    fp16: tuple[TaskScore, ...]
    int8: tuple[TaskScore, ...]
    verdicts: tuple[Verdict, ...]
    written: bool
    kept: tuple[str, ...]
    int8_share: float
    steps: tuple[SearchStep, ...]
    sensitivities: tuple[Sensitivity, ...]
    file_bytes: tuple[int, int]
    notes: tuple[str, ...] = ()
    trust: tuple[TaskTrust, ...] = ()

    @property
    def outcome(self) -> GateOutcome:
        """Of all tasks together."""
        return together(self.verdicts)

    @property
    def holds(self) -> bool:
        """Whether the graph passed."""
        return self.outcome == "pass"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **asdict(self),
            "steps": [step.to_dict() for step in self.steps],
            "outcome": self.outcome,
            "holds": self.holds,
        }

    def lines(self) -> Iterator[str]:
        """Yield the table, the verdicts, and what each layer that was given back bought."""
        yield (
            f"{'precision':<10} {'task':<16} {'pictures':>8} {'top-1':>7} {'drop':>6} {'lost':>5} "
            f"{'won':>5} {'agreement':>9} {'logit error':>11}"
        )
        for precision, found in (("fp32", self.fp32), ("fp16", self.fp16), ("int8", self.int8)):
            for score in found:
                mark = "" if score.finite else "  NO NUMBER"
                yield (
                    f"{precision:<10} {score.task:<16} {score.pictures:>8} {score.top1:>7.4f} "
                    f"{score.drop:>6.2f} {score.lost:>5} {score.won:>5} {score.agreement:>9.4f} "
                    f"{score.logit_error:>11.2e}{mark}"
                )
        yield from (verdict.line() for verdict in self.verdicts)
        yield from map(_trust_line, self.trust)
        for before, after in itertools.pairwise(self.steps):
            yield (
                f"{after.added} back in {self.rest}: worst drop {before.worst_drop:.2f} -> "
                f"{after.worst_drop:.2f} points on the pictures searched on"
            )
        yield from (f"note: {note}" for note in self.notes)
        floating, int8 = self.file_bytes
        yield (
            f"{self.int8_share:.1%} of the multiply-adds in INT8, {len(self.kept)} layers kept in "
            f"{self.rest}; {int8 / 1e6:.1f} MB, {int8 / floating:.3f} of the fp32 file"
        )
        yield f"gate of {self.max_drop:g} points: {self.outcome}"


def _trust_line(found: TaskTrust) -> str:
    said = (
        f"{found.task} in {found.precision}: temperature {found.temperature:.3f}, calibration "
        f"error {found.reliability.calibration_error:.4f}, Brier score "
        f"{found.reliability.brier:.4f}"
    )
    if found.given < 1:
        right = "none" if found.right is None else f"{found.right:.4f}"
        said += f"; {found.given:.4f} of the answers are given, {right} of them right"
    return said


def write_calibration_report(report: CalibrationReport, path: Path) -> tuple[Path, Path]:
    """Write the JSON document and, beside it, the plot; return their paths.

    Raises:
        CalibrationError: They cannot be written.
    """
    picture = path.with_suffix(".png")
    with writing(path, CalibrationError, "Choose another -o, or free space."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "w") as file:
            json.dump(finite(report.to_dict()), file, indent=1, allow_nan=False)
        with atomic_write(picture) as file:
            _plot(report).savefig(file, format="png", dpi=130)
    return path, picture


def finite(value: Any) -> Any:
    """Return plain JSON values with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plot(report: CalibrationReport) -> Any:
    """Draw each task's drop with what is shown of it, beside the gate and what a search tried."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = len(report.verdicts)
    searched, trusted = len(report.steps) > 1, bool(report.trust)
    heights = [0.6 + 0.5 * tasks, *[2.4] * searched, *[3.2] * trusted]
    figure = Figure(figsize=(7.2, 1.0 + sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes, *below = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if searched:
        _plot_search(report, below[0])
    if trusted:
        _plot_trust(report, below[-1])
    for number, verdict in enumerate(report.verdicts):
        spread = [
            [max(verdict.drop - verdict.least_drop, 0)],
            [max(verdict.most_drop - verdict.drop, 0)],
        ]
        axes.errorbar([verdict.drop], [number], xerr=spread, fmt="o", color=f"C{number}", capsize=4)
        if verdict.most_changed is not None:
            axes.plot([verdict.most_changed], [number], "|", color=f"C{number}", ms=16)
    half = {score.task: score.drop for score in report.fp16}
    axes.plot([half.get(each.task, math.nan) for each in report.verdicts], range(tasks), "ks", ms=3)
    axes.axvline(0, color="0.5", lw=1)
    axes.axvline(report.max_drop, color="C3", lw=1, ls=":")
    named = [
        f"{each.task}: {each.outcome}\nlost {each.lost}, won {each.won} of {each.pictures}"
        for each in report.verdicts
    ]
    axes.set_yticks(range(tasks), named, fontsize=8)
    axes.set(xlabel="points of top-1 lost to INT8", ylim=(tasks - 0.5, -0.5))
    axes.set_title(
        f"bars: what is shown; dotted: the gate, {report.max_drop:g} points; square: fp16; "
        "|: from agreement",
        fontsize=8,
    )
    axes.grid(alpha=0.25)
    return figure


def _plot_search(report: CalibrationReport, axes: Any) -> None:
    """Draw each task's accuracy against the share of the arithmetic in INT8, as searched."""
    shares = [100 * step.int8_share for step in report.steps]
    for number, score in enumerate(report.steps[0].scores):
        measured = [100 * step.scores[number].top1 for step in report.steps]
        axes.plot(shares, measured, "o-", color=f"C{number}", label=score.task)
    axes.set(xlabel="multiply-adds in INT8, %", ylabel="top-1 of the search, %")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)


def _plot_trust(report: CalibrationReport, axes: Any) -> None:
    """Draw the share of right answers over the probability said: dotted in fp32, a line in INT8."""
    axes.plot([0, 1], [0, 1], color="0.8", lw=1)
    colours = {verdict.task: f"C{number}" for number, verdict in enumerate(report.verdicts)}
    for found in report.trust:
        if found.precision == "fp16":
            continue
        error = found.reliability.calibration_error
        axes.plot(
            [each.confidence for each in found.reliability.bins],
            [each.accuracy for each in found.reliability.bins],
            "o:" if found.precision == "fp32" else "o-",
            ms=3,
            color=colours[found.task],
            label=f"{found.task} in {found.precision}: error {error:.3f}",
        )
    axes.set(xlabel="probability", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7)
