from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from PIL import Image

from snow_runtime.errors import GraphError
from snow_runtime.graph.onnx_file import with_manifest
from snow_runtime.model import load
from snow_runtime.self_check import with_self_check
from snow_runtime.triton.python_model import TritonPythonModel
from tests.runtime.triton.fake_backend import Request, module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_runtime.graph.manifest import Manifest
    from tests.runtime.conftest import Graph, MakeGraph


@pytest.fixture(autouse=True)
def _backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module())


def version_folder(tmp_path: Path, graph: Path) -> dict[str, str]:
    """Lay a graph out as a repository has it; give what Triton tells an instance."""
    folder = tmp_path / "door/1"
    folder.mkdir(parents=True)
    graph.rename(folder / "model.onnx")
    return {
        "model_config": "{}",
        "model_repository": str(folder.parent),
        "model_version": "1",
        "model_instance_kind": "CPU",
        "model_instance_device_id": "0",
    }


@pytest.fixture
def served(tmp_path: Path, graph: Graph) -> TritonPythonModel:
    model = TritonPythonModel()
    model.initialize(version_folder(tmp_path, graph.path))
    return model


def encoded(picture: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind)
    return stream.getvalue()


def pictures(*files: bytes) -> dict[str, Any]:
    return {"picture": np.array([[file] for file in files], object)}


@pytest.fixture
def photos() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(5)
    sizes = [(9, 12), (30, 8), (8, 8)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_a_picture_is_answered_as_the_model_answers_it(
    make_graph: MakeGraph, served: TritonPythonModel, photos: list[NDArray[np.uint8]]
) -> None:
    with load(make_graph("same.onnx").path) as model:
        for photo in photos:
            (response,) = served.execute([Request(pictures(encoded(photo)))])
            assert response.error is None
            for name, answer in model(photo).items():
                shares = response.outputs[f"{name}.probabilities"]
                assert shares.dtype == np.float32
                assert (shares == [answer.probabilities]).all()
                assert response.outputs[f"{name}.label"].tolist() == [[answer.label.encode()]]


def test_a_jpeg_is_what_load_image_makes_of_its_file(
    make_graph: MakeGraph,
    served: TritonPythonModel,
    photos: list[NDArray[np.uint8]],
    tmp_path: Path,
) -> None:
    from snow_runtime import load_image

    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(photos[0], "JPEG"))
    (response,) = served.execute([Request(pictures(path.read_bytes()))])
    with load(make_graph("same.onnx").path) as model:
        expected = model(load_image(path))["food"].probabilities
    assert (response.outputs["food.probabilities"] == [expected]).all()


def test_the_graphs_own_input_gives_its_outputs(
    make_graph: MakeGraph, served: TritonPythonModel, photos: list[NDArray[np.uint8]]
) -> None:
    with load(make_graph("same.onnx").path) as model:
        batch = model.prepare(photos).batch
        expected = model.session.run(batch)
    wanted = ["birds", "food"]
    (response,) = served.execute([Request({"image": batch}, wanted)])
    assert sorted(response.outputs) == wanted
    for name, logits in expected.items():
        assert (response.outputs[name] == logits).all()


