"""Verification: the ladder from the trained networks to the file, rung by rung."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from snow_export.all_values import first_divergence
from snow_export.export import build_graph, compare_with_trained, parity_pictures
from snow_export.network import SharedNetwork, TaskHead
from snow_export.parity import PARITY_TOLERANCES, onnx_answers, torch_answers
from snow_export.trace.freeze import freeze
from snow_runtime.errors import HalfError
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from snow_export.export import ExportRequest
    from snow_export.parity import TaskParity
    from snow_runtime.graph.manifest import Layout, Precision

    TaskLogits = Mapping[str, NDArray[np.float32]]
    Rungs = Iterator[tuple[str, str, Callable[[NDArray[np.uint8]], TaskLogits]]]

BATCHES = (1, 3, 8)


@dataclass(frozen=True)
class Rung:
    """One step of the ladder at one batch size, compared with the trained networks.

    Attributes:
        name: What was run.
        batch: Pictures at once.
        tolerance: Largest allowed error, relative to the task's largest logit (or one).
        tasks: How close each task is.
    """

    name: str
    batch: int
    tolerance: float
    tasks: tuple[TaskParity, ...]

    @property
    def holds(self) -> bool:
        """Whether every task is within the tolerance; NaN is not."""
        return all(task.is_within(self.tolerance) for task in self.tasks)


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes:
        rungs: Rungs in order, the file last.
        diverges: Where the file's rung fails: the first value inside the file that differs
            from a graph made anew from the store, and its relative error.
        notes: Reasons why a rung is missing.
    """

    rungs: tuple[Rung, ...]
    diverges: tuple[str, float] | None
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every rung does."""
        return all(rung.holds for rung in self.rungs)


def verify(request: ExportRequest, path: Path, batches: Sequence[int] = BATCHES) -> Verification:
    """Climb from the trained torch networks to a file: frozen, separate, fused, half, the file.

    Args:
        request: What the file was exported from; its options say the file's form.
        path: The file.
        batches: Batch sizes to run at; a file of one batch size is run at that one.

    Raises:
        ExportError: A rung cannot be built.
        GraphError: The file cannot be read.
    """
    rungs, notes = [], list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for name, precision, answer in _rungs(request, path, Path(folder), notes):
            sizes, fixed = batches, request.options.batch
            if name == "file" and fixed is not None:
                sizes = (fixed,)
            for batch in sizes:
                whole = name == "file" and fixed is not None
                pictures = parity_pictures(request) if whole else _pictures(request, batch)
                tolerance = PARITY_TOLERANCES[precision]
                found = compare_with_trained(request, pictures, answer(pictures), tolerance)
                rungs.append(Rung(name, batch, tolerance, tuple(found)))
    diverges = None
    if not all(rung.holds for rung in rungs if rung.name == "file"):
        diverges = _divergence(request, path)
    return Verification(tuple(rungs), diverges, tuple(notes))


def _rungs(request: ExportRequest, path: Path, folder: Path, notes: list[str]) -> Rungs:
    """Yield each rung's name, precision and how it answers pictures; note those that cannot be."""
    heads = [TaskHead(name, freeze(delta)) for name, delta in request.networks.items()]
    frozen = SharedNetwork(request.source, heads, request.outputs, tuple(request.features))
    yield (
        "frozen torch",
        "fp32",
        lambda pictures: torch_answers(frozen, request.images(pictures), len(pictures)),
    )
    for layout, precision in _steps(request.options.layout):
        form = replace(request.options, layout=layout, precision=precision, batch=None)
        wanted = replace(request, options=form)
        made = folder / f"{layout}-{precision}.onnx"
        try:
            made.write_bytes(build_graph(wanted).SerializeToString())
        except HalfError as error:
            if request.options.precision == "fp16":
                raise
            why = str(error).partition(". ")[0]
            notes.append(f"{layout} {precision} is left out: {why}; the file is fp32")
            continue
        yield (
            f"{layout} {precision}",
            precision,
            lambda pictures, made=made: onnx_answers(  # type: ignore[misc]
                made, request.feed(pictures), len(pictures)
            ),
        )
    yield (
        "file",
        request.options.precision,
        lambda pictures: onnx_answers(
            path, request.feed(pictures), request.options.batch or len(pictures)
        ),
    )


def _steps(layout: Layout) -> tuple[tuple[Layout, Precision], ...]:
    """Return the graphs to climb by: side by side, then fused as the file is, then half."""
    fused: Layout = "fused" if layout == "separate" else layout
    return (("separate", "fp32"), (fused, "fp32"), (fused, "fp16"))


def _divergence(request: ExportRequest, path: Path) -> tuple[str, float] | None:
    batch = request.options.batch or 1
    feed = request.feed(_pictures(request, batch))
    tolerance = PARITY_TOLERANCES[request.options.precision]
    with torch.no_grad():
        anew = build_graph(request)
    return first_divergence(anew, read_graph(path).model, feed, tolerance)


def _pictures(request: ExportRequest, batch: int) -> NDArray[np.uint8]:
    return np.resize(request.pictures, (batch, *request.pictures.shape[1:]))
