from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from snow_runtime.backends.onnxruntime_session import OnnxSession
from snow_runtime.errors import GraphError, ManifestError
from snow_runtime.graph.manifest import InputEntry, Manifest, SelfCheck
from snow_runtime.model import Model, load
from snow_runtime.pictures.preprocessing import normalise
from snow_runtime.self_check import check_picture, with_self_check

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.runtime.conftest import Graph


@pytest.fixture
def checked(graph: Graph, manifest: Manifest) -> Path:
    onnx.save(with_self_check(onnx.load(graph.path), manifest), graph.path)
    return graph.path


@pytest.mark.parametrize("size", [1, 8, 128, 224, 1000])
def test_the_picture_has_something_to_see(size: int) -> None:
    picture = check_picture(size)

    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    if size >= 8:
        assert np.ptp(picture, axis=(0, 1)).min() > 150
        assert not np.array_equal(picture, picture[..., ::-1])
        assert not np.array_equal(picture, picture[:, ::-1])
        assert not np.array_equal(picture, picture[::-1])


def test_the_picture_never_changes() -> None:
    picture = check_picture(64).astype(np.int64)

    assert picture.sum(axis=(0, 1)).tolist() == [555346, 553902, 495632]
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[20, 20].tolist() == [250, 240, 20]


def test_the_graph_carries_what_it_answers(checked: Path, graph: Graph) -> None:
    with load(checked) as model:
        found = model.manifest.self_check
        assert found is not None
        batch = normalise(check_picture(8), model.manifest.preprocessing)[np.newaxis]
        for output, logits in found.logits.items():
            expected = graph.logits(output, batch)[0]
            np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
        model.self_check()


def test_a_graph_without_answers_has_nothing_to_compare(graph: Graph) -> None:
    with load(graph.path) as model:
        assert model.manifest.self_check is None
        model.self_check()


@pytest.mark.parametrize(
    "fault",
    [
        lambda logits: {**logits, "food": -logits["food"]},
        lambda logits: {**logits, "birds": logits["birds"] + 0.5},
        lambda logits: {**logits, "food": np.roll(logits["food"], 1)},
        lambda logits: {**logits, "birds": logits["birds"] * np.nan},
    ],
)
def test_faults_beyond_rounding_are_found(checked: Path, fault: Any) -> None:
    session = OnnxSession(checked)

    class Faulty:
        batch_size = None

        def run(self, batch: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
            return dict(fault(session.run(batch)))

        def close(self) -> None:
            session.close()

    with (
        Model(Faulty(), session.manifest) as model,
        pytest.raises(GraphError, match="does not answer as its graph did: on the check picture"),
    ):
        model.self_check()


def test_half_precision_may_round_more(checked: Path) -> None:
    session = OnnxSession(checked)

    class Rounded:
        batch_size = 2

        def run(self, batch: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
            assert len(batch) == 2
            return {name: logits * 1.02 for name, logits in session.run(batch).items()}

        def close(self) -> None:
            session.close()

    Model(Rounded(), replace(session.manifest, precision="fp16")).self_check()
    with pytest.raises(GraphError, match=r"at most 0\.01 in fp32"):
        Model(Rounded(), session.manifest).self_check()


def test_frames_that_the_graph_normalises_itself(graph: Graph, manifest: Manifest) -> None:
    model = onnx.load(graph.path)
    (image,) = model.graph.input
    image.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    for axis, size in zip(image.type.tensor_type.shape.dim[1:], (8, 8, 3), strict=True):
        axis.dim_value = size
    turned = onnx.helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])
    model.graph.node[0].input[0] = "planes"
    model.graph.node.insert(0, turned)
    entry = InputEntry(dtype="uint8", layout="NHWC", colour="bgr")
    onnx.save(with_self_check(model, replace(manifest, input=entry)), graph.path)

    with load(graph.path) as loaded:
        assert loaded.manifest.self_check is not None
        loaded.self_check()


def test_a_graph_that_answers_nonsense_gets_none(graph: Graph, manifest: Manifest) -> None:
    model = onnx.load(graph.path)
    weight = next(it for it in model.graph.initializer if it.name == "food.w")
    nan = np.full((3, 4), np.nan, np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(nan, "food.w"))

    (entry,) = with_self_check(model, manifest).metadata_props
    assert Manifest.from_json(entry.value).self_check is None


def test_answers_of_other_outputs_are_refused(manifest: Manifest) -> None:
    with pytest.raises(ManifestError, match=r"self_check\.logits by output"):
        replace(manifest, self_check=SelfCheck({"food": (1.0, 2.0)}))
