"""A store's readout as a file of its own, for graphs that have been exported already."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from snow_deploy.errors import StoreError
from snow_deploy.models.fold_source import tap_key
from snow_deploy.models.schemes.readout import Readout
from snow_deploy.models.source import Source
from snow_deploy.stages.export_request import source_entry
from snow_runtime import __version__
from snow_runtime.graph.features_entry import TapEntry
from snow_runtime.pictures.preprocessing import normalise
from snow_runtime.readout.facts import FitEntry, ReadoutFacts
from snow_runtime.readout.file import ReadoutFile
from snow_runtime.self_check import check_picture

if TYPE_CHECKING:
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_record import TaskRecord
    from snow_runtime.graph.manifest import Preprocessing

_NOTED = ("fit_pictures", "cross_validated_accuracy", "cross_validated_error", "penalty")


def readout_of(store: Store, name: str) -> ReadoutFile:
    """Take a task of the scheme `readout` out of a store, ready to be written.

    What it answers about the check picture is computed by torch, with the source of the store.

    Args:
        store: Store that holds the source and the task.
        name: Name of the task.

    Raises:
        StoreError: There is no such task, it is no readout, or is of another source.
        ReadoutError: Its weights are not finite.
    """
    record = store.load_task(name)
    _check_is_readout(store, record)
    source = Source(store.source_weights())
    network = record.build(source)
    if not isinstance(network, Readout):
        msg = f"the task {name!r} says that it is a readout and is a {type(network).__name__}"
        raise TypeError(msg)
    metrics = record.metrics
    facts = ReadoutFacts(
        task=record.entry(network.selections()),
        source=source_entry(source),
        preprocessing=record.preprocessing,
        taps=tuple(TapEntry(tap.name, tap.channels) for tap in source.anatomy.taps),
        precision="fp32",
        check_logits=_check_logits(source, network, record.preprocessing),
        fit=FitEntry(
            pictures=round(metrics["fit_pictures"]),
            counts=None,
            accuracy=metrics["cross_validated_accuracy"],
            standard_error=metrics["cross_validated_error"],
            penalty=metrics["penalty"],
        ),
        versions={
            "snow-deploy": __version__,
            "torch": version("torch"),
            "numpy": np.__version__,
        },
    )
    linear = network.classifier
    return ReadoutFile(facts, linear.weight.detach().numpy(), linear.bias.detach().numpy())


def _check_is_readout(store: Store, record: TaskRecord) -> None:
    if record.options.scheme != "readout":
        others = (store.load_task(name) for name in store.tasks())
        found = ", ".join(each.name for each in others if each.options.scheme == "readout")
        msg = (
            f"the task {record.name!r} is of the scheme {record.options.scheme}, expected readout "
            f"({store.root} has: {found or 'none'}). A network of its own cannot be added to a "
            "graph: export it with --tasks, or train one with --scheme readout."
        )
        raise StoreError(msg)
    if missing := [name for name in _NOTED if name not in record.metrics]:
        msg = (
            f"the readout {record.name!r} was fitted by a version that did not note its "
            f"{', '.join(missing)}. Fit it anew with --overwrite; that takes seconds."
        )
        raise StoreError(msg)


def _check_logits(
    source: Source, network: Readout, preprocessing: Preprocessing
) -> tuple[float, ...]:
    import torch

    pixels = check_picture(preprocessing.image_size)
    image = torch.from_numpy(normalise(pixels, preprocessing)[np.newaxis])
    features = source.stream(image, [tap_key(tap) for tap in network.taps])
    logits = network(image, {key: features[key] for key in network.reads})
    return tuple(logits[0].detach().tolist())
