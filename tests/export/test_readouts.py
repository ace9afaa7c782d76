"""Readouts in exported graphs: alone, beside deltas, with the features given out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from snow_deploy.models.fold_source import tap_key
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.schemes.readout import Readout
from snow_deploy.models.source import Source
from snow_export.export import GraphOptions, build_graph, export_graph
from snow_export.inspect.cost import measure_cost
from snow_runtime.graph.features_entry import TapEntry
from snow_runtime.graph.manifest import InputEntry, Layout
from tests.export.requests import LABELS, random_delta, request_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from snow_deploy.models.weights import SourceWeights
    from snow_export.export import ExportRequest
    from tests.conftest import RandomWeights

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def random_readout(source: Source, classes: int, index: Sequence[int], seed: int = 0) -> Readout:
    """Give a readout of these features, its weights as large as a fit's."""
    torch.manual_seed(seed)
    readout = Readout(source, classes, len(index))
    readout.index.copy_(torch.tensor(index))
    with torch.no_grad():
        readout.classifier.weight.normal_(std=0.3)
        readout.classifier.bias.normal_()
    return readout.eval()


def scattered(source: Source, seed: int, count: int = 40) -> list[int]:
    """Draw some of a source's features, ascending."""
    whole = sum(tap.channels for tap in source.anatomy.taps)
    found: list[int] = np.sort(np.random.default_rng(seed).permutation(whole)[:count]).tolist()
    return found


def request(source: Source, size: int = 64, deltas: int = 0) -> ExportRequest:
    """Ask for three tasks, so many of them deltas and the rest readouts."""
    networks: dict[str, Any] = {}
    for number, (task, labels) in enumerate(LABELS.items()):
        networks[task] = (
            random_delta(source, len(labels), number, DeltaOptions())
            if number < deltas
            else random_readout(source, len(labels), scattered(source, number), number)
        )
    found = request_for(source, networks, LABELS, 3)
    pictures = np.random.default_rng(9).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    sized = replace(found.preprocessing, image_size=size, resize_size=size)
    return replace(found, preprocessing=sized, pictures=pictures)


def with_features(asked: ExportRequest) -> ExportRequest:
    source: Source = asked.source  # type: ignore[assignment]
    source.pool_taps()  # changes no answer
    taps = {tap_key(tap): TapEntry(tap.name, tap.channels) for tap in source.anatomy.taps}
    return replace(asked, features=taps)


def answers(path: Path, images: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": images}), strict=True))


def nodes(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def block_means(weights: SourceWeights, images: Tensor) -> NDArray[np.float32]:
    """Pool a torchvision ResNet's blocks by hooks, before anything of ours has touched it."""
    network = weights.build().eval()
    found: list[Tensor] = []

    def take(_layer: nn.Module, _read: Any, made: Tensor) -> None:
        found.append(made.double().sum((2, 3)) / (made.shape[2] * made.shape[3]))

    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in stage:  # type: ignore[union-attr]
            block.register_forward_hook(take)
    with torch.no_grad():
        network(images)
    return torch.cat(found, 1).float().numpy()


def check_by_hand(
    asked: ExportRequest, found: dict[str, NDArray[np.float32]], pooled: NDArray[np.float32]
) -> None:
    for task, network in asked.networks.items():
        if isinstance(network, Readout):
            read = pooled[:, network.index.numpy()].astype(np.float64)
            weight, bias = (it.detach().numpy() for it in network.classifier.parameters())
            expected = read @ weight.T.astype(np.float64) + bias
            np.testing.assert_allclose(found[task], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("gives_features", [False, True])
def test_readouts_answer_as_the_formula_says(
    weights: SourceWeights, tmp_path: Path, size: int, gives_features: bool
) -> None:
    asked = request(Source(weights), size)
    asked = with_features(asked) if gives_features else asked
    path = tmp_path / "snow.onnx"

    export_graph(asked, path)

    images = torch.randn(2, 3, size, size)
    pooled, found = block_means(weights, images), answers(path, images.numpy())
    check_by_hand(asked, found, pooled)
    assert ("source.features" in found) == gives_features
    if gives_features:
        np.testing.assert_allclose(found["source.features"], pooled, atol=1e-4 * pooled.max())


@pytest.mark.parametrize("gives_features", [False, True])
def test_onnx_runtime_pools_each_map_as_soon_as_it_is_there(
    weights: SourceWeights, tmp_path: Path, gives_features: bool
) -> None:
    """Not all of them at the end, when the cache has lost them."""
    asked = request(Source(weights))
    asked = with_features(asked) if gives_features else asked
    path = tmp_path / "snow.onnx"
    path.write_bytes(build_graph(asked).SerializeToString())
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "run")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    session.run(None, {"image": np.zeros((1, 3, 64, 64), np.float32)})

    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ran = [event["args"]["op_name"] for event in events if event["name"].endswith("_kernel_time")]
    pools = [place for place, name in enumerate(ran) if name in {"GlobalAveragePool", "ReduceMean"}]
    behind = [sum("Conv" in name for name in ran[place:]) for place in pools]
    assert len(pools) > 2
    assert behind == sorted(set(behind), reverse=True)  # convolutions between any two


@pytest.fixture(scope="module")
def mixed(weights: SourceWeights) -> ExportRequest:
    """Ask for two deltas and a readout; a test must not change them."""
    return request(Source(weights), deltas=2)


@pytest.mark.parametrize(
    ("form", "layout"),
    [
        *(("fp16", layout) for layout in LAYOUTS),
        ("frames", "fused"),
        ("features of a fixed batch", "summed"),
    ],
)
def test_readouts_stand_beside_deltas(
    mixed: ExportRequest, tmp_path: Path, layout: Layout, form: str
) -> None:
    asked = mixed
    options = GraphOptions(
        layout,
        "fp16" if form == "fp16" else "fp32",
        InputEntry(dtype="uint8", layout="NHWC") if form == "frames" else InputEntry(),
        2 if form.startswith("features") else None,
    )
    if form.startswith("features"):
        asked = with_features(asked)

    parities = export_graph(replace(asked, options=options), tmp_path / "snow.onnx")

    wanted = [*LABELS, *(["source.features"] if form.startswith("features") else [])]
    assert [parity.task for parity in parities] == wanted


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("mobilenet_v3_small", 64),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("squeezenet1_1", 64), ("mobilenet_v2", 64), ("densenet121", 32))
        ),
    ],
)
def test_every_family_has_readouts(
    architecture: str, size: int, random_weights: RandomWeights, tmp_path: Path
) -> None:
    source = Source(random_weights(architecture))
    asked = with_features(request(source, size, deltas=1))
    path = tmp_path / "snow.onnx"

    export_graph(asked, path)  # refuses what torch does not answer

    images = torch.randn(2, 3, size, size)
    found = answers(path, images.numpy())
    features = source(images)
    pooled = torch.cat([features[key].flatten(1) for key in asked.features], 1).numpy()
    check_by_hand(asked, found, pooled)


