"""A real Triton serves what `snow-deploy triton` writes; its wheel has the Python backend alone."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from PIL import Image

pytest.importorskip("tritonclient.grpc")

import tritonclient.grpc as client

from benchmarks._triton_server import NoTritonError, TritonServer, find_triton
from snow_runtime.errors import RemoteError
from snow_runtime.graph.manifest import InputEntry
from snow_runtime.model import load, remote
from snow_runtime.self_check import with_self_check
from snow_runtime.triton.options import TritonOptions
from snow_runtime.triton.repository import add_version
from tests.runtime.readout.graphs import feature_graph, make_readout, manifest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.runtime.conftest import MakeGraph

    Photos = list[NDArray[np.uint8]]

pytestmark = pytest.mark.slow


# What Triton's onnxruntime backend does, which the wheel has not. The rest, from the config's
# checks to batching and warm-up, is the real Triton's.
STAND_IN = """
import numpy as np
import onnxruntime
import triton_python_backend_utils as backend

class TritonPythonModel:
    def initialize(self, args):
        path = f"{args['model_repository']}/{args['model_version']}/model.onnx"
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.given = self.session.get_inputs()[0].name
        self.names = [each.name for each in self.session.get_outputs()]

    def execute(self, requests):
        responses = []
        for request in requests:
            batch = backend.get_input_tensor_by_name(request, self.given).as_numpy()
            found = self.session.run(self.names, {self.given: batch})
            tensors = [backend.Tensor(*each) for each in zip(self.names, found)]
            responses.append(backend.InferenceResponse(tensors))
        return responses
