"""Graphs whose weights lie beside them; of some gigabytes, which sparse files give for nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from snow_calibration.float_graph import read_float_graph
from snow_calibration.lint import lint
from snow_export.inspect.cost import measure_cost
from snow_export.inspect.inspect_graph import inspect_graph
from snow_runtime.engine.prepare import prepare_graph
from snow_runtime.errors import GraphError
from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeModel

WIDE, WIDER = 16_384, 34_000
PICTURE = 3 * 8 * 8
SIZE_BYTES = 4 * (PICTURE * WIDE + WIDE * WIDER + WIDER * 5)


def manifest() -> Manifest:
    return Manifest(
        source=SourceEntry("small", "a" * 64, 112),
        preprocessing=Preprocessing.for_size(8),
        tasks=(TaskEntry("food", "food", tuple("abcde")),),
    )


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Give a graph of 2.24 GB of zeros, which take no room on the disk."""
    tensors, offset = [], 0
    for name, shape in {"w": (PICTURE, WIDE), "v": (WIDE, WIDER), "u": (WIDER, 5)}.items():
        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, raw_data=b"0")
        length = 4 * math.prod(shape)
        set_external_data(tensor, "weights.bin", offset=offset, length=length)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensors.append(tensor)
        offset += length
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(offset)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], name="source/flat"),
        helper.make_node("MatMul", ["flat", "w"], ["a"], name="source/a"),
        helper.make_node("MatMul", ["a", "v"], ["b"], name="source/b"),
        helper.make_node("MatMul", ["b", "u"], ["food"], name="food/fc"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])
    answer = helper.make_tensor_value_info("food", TensorProto.FLOAT, ["batch", 5])
    graph = helper.make_graph(nodes, "large", [image], [answer], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"snow_deploy.manifest": manifest().to_json()})
    path = tmp_path / "large.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_two_gigabytes_are_counted_without_being_read(large: Path) -> None:
    file = read_graph(large)

    cost = measure_cost(file.skeleton, file.tasks)
    assert cost.total.macs == PICTURE * WIDE + WIDE * WIDER + WIDER * 5
    assert cost.total.size_bytes == SIZE_BYTES > 2**31
    assert file.size_bytes == SIZE_BYTES + large.stat().st_size
    assert inspect_graph(large).size_bytes == file.size_bytes
    assert [finding.rule for finding in lint(file.skeleton)] == ["not-quantised"]
    assert file.skeleton.ByteSize() < 10_000


def test_what_needs_two_gigabytes_in_one_piece_is_refused(large: Path) -> None:
    refusals: list[Callable[[], object]] = [
        lambda: read_graph(large).model,
        lambda: read_float_graph(large),
        lambda: prepare_graph(large, "fp16"),
    ]
    for refused in refusals:
        with pytest.raises(GraphError, match=r"are 2\.24 GB; .* in one piece, which ends at 2\.13"):
            refused()


def test_a_graph_that_is_too_large_for_one_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    with path.open("wb") as file:
        file.truncate(2**31 + 5)

    with pytest.raises(GraphError, match=r"has 2\.15 GB, and an ONNX file ends .* a file beside"):
        read_graph(path)


@pytest.fixture
def beside(tmp_path: Path, make_model: MakeModel) -> Path:
    """Give a small graph with a large first weight in a file beside it, and all others too."""
    path = tmp_path / "graph.onnx"
    model = make_model(metadata=manifest().to_json())
    wide = np.ones((5, 3, 300, 300), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(wide, "unread"))
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def test_small_weights_are_read_with_the_graph_and_large_ones_when_asked_for(beside: Path) -> None:
    file = read_graph(beside)

    left = {tensor.name for tensor in file.skeleton.graph.initializer if tensor.external_data}
    assert left == {"unread"}
    whole = {tensor.name: tensor for tensor in file.model.graph.initializer}
    assert numpy_helper.to_array(whole["unread"]).sum() == 5 * 3 * 300 * 300
    assert numpy_helper.to_array(whole["index"]).tolist() == [1, 3]
    assert file.files == (beside, (beside.parent / "w.bin").resolve())


def test_the_hash_covers_the_weights_beside_the_graph(beside: Path) -> None:
    before = read_graph(beside)
    digest = before.sha256
    content = bytearray((beside.parent / "w.bin").read_bytes())
    content[-5] ^= 1  # of the large one, which is not read with the graph
    (beside.parent / "w.bin").write_bytes(content)
    after = read_graph(beside)

    assert before.content_sha256 == after.content_sha256
    assert digest != after.sha256


def test_a_compiler_gets_what_does_not_fit_by_its_file(
    beside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = prepare_graph(beside, None)
    assert together.beside is None
    assert len(together.content) > 4 * 5 * 3 * 300 * 300

    monkeypatch.setattr("snow_runtime.graph.onnx_file.LARGEST_BYTES", 100_000)
    apart = prepare_graph(beside, None)
    assert apart.beside == beside
    assert len(apart.content) < 20_000
    assert apart.sha256 == together.sha256


@pytest.mark.tensorrt
def test_tensorrt_finds_weights_beside_the_graph(beside: Path) -> None:
    from snow_runtime.engine.build import compile_graph

    file = read_graph(beside)
    content = onnx.load(beside, load_external_data=False).SerializeToString()

    apart = compile_graph(content, beside=beside)
    together = compile_graph(file.model.SerializeToString())

    assert len(apart.compute_layers) == len(together.compute_layers) > 0


def test_a_length_that_contradicts_the_shape(beside: Path) -> None:
    model = onnx.load(beside, load_external_data=False)
    entry = next(it for it in model.graph.initializer[0].external_data if it.key == "length")
    entry.value = "8"
    beside.write_bytes(model.SerializeToString())

    with pytest.raises(GraphError, match=r"gives the weights of 'w1' 8 bytes, expected 432 for"):
        read_graph(beside)


def test_weights_behind_links_that_go_round(beside: Path) -> None:
    model = onnx.load(beside, load_external_data=False)
    entry = next(it for it in model.graph.initializer[0].external_data if it.key == "location")
    entry.value = "one.bin"
    beside.write_bytes(model.SerializeToString())
    (beside.parent / "one.bin").symlink_to("other.bin")
    (beside.parent / "other.bin").symlink_to("one.bin")

    with pytest.raises(GraphError, match=r"keeps the weights of 'w1' in 'one.bin'|no complete"):
        read_graph(beside)
