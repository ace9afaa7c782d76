from __future__ import annotations

import logging
import re
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from snow_runtime.backends import providers as provider_policy
from snow_runtime.backends.onnxruntime_session import OnnxSession
from snow_runtime.errors import GraphError, InputError, ManifestError, MissingDependencyError
from snow_runtime.graph.manifest import (
    Manifest,
    Preprocessing,
    Quantisation,
    SourceEntry,
    TaskEntry,
)
from snow_runtime.graph.onnx_file import with_manifest
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from tests.runtime.conftest import Graph, MakeGraph


def batch_of(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(size=(count, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_logits_are_those_of_the_plain_arithmetic(graph: Graph, count: int) -> None:
    logits = OnnxSession(graph.path).run(batch_of(count))
    assert list(logits) == ["food", "birds"]
    for output, values in logits.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(
            values, graph.logits(output, batch_of(count)), rtol=1e-4, atol=1e-5
        )


def test_the_cpu_provider_and_threads_can_be_asked_for(graph: Graph) -> None:
    session = OnnxSession(graph.path, ["CPUExecutionProvider"], threads=1)
    assert session.providers == ("CPUExecutionProvider",)
    assert session.batch_size is None


def test_a_provider_that_is_not_there_is_a_missing_dependency(graph: Graph) -> None:
    with pytest.raises(MissingDependencyError, match="Nonsense.*" + re.escape(pip_install("gpu"))):
        OnnxSession(graph.path, ["NonsenseExecutionProvider"])


def test_without_onnxruntime_the_message_holds_the_pip_command(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=re.escape(pip_install("cpu"))):
        OnnxSession(graph.path)


class Options(SimpleNamespace):
    """Stands in for onnxruntime's SessionOptions."""

    def add_session_config_entry(self, key: str, value: str) -> None:
        assert (key, value) == ("session.x64quantprecision", "1")


class StandIn:
    """Stands in for onnxruntime on a machine with a GPU build."""

    SessionOptions = Options

    def __init__(self, *, cuda_starts: bool, cuda_raises: bool = False) -> None:
        self.cuda_starts = cuda_starts
        self.cuda_raises = cuda_raises
        self.preloaded = 0

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def preload_dlls(self) -> None:
        self.preloaded += 1
        print("Failed to load libcublas")  # noqa: T201 - as the real one does

    def InferenceSession(  # noqa: N802 - ONNX Runtime's name
        self, path: str, options: object, *, providers: list[str], enable_fallback: int
    ) -> SimpleNamespace:
        del path, options
        assert enable_fallback == 0
        if self.cuda_raises and "CUDAExecutionProvider" in providers:
            message = "CUDA failure 100: no CUDA-capable device is detected"
            raise RuntimeError(message)
        working = [p for p in providers if self.cuda_starts or p.startswith("CPU")]
        return SimpleNamespace(get_providers=lambda: working)


def open_with(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, path: Path, providers: Any = None
) -> list[str]:
    monkeypatch.setitem(sys.modules, "onnxruntime", stand_in)
    working: list[str] = provider_policy.open_session(path, providers, None).get_providers()
    return working


def test_cuda_comes_first_where_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in = StandIn(cuda_starts=True)
    working = open_with(stand_in, monkeypatch, tmp_path)
    assert working == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert stand_in.preloaded == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("raises", [False, True])
def test_the_cpu_takes_over_with_a_warning_where_cuda_does_not_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    raises: bool,
) -> None:
    stand_in = StandIn(cuda_starts=False, cuda_raises=raises)
    with caplog.at_level(logging.WARNING):
        assert open_with(stand_in, monkeypatch, tmp_path) == ["CPUExecutionProvider"]
    assert "CUDA" in caplog.text


def test_cuda_asked_for_that_does_not_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingDependencyError, match="nvidia-smi"):
        open_with(StandIn(cuda_starts=False), monkeypatch, tmp_path, ["CUDAExecutionProvider"])


# ------------------------------------------------------------------------------- unusable graphs


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    for path, message in [
        (tmp_path, "it is a folder"),
        (tmp_path / "none.onnx", "there is no such file"),
        (tmp_path / "nul\0", "null"),
    ]:
        with pytest.raises(GraphError, match=message):
            OnnxSession(path)


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_files_that_are_no_graph(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=r"Cannot load .*photo\.png.*snow-deploy export"):
        OnnxSession(path)


def test_a_truncated_graph(graph: Graph) -> None:
    content = graph.path.read_bytes()
    for end in range(1, len(content), 101):
        graph.path.write_bytes(content[:end])
        with pytest.raises(GraphError):
            OnnxSession(graph.path)


def test_a_graph_without_a_manifest(make_graph: MakeGraph) -> None:
    with pytest.raises(GraphError, match=r"carries no manifest.*snow_deploy\.manifest") as caught:
        OnnxSession(make_graph(metadata=None).path)
    assert not isinstance(caught.value, ManifestError)


def test_a_graph_with_a_broken_manifest(make_graph: MakeGraph) -> None:
    with pytest.raises(ManifestError, match="expected JSON"):
        OnnxSession(make_graph(metadata="{").path)


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": {"food": 4}},
        {"outputs": {"food": 5, "birds": 2}},
        {"input_name": "frame"},
        {"input_shape": ("batch", 3, 16, 16)},
        {"input_type": "UINT8"},
    ],
)
def test_a_graph_that_contradicts_its_manifest(
    make_graph: MakeGraph, change: dict[str, Any]
) -> None:
    with pytest.raises(ManifestError, match="The graph and its manifest disagree"):
        OnnxSession(make_graph(**change).path)


