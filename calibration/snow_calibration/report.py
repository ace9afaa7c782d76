"""What a calibration found, for people and programs: a table, a JSON document and a plot."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from snow_calibration.errors import CalibrationError
from snow_calibration.gate import holds
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_calibration.gate import TaskScore
    from snow_calibration.ranges import Origin
    from snow_calibration.search import Sensitivity, Step


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        origin: Graph, pictures and method.
        rest: Precision of what is not INT8.
        max_drop: Points that no task may lose more than.
        fp32: Scores of the graph that was calibrated.
        fp16: Of the same in half precision; empty where it overflows.
        steps: Of the INT8 graphs that were tried, the one that counts last.
        sensitivities: By layer, the most sensitive first; empty where they were not measured.
        file_bytes: Of the fp32 file and of the INT8 one.
        notes: What else is to be known, such as outputs that were not judged.
    """

    origin: Origin
    rest: str
    max_drop: float
    fp32: tuple[TaskScore, ...]
    fp16: tuple[TaskScore, ...]
    steps: tuple[Step, ...]
    sensitivities: tuple[Sensitivity, ...]
    file_bytes: tuple[int, int]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the gate does."""
        return self.steps[-1].holds

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **asdict(self),
            "steps": [step.to_dict() for step in self.steps],
            "holds": self.holds,
        }

    def lines(self) -> Iterator[str]:
        """Yield the table, and what each layer that was given back bought."""
        yield (
            f"{'precision':<10} {'task':<16} {'pictures':>8} {'top-1':>7} {'drop':>6} "
            f"{'agreement':>9} {'logit error':>11}"
        )
        last = self.steps[-1]
        for precision, found in (("fp32", self.fp32), ("fp16", self.fp16), ("int8", last.scores)):
            for score in found:
                mark = ""
                if precision == "int8" and not holds((score,), self.max_drop):
                    finite = math.isfinite(score.logit_error)
                    mark = "  TOO MUCH" if finite else "  NO NUMBER"
                yield (
                    f"{precision:<10} {score.task:<16} {score.pictures:>8} {score.top1:>7.4f} "
                    f"{score.drop:>6.2f} {score.agreement:>9.4f} {score.logit_error:>11.2e}{mark}"
                )
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            yield (
                f"{after.added} back in {self.rest}: worst drop {before.worst_drop:.2f} -> "
                f"{after.worst_drop:.2f} points"
            )
        yield from (f"note: {note}" for note in self.notes)
        floating, int8 = self.file_bytes
        yield (
            f"{last.int8_share:.1%} of the multiply-adds in INT8, {len(last.kept)} layers kept in "
            f"{self.rest}; {int8 / 1e6:.1f} MB, {int8 / floating:.3f} of the fp32 file"
        )


def write_report(report: Report, path: Path) -> tuple[Path, Path]:
    """Write the JSON document and, beside it, the plot; return their paths.

    Raises:
        CalibrationError: They cannot be written.
    """
    picture = path.with_suffix(".png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "w") as file:
            json.dump(finite(report.to_dict()), file, indent=1, allow_nan=False)
        with atomic_write(picture) as file:
            _plot(report).savefig(file, format="png", dpi=130)
    except OSError as error:
        msg = f"{path} cannot be written: {error}. Choose another -o, or free space."
        raise CalibrationError(msg) from error
    return path, picture


def finite(value: Any) -> Any:
    """Return plain JSON values with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plot(report: Report) -> Any:
    """Draw each task's accuracy against the share of the arithmetic in INT8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, floating in enumerate(report.fp32):
        colour = f"C{number}"
        shares = [100 * step.int8_share for step in report.steps]
        measured = [100 * step.scores[number].top1 for step in report.steps]
        axes.plot(shares, measured, "o-", color=colour, label=f"{floating.task}, INT8")
        if report.fp16:
            axes.plot([0], [100 * report.fp16[number].top1], "s", color=colour, mfc="none")
        axes.axhline(100 * floating.top1, color=colour, lw=1, label=f"{floating.task}, fp32")
        axes.axhline(100 * floating.top1 - report.max_drop, color=colour, lw=1, ls=":", alpha=0.7)
    axes.set(xlabel="multiply-adds in INT8, %  (square: fp16)", ylabel="top-1, %", xlim=(-4, 104))
    axes.set_title(f"dotted: {report.max_drop:g} points below fp32", fontsize=9)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    return figure