def test_a_bad_picture_is_an_error_of_its_request_alone(
    served: TritonPythonModel, photos: list[NDArray[np.uint8]]
) -> None:
    good = [encoded(photo) for photo in photos]
    whole = encoded(np.zeros((40, 40, 3), np.uint8), "JPEG")
    image = np.zeros((1, 3, 8, 8), np.float32)
    requests = [
        Request(pictures(good[0])),
        Request(pictures(b"nonsense")),
        Request(pictures(whole[: len(whole) // 2], good[1])),
        Request(pictures(good[1], good[2])),
        Request({}),
        Request({**pictures(good[0]), "image": image}),
        Request({"image": image[:, :2]}),
        Request({"image": np.full_like(image, np.nan)}),
        Request({"image": image}),
    ]
    responses = served.execute(requests)
    said = [None if each.error is None else each.error.message for each in responses]
    assert [each is None for each in said] == [
        *(True, False, False, True),
        *(False, False, False, False, True),
    ]
    for place, text in (
        (1, "none of the formats known here"),
        (2, "expected a complete picture"),
        (4, "brings neither of 'picture' and 'image'"),
        (5, "brings both of 'picture' and 'image'"),
        (6, "expected float32 [B, 3, 8, 8]"),
        (7, "holds NaN or infinity"),
    ):
        assert text in str(said[place])
    counts = [len(each.outputs["food"]) for each in responses if each.error is None]
    assert counts == [1, 2, 1]
    (alone,) = served.execute([requests[3]])
    np.testing.assert_allclose(responses[3].outputs["food"], alone.outputs["food"], rtol=1e-5)


def test_only_bad_pictures_are_no_run_at_all(served: TritonPythonModel) -> None:
    (response,) = served.execute([Request(pictures(b""))])
    assert response.error is not None


def test_a_picture_too_large_for_the_memory_costs_its_request_alone(
    served: TritonPythonModel, photos: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = served._model.prepare

    def prepare_some(images: Any) -> Any:
        if images[0].size == (12, 9):
            raise MemoryError
        return prepare(images)

    monkeypatch.setattr(served._model, "prepare", prepare_some)
    first, second = served.execute([Request(pictures(encoded(photo))) for photo in photos[:2]])
    assert "more memory than there is" in first.error.message
    assert second.error is None


def test_only_what_is_asked_for_is_sent(
    served: TritonPythonModel, photos: list[NDArray[np.uint8]]
) -> None:
    request = Request(pictures(encoded(photos[0])), ["food.label"])
    (response,) = served.execute([request])
    assert list(response.outputs) == ["food.label"]


@pytest.mark.parametrize(("text", "expected"), [("2", 2), ("0", None), ("many", None)])
def test_it_takes_the_threads_of_the_config(
    tmp_path: Path,
    graph: Graph,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    expected: int | None,
) -> None:
    asked: list[Any] = []

    def remember(path: Path, *how: Any) -> Any:
        asked.extend(how)
        return load(path)

    monkeypatch.setattr("snow_runtime.triton.python_model.load", remember)
    parameters = {"intra_op_thread_count": {"string_value": text}}
    args = version_folder(tmp_path, graph.path)
    args["model_config"] = json.dumps({"parameters": parameters})
    TritonPythonModel().initialize(args)
    assert asked == [["CPUExecutionProvider"], expected]


def test_several_labels_may_be_right(
    tmp_path: Path,
    make_graph: MakeGraph,
    with_tasks: Callable[..., Manifest],
    photos: list[NDArray[np.uint8]],
) -> None:
    path = make_graph(manifest=with_tasks(answers="several")).path
    model = TritonPythonModel()
    model.initialize(version_folder(tmp_path, path))
    (response,) = model.execute([Request(pictures(encoded(photos[0])))])
    shares, logits = response.outputs["food.probabilities"], response.outputs["food"]
    np.testing.assert_allclose(shares, 1 / (1 + np.exp(-logits.astype(np.float64))), rtol=1e-5)


def test_logits_that_are_no_numbers_are_an_error(tmp_path: Path, make_graph: MakeGraph) -> None:
    model = TritonPythonModel()
    model.initialize(version_folder(tmp_path, make_graph(scale=1e38).path))
    image = np.full((1, 3, 8, 8), 1e3, np.float32)
    (response,) = model.execute([Request({"image": image})])
    assert "NaN or infinite" in response.error.message


def test_a_run_that_fails_is_an_error_of_every_request(
    served: TritonPythonModel, photos: list[NDArray[np.uint8]]
) -> None:
    served.finalize()
    requests = [Request(pictures(encoded(photos[0]))), Request(pictures(b"nonsense"))]
    first, second = served.execute(requests)
    assert "is closed" in first.error.message
    assert "none of the formats" in second.error.message


def test_a_graph_of_one_batch_size_takes_any_number(
    tmp_path: Path, make_graph: MakeGraph, photos: list[NDArray[np.uint8]]
) -> None:
    model = TritonPythonModel()
    model.initialize(version_folder(tmp_path, make_graph(input_shape=(2, 3, 8, 8)).path))
    (response,) = model.execute([Request(pictures(*map(encoded, photos)))])
    assert response.outputs["food"].shape == (3, 4)


def test_a_graph_that_answers_otherwise_than_its_manifest_is_not_served(
    tmp_path: Path, make_graph: MakeGraph, manifest: Manifest
) -> None:
    path = make_graph().path
    checked = with_self_check(onnx.load(path), manifest)
    carried = load_manifest(checked)
    assert carried.self_check is not None
    moved = {
        name: tuple(value + 1 for value in row) for name, row in carried.self_check.logits.items()
    }
    wrong = replace(carried, self_check=replace(carried.self_check, logits=moved))
    onnx.save(with_manifest(checked, wrong), path)
    with pytest.raises(GraphError, match="does not answer as its graph did"):
        TritonPythonModel().initialize(version_folder(tmp_path, path))


def load_manifest(model: onnx.ModelProto) -> Manifest:
    from snow_runtime.graph.manifest import Manifest

    return Manifest.from_json(model.metadata_props[0].value)


@pytest.mark.parametrize(
    ("seen", "number", "expected"),
    [(None, 0, "0"), (None, 1, "1"), ("4,7", 1, "7"), ("GPU-a, GPU-b", 1, "GPU-b"), ("4", 3, "4")],
)
def test_an_instance_sees_the_gpu_that_triton_gave_it(
    monkeypatch: pytest.MonkeyPatch, seen: str | None, number: int, expected: str
) -> None:
    import os

    from snow_runtime.triton.python_model import _choose_gpu

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if seen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    _choose_gpu(number)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == expected
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # put back what there was, also after None


def test_it_needs_neither_torch_nor_onnx_nor_tritonclient() -> None:
    code = (
        "import sys; from snow_runtime import TritonPythonModel; "
        "print(sorted({'torch', 'onnx', 'tritonclient', 'grpc', 'google'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