def test_taps_that_nothing_reads_are_left_out(weights: SourceWeights, tmp_path: Path) -> None:
    source = Source(weights)
    taps = source.anatomy.taps
    starts = np.cumsum([0, *(tap.channels for tap in taps)])
    read = {1: [int(starts[1]) + 3, int(starts[1]) + 9], 4: [int(starts[4]) + 7]}
    readout = random_readout(source, 2, [*read[1], *read[4]])
    asked = request_for(source, {"cars": readout}, {"cars": LABELS["cars"]}, 2)
    path = tmp_path / "snow.onnx"

    export_graph(asked, path)

    model = onnx.load(path)
    pools = [node for node in model.graph.node if node.op_type == "GlobalAveragePool"]
    assert len(pools) == 2
    layers = {node.name for node in model.graph.node}
    assert any(name.startswith("source/layer3.0") for name in layers)  # the fifth tap's block
    assert not any(name.startswith("source/layer3.1") for name in layers)  # behind all it reads
    images = torch.randn(2, 3, 64, 64)
    check_by_hand(asked, answers(path, images.numpy()), block_means(weights, images))


def test_all_readouts_share_their_poolings_one_gather_and_one_product(
    weights: SourceWeights, tmp_path: Path
) -> None:
    counts = []
    for gives_features in (False, True):
        asked = request(Source(weights))
        asked = with_features(asked) if gives_features else asked
        path = tmp_path / f"{gives_features}.onnx"
        export_graph(asked, path)
        counts.append(nodes(path))

    # Blocks of one height and width are pooled together; a ResNet-18 has four stages.
    for found in counts:
        assert (found["GlobalAveragePool"], found["Gather"], found["Gemm"]) == (4, 1, 1)


def test_the_sources_own_head_keeps_its_pooling(weights: SourceWeights) -> None:
    source = Source(weights)
    asked = request(source)
    entry = replace(asked.tasks[0], name="source", output="source", labels=("a",) * 1)
    entry = replace(entry, labels=tuple(str(n) for n in range(source.num_classes)))
    model = build_graph(replace(asked, tasks=(*asked.tasks, entry)))

    found = Counter(node.op_type for node in model.graph.node)
    assert (found["GlobalAveragePool"], found["Gemm"]) == (5, 2)


@pytest.mark.parametrize("gives_features", [False, True])
def test_what_readouts_cost_is_theirs(weights: SourceWeights, gives_features: bool) -> None:
    asked = request(Source(weights))
    model = build_graph(with_features(asked) if gives_features else asked)

    cost = measure_cost(model, [task.output for task in asked.tasks])

    rows = {row.owner: row for row in cost.owners}
    readouts = [it for it in asked.networks.values() if isinstance(it, Readout)]
    union = {index for readout in readouts for index in readout.index.tolist()}
    classes = sum(len(labels) for labels in LABELS.values())
    group = "birds+cars+food"
    assert set(rows) == {"source", group}
    assert rows[group].macs == len(union) * classes
    assert rows[group].parameters == (len(union) + 1) * classes
    assert cost.tasks[group] == tuple(LABELS)
