from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest

from snow_export.export import GraphOptions, build_graph, export_graph
from snow_runtime import load
from snow_runtime.graph.manifest import InputEntry

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from snow_export.export import ExportRequest


@pytest.mark.parametrize(("colour", "precision"), [("rgb", "fp32"), ("bgr", "fp16")])
def test_frames_are_normalised_inside_the_graph(
    request_18: ExportRequest, graph_18: onnx.ModelProto, colour: str, precision: str
) -> None:
    entry = InputEntry(dtype="uint8", layout="NHWC", colour=colour)
    options = GraphOptions(precision=precision, input=entry)  # type: ignore[arg-type]
    planes = graph_18.SerializeToString()
    frames = build_graph(replace(request_18, options=options)).SerializeToString()
    pictures = request_18.pictures
    mean, std = (
        np.array(v, np.float32)
        for v in (request_18.preprocessing.mean, request_18.preprocessing.std)
    )
    normalised = ((pictures / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)

    expected = onnxruntime.InferenceSession(planes).run(
        None, {"image": normalised.astype(np.float32)}
    )
    given = pictures if colour == "rgb" else np.ascontiguousarray(pictures[..., ::-1])
    seen = onnxruntime.InferenceSession(frames).run(None, {"image": given})

    for one, other in zip(expected, seen, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-4 if precision == "fp32" else 2e-2)


def test_the_runtime_feeds_frames_in_the_order_that_the_graph_wants(
    request_18: ExportRequest, tmp_path: Path
) -> None:
    float_path, frame_path = tmp_path / "float.onnx", tmp_path / "frame.onnx"
    entry = InputEntry(dtype="uint8", layout="NHWC", colour="bgr")
    export_graph(request_18, float_path)
    export_graph(replace(request_18, options=GraphOptions(input=entry)), frame_path)
    picture = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)

    with load(float_path) as planes, load(frame_path) as frames:
        expected = planes(picture)
        for result in (frames(picture), frames(picture[..., ::-1].copy(), colour="bgr")):
            for task, answer in expected.items():
                np.testing.assert_allclose(
                    result[task].probabilities, answer.probabilities, atol=1e-5
                )


def test_a_fixed_batch_is_in_every_input_and_output(request_18: ExportRequest) -> None:
    model = build_graph(replace(request_18, options=GraphOptions(batch=4)))

    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_value == 4
    images = np.zeros((4, 3, 64, 64), np.float32)
    for logits in onnxruntime.InferenceSession(model.SerializeToString()).run(
        None, {"image": images}
    ):
        assert len(logits) == 4


def test_no_shape_is_computed_at_run_time(graph_18: onnx.ModelProto) -> None:
    operators = {node.op_type for node in graph_18.graph.node}

    assert not operators & {"Shape", "Div", "Unsqueeze", "Squeeze", "Range", "ConstantOfShape"}
