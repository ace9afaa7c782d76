"""From a store to a graph file: gathers what the exporter needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from snow_deploy.errors import StoreError
from snow_deploy.models.source import Source
from snow_deploy.models.source_checks import check_pictures
from snow_deploy.stages.export_request import (
    request_for,
    source_entry,
    tap_entries,
    told_apart,
    versions,
)
from snow_export.export import ExportRequest, GraphOptions, export_graph
from snow_export.fastest_layout import time_layouts
from snow_export.inspect.owners import SOURCE
from snow_export.verification import verify
from snow_runtime.errors import GraphError
from snow_runtime.graph.image_size import height_width, size_text
from snow_runtime.graph.manifest import TaskEntry
from snow_runtime.graph.onnx_file import read_graph
from snow_runtime.self_check import drawn_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_record import TaskRecord
    from snow_export.parity import TaskParity
    from snow_export.verification import Verification
    from snow_runtime.graph.image_size import ImageSize
    from snow_runtime.graph.manifest import Layout, Manifest, Preprocessing

_USUAL_SIZE = 224
"""Side of the input, in pixels, of a source without tasks."""


def export_tasks(
    store: Store,
    names: Sequence[str] | None,
    path: Path,
    *,
    with_source: bool = False,
    with_features: bool = False,
    options: GraphOptions | None = None,
    choosing: Callable[[dict[Layout, float]], None] | None = None,
) -> list[TaskParity]:
    """Export tasks of a store as one ONNX graph; return how close it is to torch.

    Args:
        store: Store that holds the source and the tasks.
        names: Which tasks, in the order of the outputs; None takes all, by name.
        path: The ONNX file.
        with_source: Whether to answer with the source's own head too.
        with_features: Whether to give out the source's pooled features, for readouts to come.
        options: The form of the graph; None is fused, fp32, float input, any batch.
        choosing: Callback whose presence asks for the fastest layout instead of the options': every
            layout is timed in ONNX Runtime on this machine, and it gets the milliseconds of each,
            the fastest first.

    Raises:
        StoreError: A task is missing, named twice, or of another source or image size.
        ExportError: The graph cannot be made, written, or answers otherwise than torch.
    """
    request = gather(store, names, with_source=with_source, with_features=with_features)
    request = replace(request, options=options or GraphOptions())
    if choosing is not None:
        times = time_layouts(request)
        choosing(times)
        fastest = replace(request.options, layout=next(iter(times)))
        request = replace(request, options=fastest)
    return export_graph(request, path)


def export_source(
    store: Store,
    path: Path,
    *,
    image_size: ImageSize | None = None,
    crop_share: float | None = None,
    with_features: bool = False,
    options: GraphOptions | None = None,
) -> list[TaskParity]:
    """Export the source alone, as an ordinary classifier.

    With features it serves a device that is to learn all its tasks later.

    Args:
        store: Store that holds the source.
        path: The ONNX file.
        image_size: Side of its input in pixels, or height and width; None takes that of the
            store's tasks, or 224.
        crop_share: Share of the resized picture that is shown; None takes that of the store's tasks
            of that size, or the source's own.
        with_features: Whether to give out the source's pooled features, for readouts to come.
        options: The form of the graph; None is as for `export_tasks`.

    Raises:
        StoreError: The store has no source or tasks of several sizes, or the source no classifier.
        SourceError: The source cannot read pictures of that size.
        ExportError: The graph cannot be made, written, or answers otherwise than torch.
    """
    weights = store.source_weights()
    source = Source(weights)
    records = [store.load_task(name) for name in store.tasks()]
    preprocessing = _source_preprocessing(weights, records, image_size, crop_share)
    check_pictures(source, preprocessing.image_size)
    if with_features:
        source.pool_taps()
    samples = [each.samples.numpy() for each in records if each.preprocessing == preprocessing]
    request = ExportRequest(
        source=source,
        source_entry=source_entry(source),
        networks={},
        tasks=(_source_task(source, weights),),
        preprocessing=preprocessing,
        pictures=np.concatenate(samples) if samples else drawn_pictures(preprocessing.image_size),
        versions=versions(),
        options=options or GraphOptions(),
        features=tap_entries(source) if with_features else {},
    )
    return export_graph(request, path)


def verify_graph(
    store: Store,
    path: Path,
    batches: Sequence[int],
    pictures: NDArray[np.uint8] | None = None,
) -> Verification:
    """Compare a graph file with the trained networks of a store, rung by rung.

    Args:
        store: What the file was exported from.
        path: The ONNX file.
        batches: Batch sizes to compare at.
        pictures: [M, S, S, 3] uint8, resized and cropped; None takes the tasks' own samples.

    Raises:
        GraphError: The file cannot be read, or carries no manifest.
        StoreError: The file was exported from other weights than the store holds.
    """
    manifest = manifest_to_verify(path)
    names = [task.name for task in manifest.tasks if task.name != SOURCE]
    if not names:
        msg = f"{path} answers the source's own task alone; verify a graph of trained tasks"
        raise GraphError(msg)
    with_source = any(task.name == SOURCE for task in manifest.tasks)
    with_features = manifest.features is not None
    request = gather(store, names, with_source=with_source, with_features=with_features)
    _check_same_weights(request, manifest, store)
    batch = read_graph(path).inputs[0].shape[0]
    options = GraphOptions(manifest.layout, manifest.precision, manifest.input, batch)
    order = {task.name: position for position, task in enumerate(manifest.tasks)}
    tasks = tuple(sorted(request.tasks, key=lambda task: order[task.name]))
    request = replace(request, options=options, tasks=tasks)
    if pictures is not None:
        request = replace(request, pictures=pictures)
    return verify(request, path, batches)


def manifest_to_verify(path: Path) -> Manifest:
    """Read what a file says of itself, and check that it can be verified.

    Raises:
        GraphError: The file cannot be read, carries no manifest, or is INT8.
    """
    manifest = read_graph(path).manifest
    if manifest is None:
        msg = f"{path} carries no manifest; verify a file that `snow-deploy export` wrote"
        raise GraphError(msg)
    if manifest.precision == "int8":
        msg = (
            f"{path} is INT8, which rounds by design; verify takes fp32 and fp16 files. What INT8 "
            "costs each task, `snow-deploy calibrate` measures; `snow-deploy inspect --int8` "
            "checks the form."
        )
        raise GraphError(msg)
    return manifest


def _check_same_weights(request: ExportRequest, manifest: Manifest, store: Store) -> None:
    held = {task.name: task.sha256 for task in request.tasks}
    changed = [task.name for task in manifest.tasks if held[task.name] != task.sha256]
    if manifest.source.sha256 != request.source_entry.sha256:
        changed.insert(0, "the source")
    if changed:
        msg = (
            f"{_list(changed)} of the file is not what {store.root} holds now: trained anew, or "
            "the file is from another store. Export it again, or name the right --store."
        )
        raise StoreError(msg)


def gather(
    store: Store,
    names: Sequence[str] | None,
    *,
    with_source: bool = False,
    with_features: bool = False,
) -> ExportRequest:
    """Load the source and the tasks, and check that they fit together."""
    names = store.tasks() if names is None else tuple(names)
    if SOURCE in names:
        msg = "the source's own head is no task; ask for it with --with-source"
        raise StoreError(msg)
    if not names or "" in names:
        seen = "an empty name is among the tasks" if any(names) else "there is no task to export"
        msg = f"{seen} (store {store.root} has: {_list(store.tasks())})"
        raise StoreError(msg)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{_list(twice)} is named twice; name each task once"
        raise StoreError(msg)
    weights = store.source_weights()
    source = Source(weights)
    records = [store.load_task(name) for name in names]
    own = (_source_task(source, weights),) if with_source else ()
    return request_for(source, records, own, with_features=with_features)


def _source_preprocessing(
    weights: SourceWeights,
    records: Sequence[TaskRecord],
    image_size: ImageSize | None,
    crop_share: float | None,
) -> Preprocessing:
    """Return how pictures are prepared for the source alone: as for its tasks, if not said."""
    size = image_size or _common_size(records)
    of_tasks = {each.preprocessing for each in records if each.preprocessing.image_size == size}
    if crop_share is None and len(of_tasks) == 1:
        return of_tasks.pop()
    if crop_share is None and image_size is None and of_tasks:
        one, other, *_ = sorted(of_tasks, key=lambda each: height_width(each.resize_size))
        msg = (
            f"the store's tasks were trained at {told_apart(one, other)}, and a graph of the "
            "source alone has one input. Say which with --crop-share."
        )
        raise StoreError(msg)
    return weights.preprocessing(size, crop_share)


def _common_size(records: Sequence[TaskRecord]) -> ImageSize:
    """Return the image size that a store's tasks have in common; the usual one without any."""
    sizes = sorted({record.preprocessing.image_size for record in records}, key=height_width)
    if len(sizes) > 1:
        msg = (
            f"the store's tasks read pictures of {', '.join(map(size_text, sizes))} pixels, and a "
            "graph of the source alone has one input. Say which with --image-size."
        )
        raise StoreError(msg)
    return sizes[0] if sizes else _USUAL_SIZE


def _source_task(source: Source, weights: SourceWeights) -> TaskEntry:
    if not weights.has_classifier:
        msg = (
            f"the source ({weights.origin}) came without a classifier and has no answers of its "
            "own. Leave --with-source or --source-only out and export a task, or begin a store "
            "with weights that have one."
        )
        raise StoreError(msg)
    labels = weights.labels or tuple(f"class {n}" for n in range(source.num_classes))
    return TaskEntry(name="source", output="source", labels=labels)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
