from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from snow_deploy.fleet import graph_parts
from snow_deploy.fleet.graph_parts import (
    LEAST_BYTES,
    STRUCTURE,
    Stretch,
    external_tensors,
    graph_tensors,
    stretches_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def save(path: Path, sizes: dict[str, int], *, beside: bool = False) -> dict[str, bytes]:
    """Write a graph with float tensors of these lengths; return their bytes."""
    draw = np.random.default_rng(3)
    values = {name: draw.normal(size=size).astype("f4") for name, size in sizes.items()}
    tensors = [numpy_helper.from_array(each, name) for name, each in values.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [entry], [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if beside:
        onnx.save_model(
            model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0
        )
    else:
        onnx.save(model, path)
    return {name: each.tobytes() for name, each in values.items()}


def test_tensors_are_found_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    values = save(path, {"a": 20_000, "small": 10, "b": 30_000})
    content = path.read_bytes()
    found = {
        each.name: content[each.offset : each.offset + each.size_bytes]
        for each in graph_tensors(path)
    }
    assert found == values


def test_stretches_make_the_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_parts, "LARGEST_PIECE_BYTES", 100_000)
    path = tmp_path / "graph.onnx"
    save(path, {"a": 20_000, "small": 10, "b": 30_000})
    stretches = stretches_of(path)
    assert [each.name for each in stretches] == ["", "a#0", "", "b#0", "b#1", ""]
    ends = [each.offset + each.size_bytes for each in stretches]
    assert [0, *ends] == [*(each.offset for each in stretches), path.stat().st_size]


def test_weights_beside_the_graph_are_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    values = save(path, {"a": 20_000, "b": 30_000}, beside=True)
    ((file, tensors),) = external_tensors(path).items()
    content = file.read_bytes()
    found = {
        each.name.partition("#")[0]: content[each.offset : each.offset + each.size_bytes]
        for each in stretches_of(file, tensors)
        if each.name != STRUCTURE
    }
    assert found == values


@given(st.binary(max_size=300))
def test_a_file_that_is_no_graph_is_one_stretch(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("x") / "graph.onnx"
    path.write_bytes(content)
    assert stretches_of(path) == ([Stretch("", 0, len(content))] if content else [])


@given(st.integers(1, 2_000), st.integers(0, 255))
def test_a_damaged_graph_is_cut_into_what_it_is(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("x") / "graph.onnx"
    save(path, {"a": LEAST_BYTES // 4, "b": 10})
    content = bytearray(path.read_bytes())
    content[-(place % len(content))] = value
    path.write_bytes(content)
    whole = b"".join(
        content[each.offset : each.offset + each.size_bytes] for each in stretches_of(path)
    )
    assert hashlib.sha256(whole).digest() == hashlib.sha256(content).digest()
