"""Train SNOW multi-task CNNs and take them to a device.

>>> import snow_deploy as snow
>>> source = snow.Source(snow.load_weights("imagenet", "resnet50"))  # doctest: +SKIP
>>> store = snow.Store("store")  # doctest: +SKIP
>>> snow.train(store, {"food": "imagefolder:photos"}, source=source)  # doctest: +SKIP
>>> snow.export(store, ["food"], "snow.onnx")  # doctest: +SKIP

Or, in a loop of one's own:

>>> delta = snow.Delta(source, 10)  # doctest: +SKIP
>>> loss = criterion(delta(images, source(images)), targets)  # doctest: +SKIP
>>> store.add("food", delta, labels=labels)  # doctest: +SKIP

These names are public:

- data: `open_data`, `parse_spec`, `DataSpec`, `Splits`, `Pictures`, `FilePictures`,
  `MultiLabelPictures`, `MultiLabelFiles`
- from a picture to a tensor: `make_transform`, `PictureDataset`
- sources: `load_weights`, `ReadOptions`, `SourceWeights`, `Source`, `SourceChoice`, `bring_source`
- what is trained: `TrainOptions`, `DeltaOptions`, `Recipe`, `recipe_for`, `Scheme`, `TaskNetwork`,
  `Delta`, `Features`, `ChannelPooling`
- training: `train`, `train_task`, `train_tasks`, `TaskRequest`, `RunSettings`, `TrainingOutcome`,
  `keep_freed_memory`
- loops of one's own: `Course`, `begin_linear`, `SnowModule`
- the store: `Store`, `TaskRecord`, `inspect_store`
- from the store to a graph: `export`, `export_tasks`, `verify_graph`
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
    from snow_deploy.data.picture_dataset import PictureDataset
    from snow_deploy.data.pictures import FilePictures, MultiLabelPictures, Pictures, Splits
    from snow_deploy.data.spec import DataSpec, open_data, parse_spec
    from snow_deploy.data.transforms import make_transform
    from snow_deploy.models.delta import Delta
    from snow_deploy.models.features import Features
    from snow_deploy.models.network import Scheme, TaskNetwork
    from snow_deploy.models.options import DeltaOptions
    from snow_deploy.models.pooling import ChannelPooling
    from snow_deploy.models.source import Source
    from snow_deploy.models.source_weights import SourceWeights
    from snow_deploy.models.weights import ReadOptions, load_weights
    from snow_deploy.stages.commands import export, train
    from snow_deploy.stages.export import export_tasks, verify_graph
    from snow_deploy.stages.inspect_store import inspect_store
    from snow_deploy.training.begin_linear import begin_linear
    from snow_deploy.training.bring_source import SourceChoice, bring_source
    from snow_deploy.training.course import Course
    from snow_deploy.training.options import Recipe, TrainOptions, recipe_for
    from snow_deploy.training.outcome import TrainingOutcome
    from snow_deploy.training.run import RunSettings, train_task, train_tasks
    from snow_deploy.training.snow_module import SnowModule
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_record import TaskRecord
    from snow_deploy.training.task_requests import TaskRequest

__all__ = [
    "ChannelPooling",
    "Course",
    "DamagedCheckpointError",
    "DataError",
    "DataSpec",
    "Delta",
    "DeltaOptions",
    "DivergedError",
    "Features",
    "FilePictures",
    "MultiLabelFiles",
    "MultiLabelPictures",
    "PictureDataset",
    "Pictures",
    "ReadOptions",
    "Recipe",
    "ResumeError",
    "RunSettings",
    "Scheme",
    "SnowDeployError",
    "SnowModule",
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
    "begin_linear",
    "bring_source",
    "export",
    "export_tasks",
    "inspect_store",
    "keep_freed_memory",
    "load_weights",
    "make_transform",
    "open_data",
    "parse_spec",
    "recipe_for",
    "train",
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
            "data.picture_dataset": ("PictureDataset",),
            "data.pictures": ("FilePictures", "MultiLabelPictures", "Pictures", "Splits"),
            "data.spec": ("DataSpec", "open_data", "parse_spec"),
            "data.transforms": ("make_transform",),
            "models.delta": ("Delta",),
            "models.features": ("Features",),
            "models.network": ("Scheme", "TaskNetwork"),
            "models.options": ("DeltaOptions",),
            "models.pooling": ("ChannelPooling",),
            "models.source": ("Source",),
            "models.source_weights": ("SourceWeights",),
            "models.weights": ("ReadOptions", "load_weights"),
            "stages.commands": ("export", "train"),
            "stages.export": ("export_tasks", "verify_graph"),
            "stages.inspect_store": ("inspect_store",),
            "training.begin_linear": ("begin_linear",),
            "training.bring_source": ("SourceChoice", "bring_source"),
            "training.course": ("Course",),
            "training.options": ("Recipe", "TrainOptions", "recipe_for"),
            "training.outcome": ("TrainingOutcome",),
            "training.run": ("RunSettings", "train_task", "train_tasks"),
            "training.snow_module": ("SnowModule",),
            "training.store": ("Store",),
            "training.task_record": ("TaskRecord",),
            "training.task_requests": ("TaskRequest",),
        },
    )
