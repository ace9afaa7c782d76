"""The whole of it: measure ranges, make INT8 graphs until one passes the gate, write that one."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from snow_calibration.calibrate import (
    calibrate,
    choose_layers,
    never_quantised,
    write_graph,
)
from snow_calibration.candidates import CandidateRunner
from snow_calibration.errors import CalibrationError
from snow_calibration.float_graph import read_float_graph, readers_of_taps
from snow_calibration.judge import check_enough, check_judged, judge, together, would_pass
from snow_calibration.measured import measure_int8
from snow_calibration.quantisation_plan import layers_of
from snow_calibration.report import CalibrationReport
from snow_calibration.search import SearchStep, Sensitivity, keep_worst, sensitivities
from snow_calibration.stored_accuracies import check_accuracies
from snow_runtime.files import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from snow_calibration.calibrate import Calibration, RestPrecision
    from snow_calibration.measured import MeasuredInt8
    from snow_calibration.pictures import CalibrationPictures, LabelledPictures
    from snow_calibration.thresholds import ThresholdMethod
    from snow_runtime.graph.manifest import Manifest
    from snow_runtime.progress import ProgressCallback

MAX_DROP = 3.0
"""Points of top-1; what a few hundred pictures can decide about."""

_SENSITIVITY_PICTURES = 32
_MOST_GIVEN_BACK = 0.1  # of the layers


@dataclass(frozen=True)
class CalibrationSettings:
    """How to calibrate, and what to let pass.

    Attributes:
        ranges: The ranges' file.
        method: How thresholds are chosen.
        rest: Precision of what is not INT8.
        max_drop: Points of top-1 that each task must be shown to lose less than; above 0.
        keep: Patterns of layers to leave in floating point.
        auto: Whether to give the worst layers back to floating point where INT8 loses too much.
        accept_undecided: Whether to write a graph that is neither shown to be good nor to be bad,
            too.
        other_pictures: Whether to judge by pictures that the tasks may have been trained on, too.
    """

    ranges: Path
    method: ThresholdMethod = "entropy"
    rest: RestPrecision = "fp16"
    max_drop: float = MAX_DROP
    keep: Sequence[str] = ()
    auto: bool = False
    accept_undecided: bool = False
    other_pictures: bool = False


@dataclass(frozen=True)
class GatePictures:
    """The pictures of the gate, none of which were trained on.

    Attributes:
        truth: What each task is judged by.
        search: The other pictures by task, those that layers are chosen on with `auto`; they may be
            trained on.
        unlabelled: The pictures by task, [M, S, S, 3] uint8, without labels, resized and cropped.
        notes: What the report is to say of them.
    """

    truth: Mapping[str, LabelledPictures]
    search: Mapping[str, LabelledPictures] = field(default_factory=dict)
    unlabelled: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many labelled pictures each task is judged by."""
        return {task: len(labelled.targets) for task, labelled in self.truth.items()}


def calibrate_and_judge(
    graph: Path,
    output: Path,
    samples: CalibrationPictures,
    judged: GatePictures | Mapping[str, LabelledPictures],
    settings: CalibrationSettings,
    *,
    progress: ProgressCallback | None = None,
) -> CalibrationReport:
    """Write an INT8 graph, if it passes the gate, and report what was measured.

    Args:
        graph: An fp32 graph of `snow-deploy export`.
        output: The INT8 file; left alone where the graph does not pass.
        samples: What ranges are measured on.
        judged: What each task is judged by.
        settings: How.
        progress: Callback that gets the stage, `ranges` or `layers`, and the share of it that is
            done.

    Raises:
        CalibrationError: See `calibrate`; or the pictures are too few to judge by, or fp32 does
            not answer them as the graph says of itself, or the file cannot be written.
    """
    fixed = check_request(graph, output, settings)
    judged = judged if isinstance(judged, GatePictures) else GatePictures(judged)
    _check_pictures(judged, settings)
    manifest = read_float_graph(graph).manifest
    _check_labels(manifest, judged)
    with tempfile.TemporaryDirectory() as folder:
        runner = CandidateRunner.of(Path(folder), graph, judged.truth)
        notes = check_accuracies(
            manifest, runner.fp32(), judged.truth, accept=settings.other_pictures
        )
        found = calibrate(
            graph,
            samples,
            settings.ranges,
            method=settings.method,
            rest=settings.rest,
            progress=progress,
        )
        ranking = partial(_ranking, found, samples, fixed, progress)
        chosen = _choose(Path(folder), graph, found, judged, settings, ranking, fixed)
        unlabelled = judged.unlabelled
        measured = measure_int8(runner, graph, found, chosen.kept, samples, unlabelled)
    report = _report(runner, found, measured, chosen, settings)
    report = replace(
        report, notes=(*judged.notes, *notes, *measured.notes, *_left_out(found, judged.truth))
    )
    if report.written:
        write_graph(measured.model, output)
    return report


