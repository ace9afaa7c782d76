from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import onnxruntime
import pytest
import torch

from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_export.errors import ExportError, ParityError
from snow_export.export import GraphOptions, build_graph, export_graph, trained_answers
from snow_export.parity import compare_logits, onnx_answers
from snow_runtime.errors import HalfError
from snow_runtime.graph.manifest import METADATA_KEY, Layout, Manifest, TaskEntry
from tests.export.requests import LABELS, random_delta, request_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from snow_deploy.models.pooling import PoolingNorm
    from snow_export.export import ExportRequest
    from snow_export.parity import TaskParity
    from tests.conftest import RandomWeights

LAYOUTS: tuple[Layout, ...] = get_args(Layout)
SHOWN = [
    *(("resnet18", layout) for layout in LAYOUTS),
    pytest.param("resnet50", "fused", marks=pytest.mark.slow),
    pytest.param("mobilenet_v2", "summed", marks=pytest.mark.slow),
]


def onnx_run(path: Path, images: Tensor) -> dict[str, NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": images.numpy()}), strict=True))


@pytest.mark.parametrize(("architecture", "layout"), SHOWN)
def test_the_file_answers_as_torch_does(
    architecture: str, layout: Layout, random_weights: RandomWeights, tmp_path: Path
) -> None:
    shown = request_of(Source(random_weights(architecture)), DeltaOptions())
    path = tmp_path / "snow.onnx"

    export_graph(replace(shown, options=GraphOptions(layout)), path)

    images = torch.randn(7, 3, 64, 64)
    answers = onnx_run(path, images)
    assert list(answers) == list(LABELS)
    with torch.no_grad():
        features = shown.source(images)
        for name, delta in shown.networks.items():
            expected = delta(images, features).numpy()
            largest = max(1, np.abs(expected).max())
            np.testing.assert_allclose(answers[name], expected, atol=1e-4 * largest)


@pytest.mark.parametrize(
    ("norm", "relu", "layout"),
    [
        ("none", True, "fused"),
        ("after", False, "fused"),
        ("before", False, "fused"),
        pytest.param("none", True, "summed", marks=pytest.mark.slow),
        pytest.param("after", False, "separate", marks=pytest.mark.slow),
    ],
)
def test_poolings_of_every_kind(
    source: Source, tmp_path: Path, norm: PoolingNorm, relu: bool, layout: Layout
) -> None:
    options = DeltaOptions(k_divisor=16, width_divisor=4, pooling_norm=norm, pooling_relu=relu)
    request = replace(request_of(source, options), options=GraphOptions(layout))

    found = export_graph(request, tmp_path / "snow.onnx")

    assert max(parity.relative_error for parity in found) < 1e-4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_pictures_checks_the_parity(
    request_18: ExportRequest, tmp_path: Path, count: int
) -> None:
    """Two would be the batch that the network is traced with: a third is added."""
    request = replace(request_18, pictures=request_18.pictures[:count])

    found = export_graph(request, tmp_path / "snow.onnx")

    assert [parity.task for parity in found] == list(LABELS)


def test_the_manifest_is_written_once(
    request_18: ExportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    to_json = Manifest.to_json

    def counted(manifest: Manifest) -> str:
        written.append(to_json(manifest))
        return written[-1]

    monkeypatch.setattr(Manifest, "to_json", counted)
    path = tmp_path / "snow.onnx"
    export_graph(request_18, path)

    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert written == [metadata[METADATA_KEY]]
    assert Manifest.from_json(written[0]).self_check is not None


def test_exporting_leaves_the_deltas_as_they_are(request_18: ExportRequest, tmp_path: Path) -> None:
    before = {
        (name, key): value.clone()
        for name, delta in request_18.networks.items()
        for key, value in delta.state_dict().items()
    }

    export_graph(request_18, tmp_path / "snow.onnx")

    after = {
        (name, key): value
        for name, delta in request_18.networks.items()
        for key, value in delta.state_dict().items()
    }
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_deltas_of_another_shape_go_beside_the_others(
    request_18: ExportRequest, source: Source, tmp_path: Path
) -> None:
    other = random_delta(source, 2, 5, DeltaOptions(k_divisor=16, width_divisor=4))
    tasks = (*request_18.tasks, TaskEntry("dogs", "dogs", ("pug", "husky")))
    request = replace(request_18, networks={**request_18.networks, "dogs": other}, tasks=tasks)
    path = tmp_path / "snow.onnx"

    export_graph(request, path)

    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = other(images, source(images)).numpy()
    np.testing.assert_allclose(onnx_run(path, images)["dogs"], expected, rtol=1e-3, atol=1e-3)


def test_outputs_come_in_the_order_of_the_manifest(
    request_18: ExportRequest, tmp_path: Path
) -> None:
    request = replace(request_18, tasks=request_18.tasks[::-1])
    export_graph(request, tmp_path / "snow.onnx")

    answers = onnx_run(tmp_path / "snow.onnx", torch.randn(3, 3, 64, 64))

    assert [(name, logits.shape[1]) for name, logits in answers.items()] == [
        ("food", 4),
        ("cars", 2),
        ("birds", 3),
    ]


def test_a_request_that_contradicts_itself(request_18: ExportRequest, tmp_path: Path) -> None:
    request = replace(request_18, tasks=request_18.tasks[:1])

    with pytest.raises(ExportError, match=r"the manifest lists .*birds.* but the deltas are"):
        export_graph(request, tmp_path / "snow.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_cannot_be_traced(request_18: ExportRequest, tmp_path: Path) -> None:
    class Branching(torch.nn.Module):
        def __init__(self, source: torch.nn.Module) -> None:
            super().__init__()
            self.source = source

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            features: dict[str, Tensor] = self.source(images if images.sum() > 0 else -images)
            return features

    request = replace(request_18, source=Branching(request_18.source))

    with pytest.raises(ExportError, match="cannot trace the network"):
        export_graph(request, tmp_path / "snow.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_delta_that_answers_with_no_number_leaves_no_file(
    request_18: ExportRequest, source: Source, tmp_path: Path, value: float
) -> None:
    poisoned = random_delta(source, 3, 0, DeltaOptions())
    with torch.no_grad():
        poisoned.get_parameter("network.fc.bias")[1] = value
    request = replace(request_18, networks={**request_18.networks, "birds": poisoned})

    with pytest.raises(ParityError, match="task 'birds' answers with infinity or NaN"):
        export_graph(request, tmp_path / "snow.onnx")
    assert list(tmp_path.iterdir()) == []


def test_tasks_may_be_called_as_functions_are(request_18: ExportRequest, tmp_path: Path) -> None:
    """`cat` and `add` are what torch.fx calls its nodes; half precision has names of its own."""
    names = dict(zip(LABELS, ("cat", "add", "flatten"), strict=True))
    request = replace(
        request_18,
        networks={names[name]: delta for name, delta in request_18.networks.items()},
        tasks=tuple(
            replace(task, name=names[task.name], output=names[task.name])
            for task in request_18.tasks
        ),
        options=GraphOptions(precision="fp16"),
    )
    path = tmp_path / "snow.onnx"

    found = export_graph(request, path)

    assert [parity.task for parity in found] == ["cat", "add", "flatten"]
    assert list(onnx_run(path, torch.randn(2, 3, 64, 64))) == ["cat", "add", "flatten"]


def test_every_picture_is_compared_whatever_the_batch_is(
    request_18: ExportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five pictures at a batch of two: three runs, the first picture once more."""
    request = replace(request_18, options=GraphOptions(batch=2))
    seen: list[int] = []

    def note(reference: Mapping[str, NDArray[np.float32]], answers: object) -> list[TaskParity]:
        seen.append(len(reference["food"]))
        return compare_logits(reference, answers)  # type: ignore[arg-type]

    monkeypatch.setattr("snow_export.export.compare_logits", note)
    export_graph(request, tmp_path / "snow.onnx")

    assert seen == [6]


def test_an_overflow_on_the_last_picture_stops_half_precision(request_18: ExportRequest) -> None:
    request = replace(request_18, options=GraphOptions(precision="fp16", batch=1))
    fed: list[int] = []

    def feed(self: ExportRequest, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = self.images(pictures).numpy()
        fed.append(len(images))
        images[-1] *= 1e7
        return images

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(request), "feed", feed)
        with pytest.raises(HalfError, match="half precision ends at 65504"):
            build_graph(request)

    assert fed == [len(request.pictures)]


def test_a_graph_that_is_too_large_for_a_file_is_told(
    request_18: ExportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snow_export.onnx_graph._LARGEST_BYTES", 10_000)

    with pytest.raises(ExportError, match=r"weights are .* GB, .* Export fewer tasks"):
        build_graph(request_18)


def test_a_graph_nearer_to_float64_than_torchs_float32_is_written(
    request_18: ExportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of an ill-conditioned network, torch's own rounding is beyond the tolerance."""

    def rounded(request: ExportRequest, pictures: NDArray[np.uint8]) -> object:
        answers = trained_answers(request, pictures)
        return {name: logits * np.float32(1.0005) for name, logits in answers.items()}

    monkeypatch.setattr("snow_export.export.trained_answers", rounded)
    found = export_graph(request_18, tmp_path / "snow.onnx")

    assert (tmp_path / "snow.onnx").is_file()
    for parity in found:
        assert parity.relative_error < 1e-5
        assert 1e-4 < parity.rounding < 1e-3


def test_a_graph_far_from_both_is_refused(
    request_18: ExportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: object) -> object:
        return {name: logits * 1.01 for name, logits in onnx_answers(*arguments).items()}  # type: ignore[arg-type]

    monkeypatch.setattr("snow_export.export.onnx_answers", wrong)
    with pytest.raises(ParityError, match=r"answers otherwise .*in float64"):
        export_graph(request_18, tmp_path / "snow.onnx")
    assert not list(tmp_path.iterdir())