def test_more_outputs_than_tasks_are_left_alone(make_graph: MakeGraph) -> None:
    graph = make_graph(outputs={"other": 3, "food": 4, "birds": 2})
    assert list(OnnxSession(graph.path).run(batch_of(1))) == ["food", "birds"]


# ------------------------------------------------------------------------------- unusable batches


def with_nan() -> NDArray[np.float32]:
    batch = batch_of(2)
    batch[1, 2, 3, 4] = np.nan
    return batch


@pytest.mark.parametrize(
    ("batch", "seen"),
    [
        (
            batch_of(1).astype(np.float64),
            r"float64 \[1, 3, 8, 8\], expected float32 \[B, 3, 8, 8\]",
        ),
        (batch_of(1)[0], r"float32 \[3, 8, 8\]"),
        (batch_of(1)[:, :, :4], r"float32 \[1, 3, 4, 8\]"),
        (batch_of(0), r"float32 \[0, 3, 8, 8\]"),
        (with_nan(), "NaN or infinity"),
        (with_nan() * np.float32(np.inf), "NaN or infinity"),
        ([[1.0]], "a list"),
    ],
)
def test_other_batches_are_refused_with_what_was_seen(graph: Graph, batch: Any, seen: str) -> None:
    with pytest.raises(InputError, match=seen):
        OnnxSession(graph.path).run(batch)


def test_a_graph_of_fixed_batch_size_takes_that_many(make_graph: MakeGraph) -> None:
    session = OnnxSession(make_graph(input_shape=(2, 3, 8, 8)).path)
    assert session.batch_size == 2
    assert session.run(batch_of(2))["food"].shape == (2, 4)
    with pytest.raises(InputError, match=r"expected float32 \[2, 3, 8, 8\]"):
        session.run(batch_of(1))


def test_a_failing_computation_is_a_graph_error(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = OnnxSession(graph.path)

    def fail(*_: object) -> None:
        message = "out of memory"
        raise RuntimeError(message)

    monkeypatch.setattr(session, "_session", SimpleNamespace(run=fail))
    with pytest.raises(GraphError, match="out of memory"):
        session.run(batch_of(1))


def test_outputs_of_another_shape_than_declared_are_a_graph_error(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = OnnxSession(graph.path)
    outputs = [np.zeros((2, 4), np.float32), np.zeros((2, 2), np.float32)]
    monkeypatch.setattr(session, "_session", SimpleNamespace(run=lambda *_: outputs))
    with pytest.raises(GraphError, match=r"'food' of shape \[2, 4\], expected \[1, 4\]"):
        session.run(batch_of(1))


def test_a_closed_session_says_so(graph: Graph) -> None:
    session = OnnxSession(graph.path)
    session.close()
    session.close()
    with pytest.raises(GraphError, match="closed"):
        session.run(batch_of(1))


def quantised_halves() -> onnx.ModelProto:
    """Make an INT8 convolution of a half-precision graph whose scales' product underflows a half.

    The bias would be lost with it, were it written in units of that product.
    """
    halves = {
        "x_scale": np.array(1e-2, np.float16),
        "w_scale": np.full(4, 1e-5, np.float16),
        "y_scale": np.array(1e-2, np.float16),
        "bias": np.array([0.9, 0.5, 0.3, 0.7], np.float16),
        "fc": np.eye(4, 2, dtype=np.float16),
        "offset": np.zeros(2, np.float16),
    }
    weight = np.random.default_rng(0).integers(-127, 127, (4, 3, 1, 1), dtype=np.int8)
    zeros = {"x_zero": np.zeros((), np.int8), "w_zero": np.zeros(4, np.int8)}
    constants: dict[str, NDArray[Any]] = {**halves, **zeros, "w": weight}
    nodes: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Cast", ["image"], "half", {"to": TensorProto.FLOAT16}),
        ("QuantizeLinear", ["half", "x_scale", "x_zero"], "q", {}),
        ("DequantizeLinear", ["q", "x_scale", "x_zero"], "dq", {}),
        ("DequantizeLinear", ["w", "w_scale", "w_zero"], "dw", {"axis": 0}),
        ("Conv", ["dq", "dw", "bias"], "conv", {}),
        ("Relu", ["conv"], "relu", {}),
        ("QuantizeLinear", ["relu", "y_scale", "x_zero"], "qy", {}),
        ("DequantizeLinear", ["qy", "y_scale", "x_zero"], "dqy", {}),
        ("GlobalAveragePool", ["dqy"], "mean", {}),
        ("Flatten", ["mean"], "flat", {}),
        ("Gemm", ["flat", "fc", "offset"], "logits", {}),
        ("Cast", ["logits"], "food", {"to": TensorProto.FLOAT}),
    ]
    graph = helper.make_graph(
        [helper.make_node(op, read, [made], **more) for op, read, made, more in nodes],
        "snow",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("food", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_an_int8_graph_in_halves_answers_as_it_does_unoptimised(tmp_path: Path) -> None:
    import onnxruntime

    made = Quantisation("0" * 64, "entropy", 8, "0" * 64, "fp16", 1)
    manifest = Manifest(
        SourceEntry("tiny", "0" * 64, 0),
        Preprocessing.for_size(8),
        (TaskEntry("food", "food", ("a", "b")),),
        precision="int8",
        quantisation=made,
    )
    model = with_manifest(quantised_halves(), manifest)
    (tmp_path / "int8.onnx").write_bytes(model.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (expected,) = plain.run(None, {"image": batch_of(3)})

    logits = OnnxSession(tmp_path / "int8.onnx", ["CPUExecutionProvider"]).run(batch_of(3))

    np.testing.assert_allclose(logits["food"], expected, atol=0.02)
