from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from snow_deploy.models.delta import Delta
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_export.export import GraphOptions, build_graph
from snow_export.fuse.fuser import Fuser
from snow_export.layout import arrange
from snow_export.network import SharedNetwork
from snow_export.trace.delta_graph import trace_delta
from snow_export.trace.fold import fold_norms
from snow_export.trace.freeze import freeze
from snow_runtime.graph.manifest import Layout, TaskEntry
from tests.export.requests import LABELS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from snow_export.export import ExportRequest
    from tests.conftest import RandomWeights

CLASSES = {"birds": 3, "cars": 5, "food": 4}
IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def mixed(source: Source, classes: int, seed: int, options: DeltaOptions | None = None) -> Delta:
    """Give a delta with selections, layer scales, and norms with statistics of its own."""
    torch.manual_seed(seed)
    delta = Delta(source, classes, options or DeltaOptions())
    with torch.no_grad():
        for name, parameter in delta.named_parameters():
            if parameter.ndim == 1 or "layer_scale" in name:
                parameter.add_(torch.rand_like(parameter) / 2)
        for pooling in delta.poolings().values():
            pooling.weight.uniform_(-1, 1)
        delta(IMAGES, source(IMAGES))
    return delta.eval()


def answers(source: Source, heads: list[nn.Module], tasks: tuple[str, ...]) -> list[Tensor]:
    with torch.no_grad():
        return list(SharedNetwork(source, heads, tasks).eval()(IMAGES))


@pytest.fixture(scope="module")
def deltas(source: Source) -> dict[str, nn.Module]:
    return {name: mixed(source, n, seed) for seed, (name, n) in enumerate(CLASSES.items())}


@pytest.mark.parametrize(
    ("architecture", "layout"),
    [
        ("resnet18", "fused"),
        ("resnet18", "summed"),
        ("mobilenet_v2", "summed"),
        pytest.param("efficientnet_b0", "fused", marks=pytest.mark.slow),
        pytest.param("squeezenet1_1", "fused", marks=pytest.mark.slow),
        ("squeezenet1_1", "summed"),
        pytest.param("regnet_y_400mf", "fused", marks=pytest.mark.slow),  # flatten by keyword
        pytest.param("densenet121", "fused", marks=pytest.mark.slow),  # norms of concatenations
        ("shufflenet_v2_x0_5", "fused"),  # splits and shuffles of channels
        pytest.param("shufflenet_v2_x0_5", "summed", marks=pytest.mark.slow),
        # LayerNorms, channels last, layer scales
        pytest.param("convnext_tiny", "fused", marks=pytest.mark.slow),
    ],
)
def test_one_fused_network_answers_as_the_deltas_do(
    architecture: str, layout: Layout, random_weights: RandomWeights
) -> None:
    source = Source(random_weights(architecture))
    deltas: dict[str, nn.Module] = {
        name: mixed(source, n, seed) for seed, (name, n) in enumerate(CLASSES.items())
    }

    arranged = arrange(deltas, layout, (IMAGES, source(IMAGES)))

    assert len(arranged.heads) == 1
    assert not arranged.unfused
    fused = answers(source, arranged.heads, tuple(CLASSES))
    with torch.no_grad():
        for seen, delta in zip(fused, deltas.values(), strict=True):
            expected = delta(IMAGES, source(IMAGES))
            torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", get_args(Layout))
