"""Train SNOW multi-task CNNs and take them to a device.

>>> from pathlib import Path
>>> import snow_deploy
>>> store = snow_deploy.Store("snow-store")  # doctest: +SKIP
>>> splits = snow_deploy.open_data("imagefolder:photos")  # doctest: +SKIP
>>> options = snow_deploy.TrainOptions(epochs=30)  # doctest: +SKIP
>>> source = snow_deploy.SourceChoice("resnet50")  # doctest: +SKIP
>>> snow_deploy.bring_source(store, source, [(options, len(splits.labels))])  # doctest: +SKIP
>>> request = snow_deploy.TaskRequest("food", splits, options)  # doctest: +SKIP
>>> snow_deploy.train_tasks(store, [request], snow_deploy.RunSettings())  # doctest: +SKIP
>>> snow_deploy.export_tasks(store, ["food"], Path("snow.onnx"))  # doctest: +SKIP

These names are public:

- data: `open_data`, `parse_spec`, `DataSpec`, `Splits`, `Pictures`, `FilePictures`,
  `MultiLabelPictures`, `MultiLabelFiles`
- sources: `load_weights`, `ReadOptions`, `SourceWeights`, `Source`, `SourceChoice`, `bring_source`
- what is trained: `TrainOptions`, `DeltaOptions`, `Recipe`, `recipe_for`, `Scheme`, `TaskNetwork`,
  `ChannelPooling`
- training: `train_task`, `train_tasks`, `TaskRequest`, `RunSettings`, `TrainingOutcome`,
  `keep_freed_memory`
- the store: `Store`, `TaskRecord`, `inspect_store`
- from the store to a graph: `export_tasks`, `verify_graph`
- errors: `SnowDeployError`, `DataError`, `SourceError`, `StoreError`, `TrainingError`,
  `ResumeError`, `DamagedCheckpointError`, `DivergedError`

Everything else, every module of this package and the functions of the command line included, is
internal and may change in any release. Public names are imported when they are first used, so that
importing this package loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.errors import (
    DamagedCheckpointError,
    DataError,
    DivergedError,
    ResumeError,
    SnowDeployError,
    SourceError,
    StoreError,
    TrainingError,
)
from snow_runtime import __version__
from snow_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from snow_deploy.allocator import keep_freed_memory
    from snow_deploy.data.multilabel import MultiLabelFiles
    from snow_deploy.data.pictures import FilePictures, MultiLabelPictures, Pictures, Splits
    from snow_deploy.data.spec import DataSpec, open_data, parse_spec
    from snow_deploy.models.network import Scheme, TaskNetwork
    from snow_deploy.models.options import DeltaOptions
    from snow_deploy.models.pooling import ChannelPooling
    from snow_deploy.models.source import Source
    from snow_deploy.models.source_weights import SourceWeights
    from snow_deploy.models.weights import ReadOptions, load_weights
    from snow_deploy.stages.export import export_tasks, verify_graph
    from snow_deploy.stages.inspect_store import inspect_store
    from snow_deploy.training.bring_source import SourceChoice, bring_source
    from snow_deploy.training.options import Recipe, TrainOptions, recipe_for
    from snow_deploy.training.outcome import TrainingOutcome
    from snow_deploy.training.run import RunSettings, train_task, train_tasks
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_record import TaskRecord
    from snow_deploy.training.task_requests import TaskRequest

__all__ = [
    "ChannelPooling",
    "DamagedCheckpointError",
    "DataError",
    "DataSpec",
    "DeltaOptions",
    "DivergedError",
    "FilePictures",
    "MultiLabelFiles",
    "MultiLabelPictures",
    "Pictures",
    "ReadOptions",
    "Recipe",
    "ResumeError",
    "RunSettings",
    "Scheme",
    "SnowDeployError",
    "Source",
    "SourceChoice",
    "SourceError",
    "SourceWeights",
    "Splits",
    "Store",
    "StoreError",
    "TaskNetwork",
    "TaskRecord",
    "TaskRequest",
    "TrainOptions",
    "TrainingError",
    "TrainingOutcome",
    "__version__",
    "bring_source",
    "export_tasks",
    "inspect_store",
    "keep_freed_memory",
    "load_weights",
    "open_data",
    "parse_spec",
    "recipe_for",
    "train_task",
    "train_tasks",
    "verify_graph",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and refuse a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "allocator": ("keep_freed_memory",),
            "data.multilabel": ("MultiLabelFiles",),
            "data.pictures": ("FilePictures", "MultiLabelPictures", "Pictures", "Splits"),
            "data.spec": ("DataSpec", "open_data", "parse_spec"),
            "models.network": ("Scheme", "TaskNetwork"),
            "models.options": ("DeltaOptions",),
            "models.pooling": ("ChannelPooling",),
            "models.source": ("Source",),
            "models.source_weights": ("SourceWeights",),
            "models.weights": ("ReadOptions", "load_weights"),
            "stages.export": ("export_tasks", "verify_graph"),
            "stages.inspect_store": ("inspect_store",),
            "training.bring_source": ("SourceChoice", "bring_source"),
            "training.options": ("Recipe", "TrainOptions", "recipe_for"),
            "training.outcome": ("TrainingOutcome",),
            "training.run": ("RunSettings", "train_task", "train_tasks"),
            "training.store": ("Store",),
            "training.task_record": ("TaskRecord",),
            "training.task_requests": ("TaskRequest",),
        },
    )
