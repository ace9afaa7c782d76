"""Many tasks in one layer: as each of them answers alone, and in room that grows with their number.

The reference is each task's own layer, or its own delta.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import fx, nn

from snow_deploy.models.source import Source
from snow_export.export import GraphOptions, build_graph
from snow_export.fuse.block_layers import SharedAndOwn, is_wasteful
from snow_export.fuse.stack import Joined, Shared, Stack
from snow_export.inspect.cost import measure_cost
from snow_runtime.graph.half_precision import to_fp16
from tests.export.requests import many_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from snow_export.export import ExportRequest
    from tests.conftest import RandomWeights

NODE = fx.Graph().placeholder("x")  # of values whose numbers of channels are all that counts
CLASSES = [[3, 3, 3], [100, 2, 3, 90, 2], [1, 7, 1]]


def layers_of(kind: str, classes: Sequence[int], reads: int, *, bias: bool) -> list[nn.Module]:
    torch.manual_seed(0)
    if kind == "linear":
        return [nn.Linear(reads, count, bias=bias) for count in classes]
    return [nn.Conv2d(reads, count, 3, 2, padding=1, bias=bias) for count in classes]


@pytest.mark.parametrize("classes", CLASSES, ids=str)
@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize("shared", [0, 5])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_each_task_is_answered_as_by_its_own_layer(
    classes: list[int], kind: str, shared: int, *, bias: bool
) -> None:
    """A task reads its own four channels, and then what all share."""
    count, own = len(classes), 4
    layers = layers_of(kind, classes, own + shared, bias=bias)
    stack = Stack(NODE, (own,) * count)
    value = Joined((stack, Shared(NODE, shared)) if shared else (stack,))
    side = () if kind == "linear" else (6, 6)
    stacked, common = torch.randn(2, count * own, *side), torch.randn(2, shared, *side)

    together = SharedAndOwn(layers, value).eval()(stacked, *([common] if shared else []))

    reads = torch.split(stacked, own, 1)
    alone = [layer(torch.cat([part, common], 1)) for layer, part in zip(layers, reads, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone, 1), rtol=1e-5, atol=1e-5)


def test_padding_never_doubles_what_a_task_needs() -> None:
    classes = [1000, 2, 3, 500, 40, 47, 101, 196, 200, 2]
    layers = layers_of("linear", classes, 16, bias=False)
    apart = SharedAndOwn(layers, Joined((Stack(NODE, (16,) * len(classes)),)))

    held = sum(parameter.numel() for parameter in apart.parameters())
    needed = sum(classes) * 16
    assert needed <= held <= 2 * needed


def test_few_tasks_of_unequal_classes_keep_one_kernel() -> None:
    value = Joined((Stack(NODE, (16,) * 6),))
    unequal = layers_of("linear", [1000, 101, 47, 40, 196, 200], 16, bias=True)
    equal = layers_of("linear", [64] * 6, 16, bias=True)

    assert not is_wasteful(unequal, value)
    assert is_wasteful(equal, value)  # a hidden layer: one grouped convolution is no more kernels
    wide = layers_of("linear", [64] * 6, 16 + 1000, bias=True)
    assert not is_wasteful(wide, Joined((*value.parts, Shared(NODE, 1000))))


@pytest.fixture(scope="module")
def unequal(source: Source) -> ExportRequest:
    """Ask for twelve tasks of unequal numbers of classes."""
    return many_tasks(source, 12, (3, 5, 20))


@pytest.fixture(scope="module")
def fused(unequal: ExportRequest) -> onnx.ModelProto:
    return build_graph(unequal)


@pytest.mark.parametrize("layout", ["fused", "summed"])
@pytest.mark.slow
def test_many_tasks_answer_as_they_do_alone(
    unequal: ExportRequest, fused: onnx.ModelProto, layout: str
) -> None:
    """In float within rounding, in half precision within its own."""
    request, model = unequal, fused
    if layout == "summed":
        model = build_graph(replace(request, options=GraphOptions("summed")))
    images = request.images(request.pictures)

    for form, tolerance in ((model, 1e-4), (to_fp16(model), 2e-2)):
        session = onnxruntime.InferenceSession(form.SerializeToString())
        found = session.run(None, {"image": images.numpy()})
        answers = dict(zip(request.outputs, found, strict=True))
        with torch.no_grad():
            for name, delta in request.networks.items():
                expected = delta(images, request.source(images)).numpy()
                scale = max(1.0, np.abs(expected).max())
                assert np.abs(answers[name] - expected).max() <= tolerance * scale


@pytest.mark.slow
def test_the_graph_grows_with_the_number_of_tasks_not_with_its_square(
    random_weights: RandomWeights,
) -> None:
    source = Source(random_weights("squeezenet1_1"))

    def parameters(count: int) -> int:
        cost = measure_cost(build_graph(many_tasks(source, count)), None)
        return sum(row.parameters for row in cost.owners if row.owner != "source")

    small, large = parameters(9), parameters(15)

    assert large <= 1.01 * 15 / 9 * small


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["squeezenet1_1", "alexnet"])
def test_other_networks_too(random_weights: RandomWeights, architecture: str) -> None:
    """Hidden linear layers, a classifier that is a convolution, thin layers."""
    source = Source(random_weights(architecture))
    request = many_tasks(source, 9)
    apart = build_graph(replace(request, options=GraphOptions("separate")))
    fused = build_graph(request)

    def numbers(model: object) -> int:
        tensors = model.graph.initializer  # type: ignore[attr-defined]
        return sum(numpy_helper.to_array(tensor).size for tensor in tensors)

    assert numbers(fused) <= 1.15 * numbers(apart)


def test_names_stay_short(fused: onnx.ModelProto) -> None:
    longest = max(len(node.name) for node in fused.graph.node)
    assert longest < 64
    cost = measure_cost(fused, [f"a-task-{number}" for number in range(12)])
    assert [row.owner for row in cost.owners] == ["source", "a-task-0+11"]
    assert cost.tasks["a-task-0+11"] == tuple(f"a-task-{number}" for number in range(12))
