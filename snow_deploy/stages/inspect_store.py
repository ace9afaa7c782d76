"""What a store holds, or one of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snow_deploy.errors import StoreError
from snow_deploy.models.mirror import POOLING
from snow_deploy.models.resized_layers import divide
from snow_deploy.models.source import Source
from snow_deploy.models.tap_readout import chosen_by_tap
from snow_deploy.models.top_k import top_channels
from snow_deploy.models.weights import SourceWeights
from snow_deploy.stages.count_store import Counter
from snow_deploy.training.store import Store
from snow_deploy.training.store_file import read_stored
from snow_export.inspect.inspection import Inspection, OwnerShare, TrainingFacts
from snow_runtime.files import sha256_file
from snow_runtime.graph.image_size import height_width
from snow_runtime.graph.manifest import SourceEntry

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from snow_deploy.training.task_record import TaskRecord
    from snow_runtime.graph.manifest import Preprocessing, TaskEntry

_USUAL_SIZE = 224  # pixels; what a source without tasks is measured at
_TAPS = "tap_readout"
_BUFFERS = (
    *("running_mean", "running_var", "num_batches_tracked", ".places"),
    *(f"{_TAPS}.mean", f"{_TAPS}.deviation"),
)


def inspect_store(root: Path) -> Inspection:
    """Tell what a store holds: its source and every task.

    Raises:
        StoreError: It is no store, has no source, or one of its files is damaged.
    """
    store = Store(root)
    if not store.has_source() and not store.tasks():
        msg = (
            f"{root} is a folder, but no store: it has neither source.safetensors nor "
            "tasks/NAME.safetensors. Name a folder that `snow-deploy train --store` wrote."
        )
        raise StoreError(msg)
    weights = store.source_weights()
    names = store.tasks()
    files = [store.source_path, *(store.task_path(name) for name in names)]
    size_bytes = sum(path.stat().st_size for path in files)
    records = (store.load_task(name) for name in names)  # one at a time: a store may hold hundreds
    return _inspection("store", root, size_bytes, None, weights, records)


def inspect_stored_file(path: Path) -> Inspection:
    """Tell what one file of a store holds; a task's multiply-adds need its source beside it.

    Raises:
        StoreError: It is missing, damaged, or neither a source nor a task.
    """
    if not path.is_file():
        msg = f"{path} does not exist, expected a source or a task of a store. Check the path."
        raise StoreError(msg)
    found = read_stored(path)
    size_bytes, digest = path.stat().st_size, sha256_file(path)
    if isinstance(found, SourceWeights):
        return _inspection("source", path, size_bytes, digest, found, [])
    store = Store(path.absolute().parent.parent)
    weights = store.source_weights() if store.has_source() else None
    return _inspection("task", path, size_bytes, digest, weights, [found])


def _inspection(  # noqa: PLR0917 - one call for each kind, above
    kind: Any,
    path: Path,
    size_bytes: int,
    digest: str | None,
    weights: SourceWeights | None,
    records: Iterable[TaskRecord],
) -> Inspection:
    source = None if weights is None else Source(weights)
    counter = Counter(source)
    tasks: list[TaskEntry] = []
    shares: list[OwnerShare] = []
    notes: list[str] = []
    preprocessing: dict[str, Preprocessing] = {}
    training: dict[str, TrainingFacts] = {}
    for record in records:
        tasks.append(_entry(record, source))
        preprocessing[record.name] = record.preprocessing
        options = record.known_options()
        training[record.name] = TrainingFacts(record.source_sha256, options, len(record.samples))
        macs = None
        try:
            macs = counter.task(record)
        except StoreError as error:  # trained on another source: the rest still holds
            notes.append(str(error))
        learned = [
            tensor.numel()
            for key, tensor in record.state.items()
            if tensor.is_floating_point() and not key.endswith(_BUFFERS)
        ]
        size = record.preprocessing.image_size
        shares.append(OwnerShare(record.name, sum(learned), macs, size))
    entry = None
    if source is not None:
        count = source.count_parameters()
        entry = SourceEntry(source.architecture, source.fingerprint, count)
        sizes = sorted({share.image_size for share in shares} or {_USUAL_SIZE}, key=height_width)
        shares[:0] = [OwnerShare("source", count, counter.source(size), size) for size in sizes]
    return Inspection(
        kind=kind,
        path=str(path),
        size_bytes=size_bytes,
        sha256=digest,
        source=entry,
        tasks=tuple(tasks),
        preprocessing=preprocessing,
        shares=tuple(shares),
        training=training,
        source_origin=None if weights is None else weights.origin,
        notes=tuple(notes),
    )


def _entry(record: TaskRecord, source: Source | None) -> TaskEntry:
    """Describe a task from its own file; a readout's taps are known by its source alone."""
    options = record.options
    if options.scheme == "readout" and source is not None:
        known = source.fingerprint == record.source_sha256
        return record.entry(record.build(source).selections() if known else {})
    taps, index = dict[str, tuple[int, ...]](), record.state.get(f"{_TAPS}.index")
    if source is not None and source.fingerprint == record.source_sha256 and index is not None:
        taps = chosen_by_tap(source.anatomy.taps, index)
    if options.scheme != "snow" or options.delta.subscription != "pooling":
        return record.entry({}, taps)
    prefix = f"network.{POOLING}."
    selections = {
        key.removeprefix(prefix).removesuffix(".weight"): tuple(
            top_channels(weight, divide(len(weight), options.delta.k_divisor)).tolist()
        )
        for key, weight in record.state.items()
        if key.startswith(prefix) and key.endswith(".weight") and ".norm." not in key
    }
    return record.entry(selections, taps)
