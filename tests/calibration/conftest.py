"""A small network as a float graph, three tasks fused and apart, and pictures to calibrate on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from snow_calibration.gate import answers_of
from snow_calibration.pictures import CalibrationPictures, LabelledPictures
from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry
from snow_runtime.graph.onnx_file import with_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_deploy.models.source import Source


@pytest.fixture(scope="session")
def float_graph(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Export three tasks on a ResNet-18 at 64 px; equal options give the same file."""
    from snow_deploy.models.options import DeltaOptions
    from snow_export.export import GraphOptions, export_graph
    from snow_runtime.graph.manifest import InputEntry
    from tests.export.requests import request_of

    made: dict[Any, Path] = {}
    request = request_of(source, DeltaOptions())

    def make(
        layout: str = "fused", *, precision: str = "fp32", frames: bool = False, batch: Any = None
    ) -> Path:
        key = (layout, precision, frames, batch)
        if key not in made:
            entry = InputEntry(dtype="uint8", layout="NHWC", colour="bgr")
            options = GraphOptions(layout, precision, entry if frames else InputEntry(), batch)  # type: ignore[arg-type]
            path = tmp_path_factory.mktemp("float") / "snow.onnx"
            export_graph(replace(request, options=options), path)
            made[key] = path
        return made[key]

    return make


@pytest.fixture(scope="session")
def samples() -> CalibrationPictures:
    """Give twenty pictures of 64 px, smooth enough to look like some."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    pixels = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return CalibrationPictures(tuple(f"picture {n:02}" for n in range(20)), pixels)


@pytest.fixture(scope="session")
def truth(samples: CalibrationPictures) -> dict[str, LabelledPictures]:
    from tests.export.requests import LABELS

    rng = np.random.default_rng(4)
    return {
        task: LabelledPictures(samples.pixels, rng.integers(0, len(labels), len(samples)))
        for task, labels in LABELS.items()
    }


@pytest.fixture(scope="session")
def small_samples() -> CalibrationPictures:
    """Give forty pictures for `small_graph`."""
    rng = np.random.default_rng(3)
    brightness = rng.integers(20, 256, (40, 1, 1, 3))
    pixels = (rng.random((40, 8, 8, 3)) * brightness).astype(np.uint8)
    return CalibrationPictures(tuple(f"picture {n:02}" for n in range(40)), pixels)


@pytest.fixture(scope="session")
def small_graph(
    small_samples: CalibrationPictures, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Give `small_net` as a file of one task, food, for tests that run it many times.

    Its last bias is such that all of its classes are answered.
    """
    task = TaskEntry("food", "answer", ("a", "b", "c", "d", "e"), sha256="0" * 64)
    manifest = Manifest(SourceEntry("small", "1" * 64, 900), Preprocessing.for_size(8), (task,))
    path = tmp_path_factory.mktemp("small") / "snow.onnx"
    model = small_net()
    onnx.save(with_manifest(model, manifest), path)
    unknown = LabelledPictures(small_samples.pixels, np.zeros(len(small_samples), np.int64))
    mean = answers_of(path, {"food": unknown})["food"].mean(0)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b4")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) - mean, "b4"))
    onnx.save(with_manifest(model, manifest), path)
    return path


@pytest.fixture(scope="session")
def small_truth(
    small_graph: Path, small_samples: CalibrationPictures
) -> dict[str, LabelledPictures]:
    """Label the pictures with what `small_graph` answers."""
    unknown = {"food": LabelledPictures(small_samples.pixels, np.zeros(40, np.int64))}
    return {
        "food": LabelledPictures(
            small_samples.pixels, answers_of(small_graph, unknown)["food"].argmax(1)
        )
    }


def small_net() -> onnx.ModelProto:
    """Make a residual network by hand: two branches that are added, a concat and a classifier.

    image [B, 3, 8, 8] -> conv1 -> relu1 -> conv2 -> add (with relu1) -> relu2
    -> concat (with relu1) -> conv3 -> relu3 -> pool -> flatten -> fc -> answer [B, 5]
    """
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)

    def node(op: str, name: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [name], name=name, **attributes)

    nodes = [
        node("Conv", "conv1", "image", "w1", "b1", pads=[1, 1, 1, 1]),
        node("Relu", "relu1", "conv1"),
        node("Conv", "conv2", "relu1", "w2", "b2", pads=[1, 1, 1, 1]),
        node("Add", "add", "conv2", "relu1"),
        node("Relu", "relu2", "add"),
        node("Concat", "concat", "relu2", "relu1", axis=1),
        node("Conv", "conv3", "concat", "w3", "b3"),
        node("Relu", "relu3", "conv3"),
        node("GlobalAveragePool", "pool", "relu3"),
        node("Flatten", "flat", "pool"),
        helper.make_node("Gemm", ["flat", "w4", "b4"], ["answer"], name="fc", transB=1),
    ]
    constants = [
        weight("w1", 4, 3, 3, 3),
        weight("b1", 4),
        weight("w2", 4, 4, 3, 3),
        weight("b2", 4),
        weight("w3", 6, 8, 1, 1),
        weight("b3", 6),
        weight("w4", 5, 6),
        weight("b4", 5),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, 8, 8])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["B", 5])
    graph = helper.make_graph(nodes, "small", [image], [answer], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
