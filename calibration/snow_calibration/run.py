"""The whole of it: measure ranges, make INT8 graphs until one passes the gate, write that one."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snow_calibration.calibrate import calibrate, choose_layers, write_graph
from snow_calibration.errors import CalibrationError
from snow_calibration.float_graph import read_float_graph
from snow_calibration.gate import answers_of, scores
from snow_calibration.plan import layers_of
from snow_calibration.report import Report
from snow_calibration.search import keep_worst, sensitivities
from snow_runtime.errors import HalfError
from snow_runtime.self_check import with_self_check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx

    from snow_calibration.calibrate import Calibration, Rest
    from snow_calibration.gate import Answers, TaskScore
    from snow_calibration.pictures import Labelled, Samples
    from snow_calibration.search import Sensitivity
    from snow_calibration.thresholds import Method

    Told = Callable[[str, int, int], None]

_SENSITIVITY_PICTURES = 32
_MOST_GIVEN_BACK = 0.1  # of the layers


@dataclass(frozen=True)
class Settings:
    """How to calibrate, and what to let pass.

    Attributes:
        ranges: The ranges' file.
        method: How thresholds are chosen.
        rest: Precision of what is not INT8.
        max_drop: Points of top-1 that no task may lose.
        keep: Patterns of layers to leave in floating point.
        auto: Give the worst layers back to floating point where the gate does not hold.
    """

    ranges: Path
    method: Method = "entropy"
    rest: Rest = "fp16"
    max_drop: float = 0.5
    keep: Sequence[str] = ()
    auto: bool = False


def calibrate_and_judge(
    graph: Path,
    output: Path,
    samples: Samples,
    truth: Mapping[str, Labelled],
    settings: Settings,
    *,
    progress: Told | None = None,
) -> Report:
    """Write an INT8 graph, if one passes the gate, and report what was measured.

    Args:
        graph: An fp32 graph of `snow-deploy export`.
        output: The INT8 file; left alone where no graph passes.
        samples: What ranges are measured on.
        truth: What each task is judged by.
        settings: How.
        progress: Told the stage, and how much of how much of it is done.

    Raises:
        CalibrationError: See `calibrate`; or the file cannot be written.
    """
    fixed = check(graph, output, settings)
    found = calibrate(
        graph,
        samples,
        settings.ranges,
        method=settings.method,
        rest=settings.rest,
        progress=_stage(progress, "ranges"),
    )
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), truth, answers_of(graph, truth))
        ranked: list[Sensitivity] = []

        def rank() -> list[Sensitivity]:
            ranked.extend(_ranking(found, samples, fixed, _stage(progress, "layers")))
            return ranked

        steps = keep_worst(
            rank,
            lambda kept: bench.scores(found.int8(kept)),
            share=found.int8_share,
            fixed=fixed,
            max_drop=settings.max_drop,
            most=_most_given_back(len(found.layers), len(fixed)) if settings.auto else 0,
        )
        half, notes = _half(bench, found)
    last = with_self_check(found.int8(steps[-1].kept))
    report = Report(
        origin=found.ranges.origin,
        rest=settings.rest,
        max_drop=settings.max_drop,
        fp32=scores(bench.reference, bench.reference, truth),
        fp16=half,
        steps=tuple(steps),
        sensitivities=tuple(ranked),
        file_bytes=(found.float_bytes, last.ByteSize()),
        notes=(*notes, *_unjudged(found, truth)),
    )
    if report.holds:
        write_graph(last, output)
    return report


def _stage(progress: Told | None, stage: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(stage, done, total)


def check(graph: Path, output: Path, settings: Settings) -> tuple[str, ...]:
    """Refuse, before the long part, what cannot work out; return the layers kept in any case.

    Raises:
        CalibrationError: The graph, a path or a pattern of layers cannot be used.
    """
    model = read_float_graph(graph).model
    _check_paths(graph, output, settings.ranges)
    return choose_layers(layers_of(model.graph), settings.keep)


def _most_given_back(layers: int, fixed: int) -> int:
    """Return how many layers the search may give back; one at least stays INT8."""
    return min(max(1, round(_MOST_GIVEN_BACK * layers)), layers - fixed - 1)


def _ranking(
    found: Calibration,
    samples: Samples,
    fixed: Sequence[str],
    progress: Callable[[int, int], None] | None,
) -> tuple[Sensitivity, ...]:
    """Rank the layers on pictures spread over the samples."""
    pixels = samples.spread(_SENSITIVITY_PICTURES)
    return sensitivities(found, pixels, fixed=fixed, progress=progress)


def _unjudged(found: Calibration, truth: Mapping[str, Labelled]) -> list[str]:
    names = [task.name for task in found.manifest.tasks if task.name not in truth]
    return [f"not judged, for want of data: {', '.join(names)}"] if names else []


def _check_paths(graph: Path, output: Path, ranges: Path) -> None:
    """Refuse to write one file over another, or where nothing can be written."""
    places = {"GRAPH": graph, "--output": output, "--ranges": ranges}
    for (one, first), (other, second) in itertools.combinations(places.items(), 2):
        if first.resolve() == second.resolve():
            msg = f"{one} and {other} are the same file, {second}; name another"
            raise CalibrationError(msg)
    _check_writable(output, "-o")
    _check_writable(ranges, "--ranges")


def _check_writable(path: Path, option: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        msg = f"{path} cannot be written: {error}. Choose another {option}, or free space."
        raise CalibrationError(msg) from error


def _half(bench: _Bench, found: Calibration) -> tuple[tuple[TaskScore, ...], list[str]]:
    """Measure the fp16 graph; where a weight is too large for one, say so instead."""
    try:
        return bench.scores(found.half()), []
    except HalfError as error:
        return (), [f"fp16 was not measured: {error}"]


@dataclass(frozen=True)
class _Bench:
    """Measures graphs as files, opened the way a device opens them."""

    folder: Path
    truth: Mapping[str, Labelled]
    reference: Answers

    def scores(self, model: onnx.ModelProto) -> tuple[TaskScore, ...]:
        path = self.folder / "candidate.onnx"
        write_graph(model, path)
        return scores(answers_of(path, self.truth), self.reference, self.truth)