"""


def stand_in(model: Path) -> None:
    """Let Python's backend serve what was written for the onnxruntime backend."""
    config = model / "config.pbtxt"
    text = config.read_text()
    assert text.count('backend: "onnxruntime"') == 1
    config.write_text(text.replace('backend: "onnxruntime"', 'backend: "python"'))
    (model / "1/model.py").write_text(STAND_IN)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Hold what the tests share: making it needs fixtures of single tests."""
    try:
        find_triton()
    except NoTritonError as error:
        pytest.skip(str(error))
    return {"folder": tmp_path_factory.mktemp("triton")}


@pytest.fixture(scope="module", autouse=True)
def _close(kept: dict[str, Any]) -> Iterator[None]:
    yield
    if "server" in kept:
        kept["server"].close()


@pytest.fixture
def graphs(kept: dict[str, Any], make_graph: MakeGraph) -> dict[str, Path]:
    """Write graphs, and a repository of them: `door` in two versions, and others."""
    if "graphs" in kept:
        found: dict[str, Path] = kept["graphs"]
        return found
    folder: Path = kept["folder"]
    found = {}

    def put(name: str, key: str, path: Path, **options: Any) -> None:
        found[key] = path.rename(folder / f"{key}.onnx")
        options = {"form": "python", "device": "cpu", "name": name, **options}
        add_version(folder / "models", found[key], TritonOptions(**options))

    checked = make_graph("checked.onnx")
    onnx.save(with_self_check(onnx.load(checked.path), checked.manifest), checked.path)
    put("door", "door1", checked.path, queue_delay_ms=30, threads=1)
    put("door", "door2", make_graph("second.onnx", scale=2.0).path, device=None)
    fixed = make_graph("fixed.onnx", input_shape=(3, 3, 8, 8)).path
    put("Fixed_1.b-2", "fixed", fixed, warm_up=False)
    frames = replace(manifest_of(), input=InputEntry("image", "uint8", "NHWC", "bgr"))
    made = feature_graph(folder / "made.onnx", frames)
    kept["features"] = made
    put("frames", "frames", made.path)
    put("raw", "raw", make_graph("raw.onnx").path, form="onnxruntime", device=None)
    three = make_graph("three.onnx", input_shape=(3, 3, 8, 8)).path
    put("raw_fixed", "three", three, form="onnxruntime")
    for name in ("raw", "raw_fixed"):
        stand_in(folder / "models" / name)
    kept["graphs"] = found
    return found


@pytest.fixture
def server(kept: dict[str, Any], graphs: dict[str, Path]) -> TritonServer:
    if "server" not in kept:
        assert graphs
        kept["work"] = kept["folder"] / "work"
        kept["work"].mkdir()
        kept["server"] = TritonServer(kept["folder"] / "models", kept["work"])
    found: TritonServer = kept["server"]
    return found


@pytest.fixture
def photos() -> Photos:
    rng = np.random.default_rng(11)
    sizes = [(9, 12), (40, 31), (8, 8), (17, 90)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def assert_close(found: Any, expected: Any) -> None:
    """Compare probabilities: the library that computes may be of another version there."""
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def encoded(photo: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "PNG")
    return stream.getvalue()


def ask(server: TritonServer, *files: bytes, model: str = "door", version: str = "1") -> Any:
    triton = client.InferenceServerClient(f"127.0.0.1:{server.port}")
    given = client.InferInput("picture", [len(files), 1], "BYTES")
    given.set_data_from_numpy(np.array([[file] for file in files], object))
    try:
        return triton.infer(model, [given], model_version=version, client_timeout=60)
    finally:
        triton.close()


def test_pictures_are_answered_as_the_model_answers_them(
    server: TritonServer, graphs: dict[str, Path], photos: Photos
) -> None:
    for key, model, version in (
        ("door1", "door", "1"),
        ("door2", "door", "2"),
        ("fixed", "Fixed_1.b-2", "1"),
        ("frames", "frames", "1"),
    ):
        answer = ask(server, *map(encoded, photos), model=model, version=version)
        with load(graphs[key]) as here:
            for index, expected in enumerate(here.batch(photos)):
                for name, task in expected.items():
                    label = answer.as_numpy(f"{name}.label")[index, 0].decode()
                    shares = answer.as_numpy(f"{name}.probabilities")[index]
                    assert label == task.label
                    assert_close(shares, task.probabilities)


def test_a_bad_picture_costs_no_other_request_anything(
    server: TritonServer, graphs: dict[str, Path], photos: Photos
) -> None:
    good = [encoded(photo) for photo in photos]
    files = [*good, b"nonsense", b"", good[0][:90]]
    found: dict[int, Any] = {}

    def send(index: int) -> None:
        try:
            found[index] = ask(server, files[index]).as_numpy("food.probabilities")
        except client.InferenceServerException as error:
            found[index] = str(error)

    threads = [threading.Thread(target=send, args=(index,)) for index in range(len(files))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with load(graphs["door1"]) as here:
        for index, photo in enumerate(photos):
            expected = here(photo)["food"].probabilities
            assert_close(found[index], [expected])
    for index in (4, 5, 6):
        assert "INVALID_ARGUMENT" in found[index]
        assert "Cannot read the photo" in found[index]


def test_triton_names_the_labels_itself(server: TritonServer, photos: Photos) -> None:
    triton = client.InferenceServerClient(f"127.0.0.1:{server.port}")
    given = client.InferInput("picture", [1, 1], "BYTES")
    given.set_data_from_numpy(np.array([[encoded(photos[0])]], object))
    wanted = [client.InferRequestedOutput("food.probabilities", class_count=4)]
    (row,) = triton.infer("door", [given], outputs=wanted).as_numpy("food.probabilities")
    triton.close()
    labels = {each.decode().split(":")[2] for each in row}
    assert labels == {"pizza", "soup", "crème brûlée", "tea"}


def test_a_thin_box_asks_it_like_a_graph(
    server: TritonServer, kept: dict[str, Any], graphs: dict[str, Path], photos: Photos
) -> None:
    readout = make_readout(kept["features"])
    for key, place in (
        ("door1", "door/1"),
        ("door2", "door"),
        ("fixed", "Fixed_1.b-2"),
        ("frames", "frames"),
        ("raw", "raw"),
        ("three", "raw_fixed"),
    ):
        with remote(server.address(place)) as there, load(graphs[key]) as here:
            there.self_check()
            if key == "frames":
                there.add_readout(readout)
                here.add_readout(readout)
            for found, expected in zip(there.batch(photos), here.batch(photos), strict=True):
                assert list(found) == list(expected)
                for name, task in expected.items():
                    assert found[name].labels == task.labels
                    assert_close(found[name].probabilities, task.probabilities)
    for place, said in (("door/3", "does not have it"), ("window", "does not have it")):
        with pytest.raises(RemoteError, match=said):
            remote(server.address(place))


def test_a_triton_that_goes_away_and_comes_back(
    server: TritonServer, kept: dict[str, Any], photos: Photos
) -> None:
    with remote(server.address("door/1") + "?timeout=30") as model:
        before = model(photos[0])["food"].probabilities
        server.close()
        with pytest.raises(RemoteError, match=r"cannot be reached.*the next call tries again"):
            model(photos[0])
        models = kept["folder"] / "models"
        kept["server"] = TritonServer(models, kept["work"], server.port, only=("door",))
        assert (model(photos[0])["food"].probabilities == before).all()
