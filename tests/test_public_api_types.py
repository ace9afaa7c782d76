"""What a type checker knows of the public names: `make lint` reads this file, pytest runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import assert_type

import snow_calibration
import snow_deploy
import snow_export
import snow_runtime

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RandomWeights

DATA = "demo:shape?train=24&test=12&size=64"
TASK = "shape"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> snow_deploy.Store:
    return snow_deploy.Store(tmp_path_factory.mktemp("border") / "store")


@pytest.fixture(scope="module")
def graph(store: snow_deploy.Store, random_weights: RandomWeights) -> Path:
    """Do what a researcher's own program does, by public names alone: train, and export."""
    weights = random_weights("resnet18")
    assert_type(weights, snow_deploy.SourceWeights)
    store.put_source(weights)
    assert_type(snow_deploy.parse_spec(DATA), snow_deploy.DataSpec)
    splits = snow_deploy.open_data(DATA)
    assert_type(splits, snow_deploy.Splits)
    assert_type(splits.train, snow_deploy.Pictures)
    assert_type(splits.labels, tuple[str, ...])
    options = snow_deploy.TrainOptions(
        delta=snow_deploy.DeltaOptions(k_divisor=8, width_divisor=8),
        recipe=snow_deploy.Recipe(lr=0.2),
        epochs=1,
        batch_size=16,
        image_size=64,
        precision="fp32",
    )
    assert_type(snow_deploy.recipe_for("steady"), snow_deploy.Recipe)
    request = snow_deploy.TaskRequest(TASK, splits, options)
    settings = snow_deploy.RunSettings(workers=0, baseline=False)
    outcome = snow_deploy.train_tasks(store, [request], settings)
    assert_type(outcome, snow_deploy.TrainingOutcome)
    assert_type(outcome.records, tuple[snow_deploy.TaskRecord, ...])

    path = store.root / "snow.onnx"
    found = snow_deploy.export_tasks(
        store, [TASK], path, with_features=True, options=snow_export.GraphOptions()
    )
    assert_type(found, list[snow_export.TaskParity])
    return path


@pytest.mark.slow
def test_stores_and_graphs(store: snow_deploy.Store, graph: Path) -> None:
    assert_type(store.tasks(), tuple[str, ...])
    assert_type(store.load_task(TASK), snow_deploy.TaskRecord)
    source = snow_deploy.Source(store.source_weights())
    assert_type(store.load_task(TASK).build(source), snow_deploy.TaskNetwork)
    assert_type(snow_deploy.inspect_store(store.root), snow_export.Inspection)
    checked = snow_deploy.verify_graph(store, graph, (1,))
    assert_type(checked, snow_export.Verification)
    assert_type(checked.rungs, tuple[snow_export.Rung, ...])
    assert checked.holds

    inspection = snow_export.inspect_graph(graph)
    assert_type(inspection, snow_export.Inspection)
    assert_type(inspection.graph, snow_export.GraphFacts | None)
    assert_type(inspection.shares, tuple[snow_export.OwnerShare, ...])


def test_loops_of_ones_own(store: snow_deploy.Store, graph: Path, tmp_path: Path) -> None:
    import torch
    import torchvision

    assert graph.is_file()
    network = torchvision.models.resnet18(num_classes=4)
    source = snow_deploy.Source.of(network, image_size=64)
    assert_type(source, snow_deploy.Source)
    assert_type(source.preprocessing, snow_runtime.Preprocessing)
    delta = snow_deploy.Delta(source, 2)
    images = torch.zeros(2, 3, 64, 64)
    assert_type(source(images), Any)  # torch's modules do not say what a call returns
    assert_type(source.forward(images), snow_deploy.Features)
    assert_type(delta.forward(images, source(images)), torch.Tensor)
    course = snow_deploy.Course(delta, snow_deploy.TrainOptions(epochs=1), steps=1)
    assert_type(course.optimizer(), torch.optim.SGD)
    assert_type(course.begin_step(), None)
    assert_type(snow_deploy.SnowModule(source, delta).source, snow_deploy.Source)
    own = snow_deploy.Store(tmp_path / "own")
    record = own.add("shape", delta, labels=["a", "b"], metrics={"accuracy": 0.5})
    assert_type(record, snow_deploy.TaskRecord)
    found = snow_deploy.export(own, ["shape"], tmp_path / "own.onnx")
    assert_type(found, list[snow_export.TaskParity])
    with pytest.raises(snow_deploy.StoreError):
        store.add("other", delta, labels=["a", "b"])
    with pytest.raises(snow_deploy.TrainingError):
        snow_deploy.train(own, {})


