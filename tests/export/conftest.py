"""Small graphs made with onnx.helper, and a request for a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    import onnx

    from snow_deploy.models.source import Source
    from snow_export.export import ExportRequest


@pytest.fixture(scope="session")
def request_18(source: Source) -> ExportRequest:
    """Ask for three small tasks on a ResNet-18; a test must not change it."""
    from snow_deploy.models.delta import DeltaOptions
    from tests.export.requests import request_of

    return request_of(source, DeltaOptions())


class MakeModel(Protocol):
    def __call__(
        self, *, size: int | str = 8, batch: int | str = "batch", metadata: str | None = None
    ) -> onnx.ModelProto: ...


@pytest.fixture
def make_model() -> MakeModel:
    """Make a source of one convolution, and `food` that reads two of its channels.

    image [B, 3, 8, 8] -> source/conv [B, 4, 4, 4] -> add -> source/relu
    -> gather (2 of 4) -> cat with food/conv (dense, [B, 2, 4, 4]) -> food/deep (two groups)
    -> flatten -> food/fc [B, 5]
    """

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(np.ones(shape, np.float32), name)

    def make(
        *, size: int | str = 8, batch: int | str = "batch", metadata: str | None = None
    ) -> onnx.ModelProto:
        def node(op: str, name: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
            return helper.make_node(op, inputs, [name], name=name, **attributes)

        halved: dict[str, Any] = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
        nodes = [
            node("Conv", "source/conv", "image", "w1", "b1", **halved),
            node("Add", "add", "source/conv", "shift"),
            node("Relu", "source/relu", "add"),
            node("Gather", "gather", "source/relu", "index", axis=1),
            node("Conv", "food/conv", "image", "w2", **halved),
            node("Concat", "cat", "food/conv", "gather", axis=1),
            node("Conv", "food/deep", "cat", "w3", group=2),
            node("GlobalAveragePool", "pool", "food/deep"),
            node("Flatten", "flatten", "pool"),
            helper.make_node("Gemm", ["flatten", "w4"], ["food"], name="food/fc", transB=1),
        ]
        constants = [
            weight("w1", 4, 3, 3, 3),
            weight("b1", 4),
            weight("shift", 1, 4, 1, 1),
            numpy_helper.from_array(np.array([1, 3], np.int64), "index"),
            weight("w2", 2, 3, 3, 3),
            weight("w3", 6, 2, 1, 1),
            weight("w4", 5, 6),
        ]
        picture = [batch, 3, size, size]
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, picture)],
            [helper.make_tensor_value_info("food", TensorProto.FLOAT, [batch, 5])],
            constants,
        )
        opset = helper.make_opsetid("", 17)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        if metadata is not None:
            helper.set_model_props(model, {"snow_deploy.manifest": metadata})
        return model

    return make
