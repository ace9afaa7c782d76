from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from snow_export.export import GraphOptions, build_graph
from snow_export.half_range import check_range
from snow_runtime.errors import HalfError
from snow_runtime.graph.half_precision import to_fp16

if TYPE_CHECKING:
    from snow_export.export import ExportRequest
    from tests.conftest import MakeModel


def run(model: onnx.ModelProto, batch: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": batch}), strict=True))


@pytest.mark.parametrize("layout", ["fused", "separate"])
def test_every_weight_is_half_and_every_logit_float(request_18: ExportRequest, layout: str) -> None:
    options = GraphOptions(layout, "fp16")  # type: ignore[arg-type]

    model = build_graph(replace(request_18, options=options))

    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert kinds <= {TensorProto.FLOAT16, TensorProto.INT64}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    types = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions
    assert all(types[node.output[0]] == TensorProto.FLOAT16 for node in convolutions)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert len(casts) == (2 if layout == "fused" else 1 + len(request_18.networks))


def test_half_precision_stays_near_float(
    request_18: ExportRequest, graph_18: onnx.ModelProto
) -> None:
    model = graph_18
    batch = request_18.images(request_18.pictures).numpy()

    expected, seen = run(model, batch), run(to_fp16(model), batch)

    for task, logits in expected.items():
        scale = max(1.0, float(np.abs(logits).max()))
        assert np.abs(logits - seen[task]).max() <= 5e-3 * scale
        assert seen[task].dtype == np.float32


def test_the_first_layer_that_overflows_on_a_picture_is_named(make_model: MakeModel) -> None:
    model = make_model()
    bright = np.full((1, 3, 8, 8), 4e3, np.float32)

    check_range(model, bright / 1e3)
    with pytest.raises(HalfError, match=r"source/conv reaches"):
        check_range(model, bright)


def test_room_is_left_for_other_pictures(make_model: MakeModel) -> None:
    """The convolution of ones sums 27 pixels; 8 % below the limit is too near."""
    model = make_model()
    near, half = (np.full((1, 3, 8, 8), share * 65504 / 28, np.float32) for share in (0.92, 0.03))

    check_range(model, half)
    with pytest.raises(HalfError, match=r"on the pictures at hand, .* expected 32752 at most"):
        check_range(model, near)
