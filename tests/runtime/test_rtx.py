from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from snow_runtime.errors import GraphError, MissingDependencyError
from snow_runtime.rtx import CompiledGraph, CompiledLayer, compile_graph, parse_layer

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeGraph

# Lines of TensorRT-RTX 1.7's own log, shortened.
CONVOLUTION = (
    "Name: food+birds/conv1_U9_myl0_4, LayerType: correlation, Inputs: [ { Name: x, Dimensions: "
    "[1,4,224,224], Datatype: Float, Format: (NHWC) Channel major format }], Constants: [ { Name: "
    "w, Datatype: Int8 }], Outputs: [ { Name: source/maxpool.1_5_myl0, Dimensions: "
    "[1,64,112,112], Datatype: Half, Format: (NHWC) Channel major format }], TacticName: "
    "__myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: food+birds/conv1][ONNX Layer: "
    "food+birds/relu#2][ONNX Layer: food+birds/conv1]__gemm_from_conv1x1"
)
SIGNAL = (
    "Name: entry^bb^signal^2_myl0_0, LayerType: signal, Inputs: [], Constants: [], Outputs: [], "
    "TacticName: , StreamId: 0, EventId: 60, Metadata: "
)


def test_a_layer_of_the_log() -> None:
    assert parse_layer(CONVOLUTION) == CompiledLayer(
        "food+birds/conv1_U9_myl0_4",
        "correlation",
        "Half",
        ("food+birds/conv1", "food+birds/relu#2"),
    )
    assert parse_layer(SIGNAL) == CompiledLayer("entry^bb^signal^2_myl0_0", "signal")


@pytest.mark.parametrize("line", ["", "Layers:", "Adding 1 engine(s) to plan file."])
def test_other_lines_are_no_layers(line: str) -> None:
    assert parse_layer(line) is None


def test_synchronisation_is_no_compute() -> None:
    layers = (CompiledLayer("a", "kgen", "Half"), CompiledLayer("b", "wait"))
    compiled = CompiledGraph("sm86", "1.7", 1, 0.5, 100, layers)

    assert [layer.name for layer in compiled.compute_layers] == ["a"]
    document = compiled.to_dict()
    assert (document["compute_layers"], document["synchronisation_layers"]) == (1, 1)
    assert document["by_kind"] == {"kgen": 1}


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)

    with pytest.raises(MissingDependencyError, match=r"pip install 'snow-deploy\[rtx\]'"):
        compile_graph(b"")


@pytest.mark.tensorrt
class TestCompiler:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("tensorrt_rtx_bindings")

    def test_graphs_one_after_another(self, make_graph: MakeGraph) -> None:
        content = make_graph().path.read_bytes()
        first, second = compile_graph(content), compile_graph(content, "sm89", batch=4)

        assert (first.target, second.target, second.batch) == ("sm86", "sm89", 4)
        for compiled in (first, second):
            assert 1 <= len(compiled.compute_layers) <= 5
            assert compiled.plan_bytes > 0
            nodes = {node for layer in compiled.compute_layers for node in layer.nodes}
            assert nodes
        assert {layer.dtype for layer in first.compute_layers} == {"Float"}

    def test_a_target_that_it_does_not_know(self, make_graph: MakeGraph) -> None:
        with pytest.raises(GraphError, match="does not compile for 'sm90', expected one of sm75"):
            compile_graph(make_graph().path.read_bytes(), "sm90")

    def test_content_that_is_no_graph(self) -> None:
        with pytest.raises(GraphError, match="cannot read the graph: "):
            compile_graph(b"no graph")

    def test_a_picture_of_any_size(self, make_graph: MakeGraph) -> None:
        graph = make_graph(input_shape=("batch", 3, "height", "width"))

        with pytest.raises(GraphError, match="expected fixed sizes but for the batch"):
            compile_graph(graph.path.read_bytes())
