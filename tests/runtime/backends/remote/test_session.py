from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

pytest.importorskip("tritonclient.grpc")

import grpc

import snow_runtime
from snow_runtime.backends.remote.address import RemoteOptions
from snow_runtime.backends.remote.connection import import_grpc
from snow_runtime.errors import GraphError, InputError, ManifestError, RemoteError
from snow_runtime.graph.manifest import InputEntry
from snow_runtime.model import load, remote
from snow_runtime.self_check import with_self_check
from snow_runtime.swap import SwappableModel
from snow_runtime.triton.options import TritonOptions
from snow_runtime.triton.repository import add_version
from tests.runtime.backends.remote.fake_server import FakeServer
from tests.runtime.readout.graphs import feature_graph, make_readout, manifest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_runtime.graph.manifest import Manifest
    from tests.runtime.conftest import Graph, MakeGraph

    Photos = list[NDArray[np.uint8]]


@pytest.fixture
def models(tmp_path: Path, graph: Graph) -> Path:
    models = tmp_path / "models"
    add_version(models, graph.path, TritonOptions())
    return models


@pytest.fixture
def server(models: Path) -> Iterator[FakeServer]:
    with FakeServer(models) as found:
        yield found


@pytest.fixture
def photos() -> Photos:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (8 + n, 20 - n, 3), dtype=np.uint8) for n in range(10)]


def assert_same(found: Any, expected: Any) -> None:
    assert list(found) == list(expected)
    for name, answer in expected.items():
        assert found[name].labels == answer.labels
        assert (found[name].probabilities == answer.probabilities).all()


def test_it_answers_as_the_graph_here(server: FakeServer, graph: Graph, photos: Photos) -> None:
    with remote(server.address()) as there, load(graph.path) as here:
        assert there.tasks == here.tasks
        for photo in photos[:3]:
            assert_same(there(photo), here(photo))
            assert_same(there(photo, "bgr"), here(photo, "bgr"))
        there.warmup()
        assert server.asked == [("1", (1, 3, 8, 8))] * 7
        assert there.batch([]) == []
        with pytest.raises(InputError, match="expected a uint8 array"):
            there(np.zeros((8, 8), np.uint8))


def test_more_than_the_server_takes_at_once_go_in_parts(
    server: FakeServer, graph: Graph, photos: Photos
) -> None:
    with remote(server.address()) as there, load(graph.path) as here:
        for found, expected in zip(there.batch(photos), here.batch(photos), strict=True):
            for name, answer in expected.items():
                np.testing.assert_allclose(found[name].probabilities, answer.probabilities, 1e-5)
    assert [shape[0] for _, shape in server.asked] == [8, 2]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_filled_up(
    server: FakeServer, make_graph: MakeGraph, photos: Photos, batch: int
) -> None:
    path = make_graph("fixed.onnx", input_shape=(batch, 3, 8, 8)).path
    add_version(server.repository, path, TritonOptions())
    with remote(server.address("fixed")) as there, load(path) as here:
        for found, expected in zip(there.batch(photos), here.batch(photos), strict=True):
            assert_same(found, expected)
    assert {shape[0] for _, shape in server.asked} == {batch}


def test_frames_of_bytes_are_sent_as_such(
    server: FakeServer, tmp_path: Path, photos: Photos
) -> None:
    frames = replace(manifest_of(), input=InputEntry("image", "uint8", "NHWC", "bgr"))
    path = feature_graph(tmp_path / "f.onnx", frames).path
    add_version(server.repository, path, TritonOptions())
    with remote(server.address("f")) as there, load(path) as here:
        assert_same(there(photos[0]), here(photos[0]))
        (_, shape) = server.asked[0]
        assert shape == (1, *there.manifest.input.picture_shape(shape[1]))


def test_features_and_readouts_work_as_here(
    server: FakeServer, tmp_path: Path, photos: Photos
) -> None:
    made = feature_graph(tmp_path / "door.onnx")
    add_version(server.repository, made.path, TritonOptions())
    with remote(server.address("door")) as there, load(made.path) as here:
        assert (there.features(photos[:2]) == here.features(photos[:2])).all()
        for model in (there, here):
            model.add_readout(make_readout(made))
        assert_same(there(photos[0]), here(photos[0]))


def test_the_self_check_asks_the_server(
    server: FakeServer, make_graph: MakeGraph, manifest: Manifest
) -> None:
    path = make_graph("checked.onnx").path
    onnx.save(with_self_check(onnx.load(path), manifest), path)
    add_version(server.repository, path, TritonOptions())
    with remote(server.address("checked")) as there:
        there.self_check()
        served = server.repository / "checked/1/model.onnx"
        other = make_graph("other.onnx", scale=3.0).path
        shutil.copy(other, served)  # its sessions are opened at the first call
        server._sessions.clear()
        with pytest.raises(GraphError, match="does not answer as its graph did"):
            there.self_check()