def _report(
    runner: CandidateRunner,
    found: Calibration,
    measured: MeasuredInt8,
    chosen: _Choice,
    settings: CalibrationSettings,
) -> CalibrationReport:
    """Judge what was measured."""
    verdicts = judge(measured.int8, settings.max_drop, measured.compared)
    outcome = together(verdicts)
    return CalibrationReport(
        origin=found.ranges.origin,
        rest=settings.rest,
        max_drop=settings.max_drop,
        fp32=runner.fp32(),
        fp16=measured.fp16,
        int8=measured.int8,
        verdicts=verdicts,
        written=outcome == "pass" or (outcome == "undecided" and settings.accept_undecided),
        kept=chosen.kept,
        int8_share=found.int8_share(chosen.kept),
        steps=chosen.steps,
        sensitivities=chosen.ranked,
        file_bytes=(found.float_bytes, measured.model.ByteSize()),
        trust=measured.trust,
    )


def _check_labels(manifest: Manifest, judged: GatePictures) -> None:
    entries = {task.name: task for task in manifest.tasks}
    for labelled in (judged.truth, judged.search):
        for task, pictures in labelled.items():
            if task in entries:  # one that is not answered is refused where it is asked for
                pictures.check_labels(entries[task])


def _check_pictures(judged: GatePictures, settings: CalibrationSettings) -> None:
    """Refuse, or warn of, pictures that cannot decide: before the long part."""
    check_judged(judged.counts)
    if not settings.accept_undecided:
        without = {task: len(pixels) for task, pixels in judged.unlabelled.items()}
        if said := check_enough(judged.counts, settings.max_drop, without):
            warnings.warn(said, stacklevel=3)
    if settings.auto and (missing := sorted(set(judged.truth) - set(judged.search))):
        msg = (
            f"there are no pictures to search on for {', '.join(missing)}: layers must not be "
            "chosen on those that judge them. Give some, or leave the search out."
        )
        raise CalibrationError(msg)


@dataclass(frozen=True)
class _Choice:
    """The layers that stay in floating point, and what was tried to find them."""

    kept: tuple[str, ...]
    steps: tuple[SearchStep, ...] = ()
    ranked: tuple[Sensitivity, ...] = ()


def _choose(  # noqa: PLR0917 - one call, above
    folder: Path,
    graph: Path,
    found: Calibration,
    judged: GatePictures,
    settings: CalibrationSettings,
    ranking: Callable[[], tuple[Sensitivity, ...]],
    fixed: tuple[str, ...],
) -> _Choice:
    """Choose layers to give back, on pictures that do not judge; without `auto`, none.

    It is enough where the rates seen would pass on as many pictures as there are to judge by.
    """
    if not settings.auto:
        return _Choice(fixed)
    runner = CandidateRunner.of(folder, graph, judged.search)
    ranked: list[Sensitivity] = []

    def rank() -> list[Sensitivity]:
        ranked.extend(ranking())
        return ranked

    steps = keep_worst(
        rank,
        lambda kept: runner.scores(runner.write(found.int8(kept))),
        share=found.int8_share,
        fixed=fixed,
        holds=lambda scored: would_pass(scored, settings.max_drop, judged.counts),
        most=_most_given_back(len(found.layers), len(fixed)),
    )
    return _Choice(steps[-1].kept, tuple(steps), tuple(ranked))


def check_request(graph: Path, output: Path, settings: CalibrationSettings) -> tuple[str, ...]:
    """Refuse, before the long part, what cannot work out; return the layers kept in any case.

    Raises:
        CalibrationError: The graph, a path, a pattern of layers or the drop cannot be used.
    """
    if settings.max_drop <= 0:
        msg = (
            f"max_drop is {settings.max_drop:g}, expected more than 0: no number of pictures shows "
            "that nothing at all is lost. Allow some points."
        )
        raise CalibrationError(msg)
    found = read_float_graph(graph)
    _check_paths(graph, output, settings.ranges)
    never = never_quantised(found.model, found.manifest)
    layers = [name for name in layers_of(found.model.graph) if name not in never]
    return choose_layers(layers, settings.keep, never)


def _most_given_back(layers: int, fixed: int) -> int:
    """Return how many layers the search may give back; one at least stays INT8."""
    return min(max(1, round(_MOST_GIVEN_BACK * layers)), layers - fixed - 1)


def _ranking(
    found: Calibration,
    samples: CalibrationPictures,
    fixed: Sequence[str],
    progress: ProgressCallback | None,
) -> tuple[Sensitivity, ...]:
    """Rank the layers on pictures spread over the samples."""
    pixels = samples.spread(_SENSITIVITY_PICTURES)
    return sensitivities(found, pixels, fixed=fixed, progress=progress)


def _left_out(found: Calibration, truth: Mapping[str, LabelledPictures]) -> Iterator[str]:
    """Say which tasks were not judged, and whose products are not in INT8, or parts of them."""
    unjudged = [task.name for task in found.manifest.tasks if task.name not in truth]
    if unjudged:
        yield f"not judged, for want of data: {', '.join(unjudged)}"
    if readers := sorted(readers_of_taps(found.manifest)):
        yield f"readouts stay in {found.rest}: {', '.join(readers)}"


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
    with writing(path, CalibrationError, f"Choose another {option}, or free space."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
