"""What the exporter needs of tasks that lie in memory, of one store or of several."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from snow_deploy.errors import StoreError
from snow_deploy.models.fold_source import tap_key
from snow_export.export import ExportRequest
from snow_runtime import __version__
from snow_runtime.graph.features_entry import TapEntry
from snow_runtime.graph.image_size import size_text
from snow_runtime.graph.manifest import SourceEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.models.source import Source
    from snow_deploy.training.task_record import TaskRecord
    from snow_runtime.graph.manifest import Preprocessing, TaskEntry


def request_for(
    source: Source,
    records: Sequence[TaskRecord],
    own: tuple[TaskEntry, ...] = (),
    *,
    with_features: bool = False,
) -> ExportRequest:
    """Put together what the exporter needs of tasks, of whatever stores they are.

    Args:
        source: The source of all of them.
        records: The tasks, one or more, in the order of the outputs.
        own: The entry of the source's own head, if the graph is to answer it.
        with_features: Whether the graph gives out the source's pooled features.

    Raises:
        StoreError: A task is of another source or image size.
    """
    deltas = {record.name: record.build(source) for record in records}
    if with_features:
        source.pool_taps()
    entries = tuple(record.entry_of(deltas[record.name]) for record in records)
    return ExportRequest(
        source=source,
        source_entry=source_entry(source),
        networks=deltas,
        never_fused=frozenset(name for name, delta in deltas.items() if not delta.fuses),
        tasks=own + entries,
        preprocessing=_common_preprocessing(records),
        pictures=np.concatenate([record.samples.numpy() for record in records]),
        versions=versions(),
        features=tap_entries(source) if with_features else {},
    )


def tap_entries(source: Source) -> dict[str, TapEntry]:
    """Return what the manifest says of each pooled feature, by its key."""
    return {tap_key(tap): TapEntry(tap.name, tap.channels) for tap in source.anatomy.taps}


def _common_preprocessing(records: Sequence[TaskRecord]) -> Preprocessing:
    first = records[0]
    for record in records[1:]:
        if record.preprocessing != first.preprocessing:
            apart = told_apart(first.preprocessing, record.preprocessing)
            msg = (
                f"tasks {first.name!r} and {record.name!r} were trained at {apart}; one graph has "
                "one input. Export them apart, or train one anew with the other's --image-size and "
                "--crop-share."
            )
            raise StoreError(msg)
    return first.preprocessing


def told_apart(one: Preprocessing, other: Preprocessing) -> str:
    """Say what tells one way to prepare pictures from another, for messages."""
    size, resized = size_text(one.image_size), size_text(one.resize_size)
    if one.image_size != other.image_size:
        return f"{size} and {size_text(other.image_size)} pixels"
    if one.resize_size != other.resize_size:
        return f"{size} pixels, of pictures resized to {resized} and {size_text(other.resize_size)}"
    return f"{size} pixels, with another interpolation, mean or deviation"


def source_entry(source: Source) -> SourceEntry:
    """Say what a manifest says of a source."""
    return SourceEntry(source.architecture, source.fingerprint, source.count_parameters())


def versions() -> dict[str, str]:
    """Return the versions of what makes a graph."""
    others = {name: version(name) for name in ("torch", "onnx")}
    return {"snow_deploy": __version__, **others}