def test_the_version_is_chosen_when_it_is_opened(
    server: FakeServer, graph: Graph, photos: Photos
) -> None:
    with remote(server.address()) as first:
        add_version(server.repository, graph.path, TritonOptions())
        add_version(server.repository, graph.path, TritonOptions(version=10))
        with remote(server.address()) as newest, remote(server.address("graph/2")) as second:
            for model in (first, newest, second):
                model(photos[0])
    assert [version for version, _ in server.asked] == ["1", "10", "2"]


def test_load_and_swap_take_addresses_too(server: FakeServer, graph: Graph, photos: Photos) -> None:
    with SwappableModel(load(graph.path)) as model:
        before = model(photos[0])
        model.swap(server.address())
        assert_same(model(photos[0]), before)
        assert server.asked
    with pytest.raises(ValueError, match="a server's model has no such options"):
        load(server.address(), threads=2)
    assert snow_runtime.remote is remote


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nothing", "does not have it, or not in this version.*'nothing' is not found"),
        ("graph/7", "does not have it, or not in this version.*no such version"),
    ],
)
def test_a_model_or_version_that_is_not_there(server: FakeServer, model: str, said: str) -> None:
    with pytest.raises(RemoteError, match=said):
        remote(server.address(model))


def test_a_model_without_a_version_is_not_ready(server: FakeServer) -> None:
    shutil.rmtree(server.repository / "graph/1")
    with pytest.raises(RemoteError, match=r"no version of .* ready"):
        remote(server.address())


def test_a_model_without_a_manifest(server: FakeServer) -> None:
    config = server.repository / "graph/config.pbtxt"
    config.write_text(config.read_text().replace("snow_deploy.manifest.1", "other"))
    with pytest.raises(RemoteError, match=r"carries no manifest of version 1.*snow-deploy triton"):
        remote(server.address())


def test_a_config_that_is_not_of_its_manifest(server: FakeServer) -> None:
    config = server.repository / "graph/config.pbtxt"
    config.write_text(config.read_text().replace('name: "image"', 'name: "other"'))
    with pytest.raises(ManifestError, match=r"is not of its manifest.*disagree"):
        remote(server.address())


def test_a_server_that_is_not_there(models: Path) -> None:
    with FakeServer(models) as gone:
        address = gone.address()
    with pytest.raises(RemoteError, match=r"cannot be reached.*the next call tries again"):
        remote(address)


def test_a_server_that_goes_away_and_comes_back(models: Path, graph: Graph, photos: Photos) -> None:
    with FakeServer(models) as first:
        model = remote(first.address())
        model(photos[0])
    with model:
        for _ in range(3):
            with pytest.raises(
                RemoteError, match=r"127\.0\.0\.1:\d+ was asked for 'graph' and can"
            ):
                model(photos[0])
        with FakeServer(models, first.port) as second, load(graph.path) as here:
            assert_same(model(photos[0]), here(photos[0]))
            assert len(second.asked) == 1


def test_a_server_that_goes_away_in_the_middle_of_a_call(
    server: FakeServer, photos: Photos
) -> None:
    with remote(server.address()) as model:
        server.hold.clear()
        stop = threading.Timer(0.2, lambda: server._server.stop(0))
        stop.start()
        with pytest.raises(RemoteError, match=r"the next call tries again|server's log"):
            model(photos[0])
        stop.join()


def test_a_call_that_takes_too_long(server: FakeServer, photos: Photos) -> None:
    with remote(server.address() + "?timeout=0.2") as model:
        server.hold.clear()
        began = time.monotonic()
        with pytest.raises(RemoteError, match=r"not answered within 0\.2 s.*\?timeout=SECONDS"):
            model(photos[0])
        assert time.monotonic() - began < 60  # not for ever
        server.hold.set()
        model(photos[0])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, r"wants to know who asks: why\. Give \?token="),
        (grpc.StatusCode.PERMISSION_DENIED, "refuses this client: why"),
        (grpc.StatusCode.UNIMPLEMENTED, "does not speak the V2 inference protocol"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, r"failed \(RESOURCE_EXHAUSTED\): why\. Look into"),
        (grpc.StatusCode.INVALID_ARGUMENT, r"failed \(INVALID_ARGUMENT\)"),
        (grpc.StatusCode.INTERNAL, r"failed \(INTERNAL\)"),
    ],
)
def test_what_a_server_refuses(
    server: FakeServer, photos: Photos, code: grpc.StatusCode, said: str
) -> None:
    with remote(server.address()) as model:
        server.fails = code, "why\n" if code.name == "INTERNAL" else "why."
        with pytest.raises(RemoteError, match=said) as caught:
            model(photos[0])
        assert "\n" not in str(caught.value)
        server.fails = None
        model(photos[0])


def no_output(response: Any) -> None:
    del response.outputs[0], response.raw_output_contents[0]


def cut_short(response: Any) -> None:
    response.raw_output_contents[1] = response.raw_output_contents[1][:-4]


def other_shape(response: Any) -> None:
    response.outputs[0].shape[:] = [4, 1]


def no_content(response: Any) -> None:
    del response.raw_output_contents[:]