def test_adding_removing_and_reordering_tasks_changes_no_other_answer(
    request_18: ExportRequest, layout: Layout
) -> None:
    """Bit for bit in the separate layout, within 1e-5 in the fused one."""

    def run(tasks: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        chosen = replace(
            request_18,
            networks={name: request_18.networks[name] for name in tasks},
            tasks=tuple(TaskEntry(name, name, LABELS[name]) for name in tasks),
            options=GraphOptions(layout),
        )
        session = onnxruntime.InferenceSession(build_graph(chosen).SerializeToString())
        answers = session.run(None, {"image": request_18.images(request_18.pictures).numpy()})
        return dict(zip(tasks, answers, strict=True))

    alone = run(("food",))["food"]
    seen = run(("cars", "food", "birds"))["food"]
    if layout == "separate":
        np.testing.assert_array_equal(seen, alone)
    else:
        np.testing.assert_allclose(seen, alone, rtol=0, atol=1e-5 * max(1, np.abs(alone).max()))


def test_deltas_of_unequal_shape_fall_into_groups(source: Source) -> None:
    wide, thin = DeltaOptions(), DeltaOptions(k_divisor=16)
    deltas: dict[str, nn.Module] = {
        "a": mixed(source, 3, 0, wide),
        "b": mixed(source, 3, 1, thin),
        "c": mixed(source, 4, 2, wide),
        "d": mixed(source, 2, 3, thin),
        "e": mixed(source, 2, 4, DeltaOptions(pooling_relu=False)),
    }

    arranged = arrange(deltas, "fused", (IMAGES, source(IMAGES)))

    assert [head.tasks for head in arranged.heads] == [("a", "c"), ("b", "d"), ("e",)]
    for seen, delta in zip(
        answers(source, arranged.heads, tuple(deltas)), deltas.values(), strict=True
    ):
        with torch.no_grad():
            expected = delta(IMAGES, source(IMAGES))
        torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5)


def test_what_has_no_fused_form_stays_side_by_side_and_says_why(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    deltas: dict[str, nn.Module] = {"a": mixed(source, 3, 0), "b": mixed(source, 2, 1)}
    for delta in deltas.values():
        delta.set_submodule("network.relu", nn.Softmax(1))

    arranged = arrange(deltas, "fused", (IMAGES, source(IMAGES)))

    assert [head.tasks for head in arranged.heads] == [("a",), ("b",)]
    assert list(arranged.unfused) == [("a", "b")]
    assert "relu (Softmax) has no fused form" in caplog.text
    for seen, delta in zip(
        answers(source, arranged.heads, ("a", "b")), deltas.values(), strict=True
    ):
        with torch.no_grad():
            torch.testing.assert_close(seen, delta(IMAGES, source(IMAGES)), rtol=1e-4, atol=1e-5)


def test_each_layer_of_the_fused_network_is_one_convolution_with_a_group_per_task(
    source: Source, deltas: dict[str, nn.Module]
) -> None:
    head = arrange(deltas, "fused", (IMAGES, source(IMAGES))).heads[0]

    fused = {
        name.removeprefix("network."): layer
        for name, layer in head.named_modules()
        if isinstance(layer, torch.nn.Conv2d)
    }
    single = {
        name.removeprefix("network."): layer
        for name, layer in deltas["food"].named_modules()
        if isinstance(layer, torch.nn.Conv2d)
    }
    assert fused.keys() == single.keys()
    for name, layer in fused.items():
        shared_input = name == "conv1"  # the image, read by every task
        assert layer.groups == (1 if shared_input else len(CLASSES))
        assert layer.out_channels == len(CLASSES) * single[name].out_channels
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in head.modules())


def test_thin_groups_become_dense_with_zero_blocks(source: Source) -> None:
    """Of ResNet-18 at 1/16 the first stage has 4 channels a task, the second one has 8."""
    options = DeltaOptions(k_divisor=16, width_divisor=16)
    deltas = [trace_delta(freeze(mixed(source, 3, seed, options))) for seed in range(3)]
    example = (IMAGES, source(IMAGES))

    fuser = Fuser([fold_norms(delta) for delta in deltas], example, dense_below=8)
    fused = fuser.build()

    layers = dict(fused.named_modules())
    groups = {name: layers[name].groups for name in ("layer1.0.conv1", "layer2.1.conv1")}
    assert groups == {"layer1.0.conv1": 1, "layer2.1.conv1": 3}
    weight = layers["layer1.0.conv1"].weight
    assert weight.shape[:2] == (3 * 4, 3 * (4 + 4))
    assert bool((weight[:4, 4:12] == 0).all())  # the first task, the others' local channels
    with torch.no_grad():
        answers = fused(*example)
        for seen, delta in zip(answers, deltas, strict=True):
            torch.testing.assert_close(seen, delta(*example), rtol=1e-4, atol=1e-5)


def test_a_summed_network_concatenates_no_images(request_18: ExportRequest) -> None:
    model = build_graph(replace(request_18, options=GraphOptions("summed")))

    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Concat") == 1  # what the classifiers read
    assert "Reshape" not in operators
