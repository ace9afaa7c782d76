"""Multiply-adds of a store's networks, counted once for all that have one shape."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from snow_deploy.errors import StoreError
from snow_deploy.models.multiply_adds import network_macs, source_macs

if TYPE_CHECKING:
    from snow_deploy.models.source import Source
    from snow_deploy.training.task_record import TaskRecord
    from snow_runtime.graph.image_size import ImageSize


class Counter:
    """Counts the source and tasks on it; only shapes are computed."""

    def __init__(self, source: Source | None) -> None:
        """Take the source; None where it is not at hand."""
        self._source = source
        self._measured: dict[str, dict[int, int]] = {}  # by shape: multiply-adds by classes

    def source(self, image_size: ImageSize) -> int:
        """Count the source's multiply-adds of one picture."""
        if self._source is None:
            msg = "there is no source to count"
            raise ValueError(msg)
        return source_macs(self._source, image_size)

    def task(self, record: TaskRecord) -> int:
        """Count a task's own multiply-adds of one picture.

        A network's are the same as another's of its shape; one that differs in nothing but its
        classes differs by as many times what one class takes.

        Raises:
            StoreError: The task was trained on another source, which is not at hand.
        """
        if self._source is None:
            msg = (
                f"the multiply-adds of {record.name!r} need its source "
                f"({record.source_sha256[:12]}), which does not lie beside it"
            )
            raise StoreError(msg)
        known = self._measured.setdefault(_shape(record), {})
        classes = len(record.labels)
        if record.source_sha256 == self._source.fingerprint:
            if classes in known:
                return known[classes]
            if len(known) > 1:
                (few, least), (many, most) = min(known.items()), max(known.items())
                return least + (classes - few) * (most - least) // (many - few)
        network = record.build(self._source)  # tells what does not fit
        known[classes] = network_macs(self._source, network, record.preprocessing.image_size)
        return known[classes]


def _shape(record: TaskRecord) -> str:
    """Describe a network but for its classes."""
    options = record.options.to_dict()
    classes = len(record.labels)
    weights = {
        key: [None if size == classes else size for size in tensor.shape]
        for key, tensor in record.state.items()
    }
    size = record.preprocessing.image_size
    return json.dumps([options["scheme"], options["delta"], size, weights], sort_keys=True)
