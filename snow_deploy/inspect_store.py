"""What a store holds, or one of its files."""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from snow_deploy.errors import StoreError
from snow_deploy.models.choice import top_channels
from snow_deploy.models.mirror import POOLING, divide
from snow_deploy.models.source import Source
from snow_deploy.models.weights import SourceWeights
from snow_deploy.training.store import Store, read_stored
from snow_export.inspection import Inspection, Share, Training
from snow_runtime.files import sha256_file
from snow_runtime.manifest import SourceEntry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from snow_deploy.training.store import TaskRecord
    from snow_runtime.manifest import TaskEntry

_USUAL_SIZE = 224  # pixels; what a source without tasks is measured at
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked", ".places")


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
    records = [store.load_task(name) for name in store.tasks()]
    files = [store.source_path, *(store.task_path(record.name) for record in records)]
    size_bytes = sum(path.stat().st_size for path in files)
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
    records: Sequence[TaskRecord],
) -> Inspection:
    source = None if weights is None else Source(weights)
    shares, notes = _shares(source, records)
    entry = None
    if source is not None:
        entry = SourceEntry(source.architecture, source.fingerprint, source.count_parameters())
    return Inspection(
        kind=kind,
        path=str(path),
        size_bytes=size_bytes,
        sha256=digest,
        source=entry,
        tasks=tuple(_entry(record) for record in records),
        preprocessing={record.name: record.preprocessing for record in records},
        shares=tuple(shares),
        training={
            record.name: Training(record.source, record.options.to_dict(), len(record.samples))
            for record in records
        },
        source_origin=None if weights is None else weights.origin,
        notes=tuple(notes),
    )


def _entry(record: TaskRecord) -> TaskEntry:
    """Describe a task from its own file alone."""
    options = record.options
    if options.scheme != "snow" or options.delta.subscription != "pooling":
        return record.entry({})
    prefix = f"network.{POOLING}."
    selections = {
        key.removeprefix(prefix).removesuffix(".weight"): tuple(
            top_channels(weight, divide(len(weight), options.delta.k)).tolist()
        )
        for key, weight in record.state.items()
        if key.startswith(prefix) and key.endswith(".weight") and ".norm." not in key
    }
    return record.entry(selections)


def _shares(source: Source | None, records: Sequence[TaskRecord]) -> tuple[list[Share], list[str]]:
    """Count each owner's part, the source's once for every image size of the tasks."""
    shares, notes = [], []
    networks: dict[str, nn.Module] = {}
    for record in records:
        if source is None:
            notes.append(
                f"the multiply-adds of {record.name!r} need its source "
                f"({record.source[:12]}), which does not lie beside it"
            )
            continue
        try:
            networks[record.name] = _on_meta(record.build(source))
        except StoreError as error:  # trained on another source: the rest still holds
            notes.append(str(error))
    shapes = None if source is None else _on_meta(source)  # with all that the networks ask for
    if source is not None and shapes is not None:
        sizes = sorted({record.preprocessing.image_size for record in records} or {_USUAL_SIZE})
        count = source.count_parameters()
        shares = [Share("source", count, _macs(shapes, _image(size)), size) for size in sizes]
    features = functools.cache(lambda size: shapes(_image(size)) if shapes is not None else {})
    for record in records:
        size, macs = record.preprocessing.image_size, None
        if record.name in networks:
            macs = _macs(networks[record.name], _image(size), features(size))
        learned = [n.numel() for key, n in record.state.items() if not key.endswith(_BUFFERS)]
        shares.append(Share(record.name, sum(learned), macs, size))
    return shares, notes


def _macs(network: nn.Module, *inputs: Any) -> int:
    """Count multiply-adds of convolutions and matrix products; torch counts two flops each."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return int(counter.get_total_flops()) // 2


def _on_meta(network: nn.Module) -> nn.Module:
    """Copy a network to where only shapes are computed."""
    return copy.deepcopy(network).to("meta")


def _image(size: int) -> torch.Tensor:
    return torch.zeros(1, 3, size, size, device="meta")
