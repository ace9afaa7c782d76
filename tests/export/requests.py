"""Requests for real graphs: deltas as mixed as after training, on a source that a test gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from snow_deploy.models.delta import Delta
from snow_deploy.models.options import DeltaOptions
from snow_export.export import ExportRequest
from snow_runtime.graph.manifest import Preprocessing, SourceEntry, TaskEntry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from snow_deploy.models.source import Source
    from snow_deploy.models.tap_readout import TapReadout

LABELS = {
    "birds": ("wren", "gull", "owl"),
    "cars": ("van", "bus"),
    "food": ("pie", "egg", "soup", "rice"),
}


def random_delta(source: Source, classes: int, seed: int, options: DeltaOptions) -> Delta:
    """Give a delta whose weights, selections and statistics are as mixed as after training."""
    torch.manual_seed(seed)
    delta = Delta(source, classes, options, features=40 + seed)
    with torch.no_grad():
        if delta.tap_readout is not None:
            _mix(delta.tap_readout)
        for pooling in delta.poolings().values():
            pooling.weight.uniform_(-1, 1)
        images = torch.randn(4, 3, 64, 64)
        features = source(images)
        for _ in range(3):  # moves the statistics of the norms
            delta(images, features)
    return delta.eval()


def _mix(taps: TapReadout) -> None:
    """Let it read features of all blocks, of any size."""
    whole = sum(taps.feature_widths.values())
    taps.index.copy_(torch.randperm(whole)[: len(taps.index)].sort().values)
    taps.mean.uniform_()
    taps.deviation.uniform_(0.2, 1)
    taps.linear.weight.normal_(0, 0.1)


def request_of(source: Source, options: DeltaOptions, count: int = 5) -> ExportRequest:
    deltas = {
        name: random_delta(source, len(labels), seed, options)
        for seed, (name, labels) in enumerate(LABELS.items())
    }
    return request_for(source, deltas, LABELS, count)


def request_for(
    source: Source, deltas: Mapping[str, nn.Module], labels: Mapping[str, Sequence[str]], count: int
) -> ExportRequest:
    """Ask for deltas that are there, compared on so many random pictures."""
    tasks = tuple(TaskEntry(name, name, tuple(said)) for name, said in labels.items())
    rng = np.random.default_rng(9)
    return ExportRequest(
        source=source,
        source_entry=SourceEntry(source.architecture, source.fingerprint, 1),
        networks=deltas,
        tasks=tasks,
        preprocessing=Preprocessing.for_size(64),
        pictures=rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8),
        versions={"snow_deploy": "0"},
    )


def many_tasks(source: Source, count: int, classes: Sequence[int] = (3,)) -> ExportRequest:
    """Ask for many tasks; those of equal numbers of classes are alike."""
    sizes = {f"a-task-{number}": classes[number % len(classes)] for number in range(count)}
    built = {size: random_delta(source, size, size, DeltaOptions()) for size in set(classes)}
    deltas = {name: built[size] for name, size in sizes.items()}
    labels = {name: [str(number) for number in range(size)] for name, size in sizes.items()}
    return request_for(source, deltas, labels, count=2)