def test_models_and_their_answers(graph: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    with snow_runtime.load(graph, ["CPUExecutionProvider"]) as model:
        assert_type(model, snow_runtime.Model)
        assert_type(model.manifest, snow_runtime.Manifest)
        assert_type(model.manifest.preprocessing, snow_runtime.Preprocessing)
        assert_type(model.manifest.tasks, tuple[snow_runtime.TaskEntry, ...])
        assert_type(model.manifest.precision, snow_runtime.Precision)
        result = model(image, colour="bgr")
        assert_type(result, snow_runtime.Result)
        assert_type(result[TASK], snow_runtime.TaskResult)
        assert_type(result[TASK].label, str)
        assert_type(result[TASK].probability, float)
        assert_type(result[TASK].top(2), list[tuple[str, float]])
        prepared = model.prepare([image])
        assert_type(prepared, snow_runtime.Prepared)
        assert_type(model.answer(prepared), list[snow_runtime.Result])
        assert_type(model.batch([image]), list[snow_runtime.Result])
    with snow_runtime.SwappableModel(snow_runtime.load(graph)) as swappable:
        assert_type(swappable, snow_runtime.SwappableModel)


def test_tasks_that_a_running_model_gains(graph: Path, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("threadpoolctl")
    rng = np.random.default_rng(0)
    pictures = [rng.integers(low, low + 100, (48, 64, 3), dtype=np.uint8) for low in (0, 150) * 6]
    labels = ["dark", "bright"] * 6
    with snow_runtime.SwappableModel(snow_runtime.load(graph)) as model:
        assert_type(model.manifest.features, snow_runtime.FeaturesEntry | None)
        assert_type(model.features(pictures), NDArray[np.float32])
        options = snow_runtime.FitOptions(folds=3)
        readout = snow_runtime.fit(model, pictures, labels, name="light", options=options)
        assert_type(readout, snow_runtime.ReadoutFile)
        assert_type(readout.facts, snow_runtime.ReadoutFacts)
        assert_type(readout.facts.taps, tuple[snow_runtime.TapEntry, ...])
        assert_type(readout.facts.fit, snow_runtime.FitEntry)
        assert_type(readout.facts.fit.accuracy, float)
        readout.write(tmp_path / "light.readout")
        added = model.add_readout(tmp_path / "light.readout")
        assert_type(added, snow_runtime.ReadoutFile)
        assert_type(model.readouts, tuple[snow_runtime.ReadoutFile, ...])
        assert_type(model(pictures[0])["light"].label, str)
        assert list(model.tasks) == [TASK, "light"]
        model.remove_readout("light")
    with pytest.raises(snow_runtime.FitError), snow_runtime.load(graph) as fresh:
        snow_runtime.fit(fresh, pictures[:2], labels[:2], name="light")
    with pytest.raises(snow_runtime.ReadoutError):
        snow_runtime.ReadoutFile.read(graph)


def test_cameras_and_the_loop(graph: Path) -> None:
    uri = "synthetic://?width=64&height=48&fps=0"
    options = snow_runtime.CameraOptions()
    with snow_runtime.open_camera(uri, name="door", options=options) as camera:
        assert_type(camera, snow_runtime.Camera)
        assert_type(camera.read(), snow_runtime.Frame | None)
        assert_type(camera.status, snow_runtime.Status)
        assert_type(camera.counters, snow_runtime.Counters)
    answers: list[snow_runtime.FrameAnswer] = []

    class Kept:
        def put(self, answer: snow_runtime.FrameAnswer) -> None:
            answers.append(answer)

        def close(self) -> None: ...

    output: snow_runtime.Output = Kept()
    with (
        snow_runtime.SwappableModel(snow_runtime.load(graph)) as model,
        snow_runtime.CameraGroup([snow_runtime.open_camera(uri)]) as cameras,
    ):
        assert_type(cameras, snow_runtime.CameraGroup)
        loop = snow_runtime.Loop(model, cameras, [output], snow_runtime.LoopOptions(frames=2))
        assert_type(loop.run(), int)
    assert_type(answers[0].tasks, dict[str, snow_runtime.TaskAnswer])
    assert len(answers) == 2


@pytest.mark.slow
def test_costs_and_calibration(graph: Path, tmp_path: Path) -> None:
    import onnx

    cost = snow_export.measure_cost(onnx.load(graph), [TASK])
    assert_type(cost, snow_export.GraphCost)
    assert_type(cost.owners, tuple[snow_export.OwnerCost, ...])
    assert_type(cost.macs_over_source, float | None)

    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(
        0, 256, (20, 64, 64, 3), dtype=np.uint8
    )
    pictures = snow_calibration.CalibrationPictures(tuple(map(str, range(20))), pixels)
    labelled = snow_calibration.LabelledPictures(pixels, np.zeros(20, np.int64))
    settings = snow_calibration.CalibrationSettings(
        tmp_path / "ranges.json", "minmax", max_drop=200, accept_undecided=True, other_pictures=True
    )
    report = snow_calibration.calibrate_and_judge(
        graph, tmp_path / "int8.onnx", pictures, {TASK: labelled}, settings
    )
    assert_type(report, snow_calibration.CalibrationReport)
    assert_type(report.verdicts, tuple[snow_calibration.Verdict, ...])
    assert_type(report.int8, tuple[snow_calibration.TaskScore, ...])
    assert_type(report.to_dict(), dict[str, Any])
    ranges = snow_calibration.Ranges.load(tmp_path / "ranges.json")
    assert_type(ranges, snow_calibration.Ranges)


def test_every_error_descends_from_one(tmp_path: Path) -> None:
    errors: list[type[snow_runtime.SnowError]] = [
        snow_deploy.StoreError,
        snow_export.ParityError,
        snow_calibration.CalibrationError,
        snow_runtime.EngineError,
    ]
    assert all(issubclass(error, snow_runtime.SnowError) for error in errors)
    with pytest.raises(snow_runtime.GraphError):
        snow_runtime.load(tmp_path / "none.onnx")


if TYPE_CHECKING:
    # A misspelt name is found by the type checker: without an error these lines are one.
    snow_deploy.trian_task  # type: ignore[attr-defined] # noqa: B018
    snow_export.exprot_graph  # type: ignore[attr-defined] # noqa: B018
    snow_calibration.calibrat  # type: ignore[attr-defined] # noqa: B018
    snow_runtime.lod  # type: ignore[attr-defined] # noqa: B018

    def builds(graph: Path) -> None:
        """Where there is TensorRT."""
        built = snow_runtime.build_engine(graph, graph, snow_runtime.BuildOptions())
        assert_type(built, snow_runtime.BuiltEngine)
        assert_type(built.record, snow_runtime.EngineRecord)