@pytest.mark.parametrize("spoil", [no_output, cut_short, other_shape, no_content])
def test_an_answer_that_is_not_as_the_manifest_says(
    server: FakeServer, photos: Photos, spoil: Any
) -> None:
    server.spoil = spoil
    with (
        remote(server.address()) as model,
        pytest.raises(RemoteError, match=r"answered .*expected"),
    ):
        model(photos[0])


def test_logits_that_are_no_numbers(server: FakeServer, photos: Photos) -> None:
    def spoil(response: Any) -> None:
        response.raw_output_contents[0] = np.full(4, np.nan, np.float32).tobytes()

    server.spoil = spoil
    with remote(server.address()) as model, pytest.raises(GraphError, match="NaN or infinite"):
        model(photos[0])


def test_a_closed_model_says_so(server: FakeServer, photos: Photos) -> None:
    model = remote(server.address())
    model.close()
    model.close()
    with pytest.raises(RemoteError, match="is closed, expected an open one"):
        model(photos[0])


def test_closing_ends_a_call_under_way(server: FakeServer, photos: Photos) -> None:
    model = remote(server.address())
    server.hold.clear()
    said: list[str] = []

    def call() -> None:
        with pytest.raises(RemoteError) as caught:
            model(photos[0])
        said.append(str(caught.value))

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(0.2)
    model.close()
    caller.join(10)
    assert "is closed" in said[0]


def test_several_threads_may_ask(server: FakeServer, graph: Graph, photos: Photos) -> None:
    with remote(server.address()) as there, load(graph.path) as here:
        found: dict[int, Any] = {}

        def ask(index: int) -> None:
            found[index] = there(photos[index])

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(photos))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index, photo in enumerate(photos):
            assert_same(found[index], here(photo))


def test_a_thin_box_needs_neither_onnx_runtime_nor_onnx(server: FakeServer) -> None:
    code = f"""
import sys
import numpy
import snow_runtime
with snow_runtime.remote({server.address()!r}) as model:
    print(model(numpy.zeros((9, 8, 3), numpy.uint8))["food"].label)
print(sorted({{"onnx", "onnxruntime", "torch", "scipy"}} & set(sys.modules)))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    label, loaded = done.stdout.splitlines()
    assert label in {"pizza", "soup", "crème brûlée", "tea"}
    assert loaded == "[]"


@pytest.mark.parametrize("own", [None, "INFO"])
def test_grpc_writes_nothing_unless_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    monkeypatch.setenv("GRPC_VERBOSITY", "")
    monkeypatch.delenv("GRPC_VERBOSITY")
    if own is not None:
        monkeypatch.setenv("GRPC_VERBOSITY", own)
    import_grpc()
    assert os.environ["GRPC_VERBOSITY"] == (own or "NONE")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an authority, and certificates of it for a server `triton` and a client."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    new = "req -newkey rsa:2048 -nodes -subj"
    (folder / "names").write_text("subjectAltName=DNS:triton")

    def openssl(command: str) -> None:
        arguments = ["openssl", *command.split()]
        subprocess.run(arguments, cwd=folder, check=True, capture_output=True)

    openssl(f"{new} /CN=ours -x509 -days 2 -keyout ca.key -out ca.pem")
    for name in ("triton", "box"):
        openssl(f"{new} /CN={name} -keyout {name}.key -out {name}.csr")
        sign = f"x509 -req -days 2 -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial"
        openssl(f"{sign} -extfile names -out {name}.pem")
    return folder


def test_tls_with_a_certificate_of_ones_own_and_a_token(
    models: Path,
    certificates: Path,
    photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key, chain, authority = (
        (certificates / name).read_bytes() for name in ("triton.key", "triton.pem", "ca.pem")
    )
    monkeypatch.setenv("SNOW_TEST_TOKEN", "a-secret")
    ours = grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=True)
    with FakeServer(models, credentials=ours) as server:
        address = server.address(scheme="grpcs") + "?tls-host=triton&token={env:SNOW_TEST_TOKEN}"
        options = RemoteOptions(
            ca=certificates / "ca.pem",
            certificate=certificates / "box.pem",
            key=certificates / "box.key",
        )
        with remote(address, options) as model:
            model(photos[0])
        assert server.metadata["authorization"] == "Bearer a-secret"
        for wrong in (
            replace(options, ca=None),
            replace(options, certificate=None, key=None),
        ):
            with pytest.raises(RemoteError, match="cannot be reached") as caught:
                remote(address, wrong)
            assert "a-secret" not in str(caught.value)
        with pytest.raises(RemoteError, match="cannot be reached"):
            remote(address.replace("=triton", "=other"), options)
        with pytest.raises(RemoteError, match="cannot be reached"):
            remote(server.address())
        for path, said in (("names", "holds no certificate or key"), ("gone", "cannot be read as")):
            with pytest.raises(InputError, match=said):
                remote(address, replace(options, ca=certificates / path))
    assert "a-secret" not in "".join(capfd.readouterr())
