"""What ships to the device: load an exported SNOW graph and ask it about pictures.

Examples:
    >>> import snow_runtime
    >>> with snow_runtime.load("snow.onnx") as model:  # doctest: +SKIP
    ...     result = model(snow_runtime.load_image("photo.jpg"))
    ...     print(result["food"].label, result["food"].probability)

These names are public:

- graphs and engines: `load`, `Model`, `SwappableModel`, `Prepared`, `Result`, `TaskResult`
- pictures: `load_image`, `decode_image`, `prepare`, `Picture`, `Colour`, `OnStream`
- what a graph says of itself: `Manifest`, `Preprocessing`, `InputEntry`, `SourceEntry`,
  `TaskEntry`, `ConfidenceEntry`, `FeaturesEntry`, `TapEntry`, `Layout`, `Precision`
- readouts, tasks that a running model gains: `fit`, `FitOptions`, `ReadoutFile`, `ReadoutFacts`,
  `FitEntry`
- cameras: `open_camera`, `Camera`, `CameraGroup`, `CameraOptions`, `Backoff`, `Frame`, `Status`,
  `Counters`
- cameras of your own: `CameraSource`, `CameraPicture`, `LostError`, `RefusedError`,
  `BadPictureError`
- the loop from cameras to outputs: `Loop`, `LoopOptions`, `FrameAnswer`, `TaskAnswer`, `Output`,
  `JsonLines`, `Mqtt`, `MqttOptions`, `Recorder`
- states of what a loop asks: `keep_states`, `StateFeed`, `StateRules`, `StateOutput`, `StateNews`,
  `StateEvent`, `StateNow`, `Change`, `Evidence`
- questions about parts of a picture: `Questions`, `Question`, `CameraView`
- pictures that are kept for labels: `Collection`, `CollectionOptions`, `CollectionQuestion`,
  `NewPicture`, `CollectedPicture`, `LabelCounts`, `UndoneLabels`
- questions of these, fitted on the box: `RefitService`, `RefitOptions`, `Version`, `Honest`
- building engines: `build_engine`, `BuildOptions`, `BuiltEngine`, `EngineRecord`
- models on a server: `remote`, `RemoteOptions`, `TritonPythonModel`
- errors: `SnowError`, `GraphError`, `ManifestError`, `HalfError`, `EngineError`,
  `BuiltElsewhereError`, `ReadoutError`, `FitError`, `CameraError`, `InputError`,
  `CollectionError`, `RemoteError`, `MissingDependencyError`

Everything else, every module of this package included, is internal and may change in any release.

Importing this package costs next to nothing: NumPy, Pillow and ONNX Runtime are loaded when a
function that needs them is first used. PyTorch is never imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime._version import __version__
from snow_runtime.errors import (
    BuiltElsewhereError,
    CameraError,
    CollectionError,
    EngineError,
    FitError,
    GraphError,
    HalfError,
    InputError,
    ManifestError,
    MissingDependencyError,
    ReadoutError,
    RemoteError,
    SnowError,
)
from snow_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from snow_runtime.app.answers import FrameAnswer, TaskAnswer
    from snow_runtime.app.loop import Loop, LoopOptions
    from snow_runtime.app.outputs.jsonl import JsonLines, Output, StateOutput
    from snow_runtime.app.outputs.mqtt import Mqtt
    from snow_runtime.app.outputs.mqtt_broker import MqttOptions
    from snow_runtime.app.outputs.recording import Recorder
    from snow_runtime.app.questions.asking import Questions
    from snow_runtime.app.questions.question import Question
    from snow_runtime.app.questions.view import CameraView
    from snow_runtime.app.states.event import Change, Evidence, StateEvent, StateNews, StateNow
    from snow_runtime.app.states.feed import StateFeed, keep_states
    from snow_runtime.app.states.rules import StateRules
    from snow_runtime.backends.remote.address import RemoteOptions
    from snow_runtime.cameras.backoff import Backoff
    from snow_runtime.cameras.camera import Camera
    from snow_runtime.cameras.frame import Frame
    from snow_runtime.cameras.group import CameraGroup
    from snow_runtime.cameras.opening import open_camera
    from snow_runtime.cameras.options import CameraOptions
    from snow_runtime.cameras.sources.source import (
        BadPictureError,
        CameraPicture,
        CameraSource,
        LostError,
        RefusedError,
    )
    from snow_runtime.cameras.status import Counters, Status
    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.options import CollectionOptions
    from snow_runtime.collection.records import (
        CollectedPicture,
        CollectionQuestion,
        LabelCounts,
        NewPicture,
        UndoneLabels,
    )
    from snow_runtime.engine.make import BuiltEngine, build_engine
    from snow_runtime.engine.options import BuildOptions
    from snow_runtime.engine.record import EngineRecord
    from snow_runtime.graph.confidence_entry import ConfidenceEntry
    from snow_runtime.graph.features_entry import FeaturesEntry, TapEntry
    from snow_runtime.graph.manifest import (
        InputEntry,
        Layout,
        Manifest,
        Precision,
        Preprocessing,
        SourceEntry,
        TaskEntry,
    )
    from snow_runtime.learn.fit import fit
    from snow_runtime.model import Model, load, remote
    from snow_runtime.pictures.arrays import OnStream
    from snow_runtime.pictures.prepared import Prepared
    from snow_runtime.pictures.preprocessing import (
        Colour,
        Picture,
        decode_image,
        load_image,
        prepare,
    )
    from snow_runtime.readout.facts import FitEntry, ReadoutFacts
    from snow_runtime.readout.file import ReadoutFile
    from snow_runtime.readout.fit import FitOptions
    from snow_runtime.refit.evidence import Honest
    from snow_runtime.refit.options import RefitOptions
    from snow_runtime.refit.service import RefitService
    from snow_runtime.refit.versions import Version
    from snow_runtime.results import Result, TaskResult
    from snow_runtime.swap import SwappableModel
    from snow_runtime.triton.python_model import TritonPythonModel

__all__ = [
    "Backoff",
    "BadPictureError",
    "BuildOptions",
    "BuiltElsewhereError",
    "BuiltEngine",
    "Camera",
    "CameraError",
    "CameraGroup",
    "CameraOptions",
    "CameraPicture",
    "CameraSource",
    "CameraView",
    "Change",
    "CollectedPicture",
    "Collection",
    "CollectionError",
    "CollectionOptions",
    "CollectionQuestion",
    "Colour",
    "ConfidenceEntry",
    "Counters",
    "EngineError",
    "EngineRecord",
    "Evidence",
    "FeaturesEntry",
    "FitEntry",
    "FitError",
    "FitOptions",
    "Frame",
    "FrameAnswer",
    "GraphError",
    "HalfError",
    "Honest",
    "InputEntry",
    "InputError",
    "JsonLines",
    "LabelCounts",
    "Layout",
    "Loop",
    "LoopOptions",
    "LostError",
    "Manifest",
    "ManifestError",
    "MissingDependencyError",
    "Model",
    "Mqtt",
    "MqttOptions",
    "NewPicture",
    "OnStream",
    "Output",
    "Picture",
    "Precision",
    "Prepared",
    "Preprocessing",
    "Question",
    "Questions",
    "ReadoutError",
    "ReadoutFacts",
    "ReadoutFile",
    "Recorder",
    "RefitOptions",
    "RefitService",
    "RefusedError",
    "RemoteError",
    "RemoteOptions",
    "Result",
    "SnowError",
    "SourceEntry",
    "StateEvent",
    "StateFeed",
    "StateNews",
    "StateNow",
    "StateOutput",
    "StateRules",
    "Status",
    "SwappableModel",
    "TapEntry",
    "TaskAnswer",
    "TaskEntry",
    "TaskResult",
    "TritonPythonModel",
    "UndoneLabels",
    "Version",
    "__version__",
    "build_engine",
    "decode_image",
    "fit",
    "keep_states",
    "load",
    "load_image",
    "open_camera",
    "prepare",
    "remote",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and refuse a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "app.answers": ("FrameAnswer", "TaskAnswer"),
            "app.loop": ("Loop", "LoopOptions"),
            "app.outputs.jsonl": ("JsonLines", "Output", "StateOutput"),
            "app.outputs.mqtt": ("Mqtt",),
            "app.outputs.mqtt_broker": ("MqttOptions",),
            "app.outputs.recording": ("Recorder",),
            "app.questions.asking": ("Questions",),
            "app.questions.question": ("Question",),
            "app.questions.view": ("CameraView",),
            "app.states.event": ("Change", "Evidence", "StateEvent", "StateNews", "StateNow"),
            "app.states.feed": ("StateFeed", "keep_states"),
            "app.states.rules": ("StateRules",),
            "backends.remote.address": ("RemoteOptions",),
            "cameras.backoff": ("Backoff",),
            "cameras.camera": ("Camera",),
            "cameras.frame": ("Frame",),
            "cameras.group": ("CameraGroup",),
            "cameras.opening": ("open_camera",),
            "cameras.options": ("CameraOptions",),
            "cameras.sources.source": (
                "BadPictureError",
                "CameraPicture",
                "CameraSource",
                "LostError",
                "RefusedError",
            ),
            "cameras.status": ("Counters", "Status"),
            "collection.collection": ("Collection",),
            "collection.options": ("CollectionOptions",),
            "collection.records": (
                "CollectedPicture",
                "CollectionQuestion",
                "LabelCounts",
                "NewPicture",
                "UndoneLabels",
            ),
            "engine.make": ("BuiltEngine", "build_engine"),
            "engine.options": ("BuildOptions",),
            "engine.record": ("EngineRecord",),
            "graph.confidence_entry": ("ConfidenceEntry",),
            "graph.features_entry": ("FeaturesEntry", "TapEntry"),
            "graph.manifest": (
                "InputEntry",
                "Layout",
                "Manifest",
                "Precision",
                "Preprocessing",
                "SourceEntry",
                "TaskEntry",
            ),
            "learn.fit": ("fit",),
            "model": ("Model", "load", "remote"),
            "pictures.arrays": ("OnStream",),
            "pictures.prepared": ("Prepared",),
            "pictures.preprocessing": (
                "Colour",
                "Picture",
                "decode_image",
                "load_image",
                "prepare",
            ),
            "readout.facts": ("FitEntry", "ReadoutFacts"),
            "readout.file": ("ReadoutFile",),
            "readout.fit": ("FitOptions",),
            "refit.evidence": ("Honest",),
            "refit.options": ("RefitOptions",),
            "refit.service": ("RefitService",),
            "refit.versions": ("Version",),
            "results": ("Result", "TaskResult"),
            "swap": ("SwappableModel",),
            "triton.python_model": ("TritonPythonModel",),
        },
    )
