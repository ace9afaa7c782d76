"""From a store to a graph file: gathers what the exporter needs."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from snow_deploy import __version__
from snow_deploy.errors import StoreError
from snow_deploy.models.source import Source
from snow_export.export import ExportRequest, GraphOptions, export_graph
from snow_runtime.manifest import SourceEntry, TaskEntry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snow_deploy.models.delta import Delta
    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.store import Store, TaskRecord
    from snow_export.parity import TaskParity
    from snow_runtime.manifest import Preprocessing


def export_tasks(
    store: Store,
    names: Sequence[str] | None,
    path: Path,
    *,
    with_source: bool = False,
    options: GraphOptions | None = None,
) -> list[TaskParity]:
    """Export tasks of a store as one ONNX graph; return how close it is to torch.

    Args:
        store: Holds the source and the tasks.
        names: Which tasks, in the order of the outputs; None takes all, by name.
        path: The ONNX file.
        with_source: Answer with the source's own head too.
        options: The form of the graph; None is fused, fp32, float input, any batch.

    Raises:
        StoreError: A task is missing, named twice, or of another source or image size.
        ExportError: The graph cannot be made, written, or answers otherwise than torch.
    """
    request = gather(store, names, with_source=with_source)
    return export_graph(replace(request, options=options or GraphOptions()), path)


def export_source(store: Store, like: TaskRecord, path: Path) -> list[TaskParity]:
    """Export the source alone, as an ordinary classifier, for comparison.

    Args:
        store: Holds the source.
        like: A task whose preprocessing and samples are used.
        path: The ONNX file.

    Raises:
        ExportError: The graph cannot be made, written, or answers otherwise than torch.
    """
    weights = store.source_weights()
    source = Source(weights)
    request = ExportRequest(
        source=source,
        source_entry=_source_entry(source),
        deltas={},
        tasks=(_source_task(source, weights),),
        preprocessing=like.preprocessing,
        pictures=like.samples.numpy(),
        versions=_versions(),
    )
    return export_graph(request, path)


def gather(
    store: Store, names: Sequence[str] | None, *, with_source: bool = False
) -> ExportRequest:
    """Load the source and the tasks, and check that they fit together."""
    names = store.tasks() if names is None else tuple(names)
    if not names or "" in names:
        msg = f"there is no task to export (store {store.root} has: {_list(store.tasks())})"
        raise StoreError(msg)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{_list(twice)} is named twice; name each task once"
        raise StoreError(msg)
    weights = store.source_weights()
    source = Source(weights)
    records = [store.load_task(name) for name in names]
    deltas = {record.name: record.build(source) for record in records}
    own = (_source_task(source, weights),) if with_source else ()
    entries = tuple(_entry(record, deltas[record.name]) for record in records)
    return ExportRequest(
        source=source,
        source_entry=_source_entry(source),
        deltas=deltas,
        tasks=own + entries,
        preprocessing=_common_preprocessing(records),
        pictures=np.concatenate([record.samples.numpy() for record in records]),
        versions=_versions(),
    )


def _common_preprocessing(records: Sequence[TaskRecord]) -> Preprocessing:
    first = records[0]
    for record in records[1:]:
        if record.preprocessing != first.preprocessing:
            msg = (
                f"tasks {first.name!r} and {record.name!r} were trained at "
                f"{first.preprocessing.image_size} and {record.preprocessing.image_size} pixels; "
                "one graph has one input. Export them apart, or train one anew with --image-size."
            )
            raise StoreError(msg)
    return first.preprocessing


def _entry(record: TaskRecord, delta: Delta) -> TaskEntry:
    return TaskEntry(
        name=record.name,
        output=record.name,
        labels=record.labels,
        sha256=record.fingerprint(),
        k_divisor=record.options.delta.k,
        width_divisor=record.options.delta.width,
        selections=delta.selections(),
        metrics=dict(record.metrics),
    )


def _source_entry(source: Source) -> SourceEntry:
    return SourceEntry(source.architecture, source.fingerprint, source.count_parameters())


def _source_task(source: Source, weights: SourceWeights) -> TaskEntry:
    labels = weights.labels or tuple(f"class {n}" for n in range(source.num_classes))
    return TaskEntry(name="source", output="source", labels=labels)


def _versions() -> dict[str, str]:
    others = {name: version(name) for name in ("torch", "onnx")}
    return {"snow_deploy": __version__, **others}


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
