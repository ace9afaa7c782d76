"""Writes in place, in every spelling: they never reach what deltas, columns and tasks read."""

from __future__ import annotations

import copy
import operator
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from snow_deploy.models import onednn
from snow_deploy.models.delta import Delta
from snow_deploy.models.fold_source import output_key
from snow_deploy.models.mirror import Mirror
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.schemes.progressive import ProgressiveColumn
from snow_deploy.models.source import Source
from snow_deploy.models.trunk import build_trunk
from snow_deploy.models.weights import SourceWeights

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import RandomWeights

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
ACTIVATION = nn.ReLU(inplace=True)


def added(x: Tensor) -> Tensor:
    x += 0.25
    return x


def scaled(x: Tensor) -> Tensor:
    x *= -0.5
    return x


def of_a_view(x: Tensor) -> Tensor:
    return functional.relu_(x.view(x.size(0), x.size(1), -1)).view_as(x)


def read_after(x: Tensor) -> Tensor:
    """Write, drop the result, and read what was overwritten."""
    x.relu_()
    return x


def read_as_a_view(x: Tensor) -> Tensor:
    """Write, and read the same memory by a view made before."""
    view = x.flatten(2)
    torch.sigmoid_(x)
    return view.view_as(x)


def of_a_part(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return torch.cat([second, first.relu_()], 1)


def into(x: Tensor) -> Tensor:
    return torch.mul(x, 2.0, out=x)


WRITES: list[Callable[[Tensor], Tensor]] = [
    ACTIVATION,
    nn.Hardswish(inplace=True),
    nn.SiLU(inplace=True),
    lambda x: functional.relu(x, inplace=True),
    lambda x: functional.relu(x, True),
    lambda x: functional.silu(x, inplace=True),
    lambda x: functional.hardtanh(x, -1, 1, True),
    functional.relu_,
    torch.relu_,
    lambda x: functional.leaky_relu_(x, 0.2),
    lambda x: functional.elu_(input=x),
    lambda x: x.relu_(),
    lambda x: x.add_(0.25),
    lambda x: x.clamp_(min=0.1),
    lambda x: x.mul_(-1).sub_(0.5),
    lambda x: x.fill_(0.5) * 2,
    lambda x: operator.iadd(x, 1.0),  # type: ignore[no-untyped-call]
    added,
    scaled,
    of_a_view,
    read_after,
    read_as_a_view,
    of_a_part,
    into,
]


class Written(nn.Module):
    """Two convolutions, a write between them and another one on the image, if asked for."""

    def __init__(self, write: Callable[[Tensor], Tensor], *, on_image: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)
        self.write = write
        self.on_image = on_image

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(self.write(images) if self.on_image else images)
        x = self.deep(x if self.on_image else self.write(x))
        # A residual sum into what the classifier reads.
        x += 1
        answer: Tensor = self.fc(functional.relu(x.mean((2, 3)), inplace=True))
        return answer


class Own(SourceWeights):
    """Weights of a network of ours, not of torchvision's."""

    def build(self) -> nn.Module:
        return copy.deepcopy(NETWORKS[self.architecture]).eval()

    def build_anew(self) -> nn.Module:
        return copy.deepcopy(NETWORKS[self.architecture]).train()


NETWORKS: dict[str, nn.Module] = {}


def source_of(network: nn.Module) -> Source:
    NETWORKS["own"] = network
    return Source(Own("own", network.state_dict()))


@pytest.fixture(params=range(len(WRITES)))
def write(request: pytest.FixtureRequest) -> Callable[[Tensor], Tensor]:
    torch.manual_seed(4)
    ACTIVATION.inplace = True
    fresh: Callable[[Tensor], Tensor] = copy.deepcopy(WRITES[request.param])
    return fresh


def test_what_a_column_reads_is_what_the_convolutions_put_out(
    write: Callable[[Tensor], Tensor],
) -> None:
    network = Written(write).eval()
    source = source_of(network)

    ProgressiveColumn(source, 3)
    features = source(IMAGES)

    with torch.no_grad():
        stem = network.stem(IMAGES)
        torch.testing.assert_close(features[output_key("stem")], stem)
        read = write(stem.clone())
        torch.testing.assert_close(features["deep"], read)
        torch.testing.assert_close(features[output_key("deep")], network.deep(read))
        torch.testing.assert_close(features["logits"], network(IMAGES.clone()))


def test_a_stream_gives_the_same(write: Callable[[Tensor], Tensor]) -> None:
    source = source_of(Written(write).eval())
    column = ProgressiveColumn(source, 3).eval()
    features = source(IMAGES)

    stream = source.stream(IMAGES, column.reads)

    for key in column.reads:
        assert torch.equal(stream[key], features[key]), key


def test_the_images_stay_as_they_are(write: Callable[[Tensor], Tensor]) -> None:
    network = Written(write, on_image=True).eval()
    source = source_of(network)
    images = IMAGES.clone()
    tasks = [
        Delta(source, 3, DeltaOptions(width_divisor=2, k_divisor=2)),
        ProgressiveColumn(source, 3),
    ]

    features = source(images)
    for task in tasks:
        task.eval()(images, features)
    build_trunk(source).eval()(images)

    assert torch.equal(images, IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(features["logits"], network(images.clone()))


def test_no_task_overwrites_the_features_of_another(write: Callable[[Tensor], Tensor]) -> None:
    """A copy that begins at a source tensor starts with the write itself."""

    class Begun(Written):
        def forward(self, images: Tensor) -> Tensor:
            x = self.stem(images)
            answer: Tensor = self.fc((self.deep(x) + self.write(x)).mean((2, 3)))
            return answer

    source = source_of(Begun(write).eval())
    copies: list[nn.Module] = [
        Mirror(source, 3, begin="deep").build().eval(),
        Delta(source, 3, DeltaOptions(width_divisor=2, k_divisor=2)).eval(),
    ]
    features = source(IMAGES)
    before = {key: value.clone() for key, value in features.items()}

    with torch.no_grad():
        for task in copies:
            task(IMAGES, features)

    for key, value in features.items():
        assert torch.equal(value, before[key]), key


@pytest.mark.skipif(not onednn.is_available(), reason="this torch has no oneDNN")
def test_a_packed_pass_reads_before_the_write(write: Callable[[Tensor], Tensor]) -> None:
    """It convolves later than torch does: where the sum is that it takes in."""

    class Overtaken(Written):
        def __init__(self, write: Callable[[Tensor], Tensor]) -> None:
            super().__init__(write)
            self.shortcut = nn.Conv2d(8, 8, 1, groups=8)

        def forward(self, images: Tensor) -> Tensor:
            x = self.stem(images)
            y = self.shortcut(x)
            y = torch.add(y, self.deep(self.write(x)))
            answer: Tensor = self.fc(torch.add(y, self.deep(y), alpha=2).mean((2, 3)))
            return answer

    network = Overtaken(write).eval()
    source = source_of(network)
    source.pack(2, 16)

    features = source(IMAGES.to(memory_format=torch.channels_last))

    with torch.no_grad():
        wanted = network(IMAGES.clone())
    torch.testing.assert_close(features["logits"], wanted, rtol=1e-4, atol=1e-5)


def test_a_write_that_harms_nobody_stays() -> None:
    """So a pass takes no more memory than torchvision's own."""
    source = source_of(Written(functional.relu_))  # of what only it reads, and nobody is given

    assert [node.target for node in source.network.graph.nodes].count(torch.relu_) == 1
    ProgressiveColumn(source, 3)
    assert torch.relu_ not in {node.target for node in source.network.graph.nodes}


FAMILIES = [
    "resnet18",
    "densenet121",
    "squeezenet1_1",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "alexnet",
            "convnext_tiny",
            "efficientnet_b0",
            "efficientnet_v2_s",
            "googlenet",
            "inception_v3",
            "mnasnet0_5",
            "mobilenet_v2",
            "regnet_y_400mf",
            "resnext50_32x4d",
        )
    ),
]


@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_tapped_tensor_of_torchvisions_networks_is_as_it_was_made(
    architecture: str, random_weights: RandomWeights
) -> None:
    """What hooks see in torchvision's own network: behind the norm that alone reads it."""
    weights = random_weights(architecture)
    source, network = Source(weights), weights.build()
    layers = dict(network.named_modules())
    convolutions = [name for name, layer in layers.items() if isinstance(layer, nn.Conv2d)]
    source.tap_outputs(convolutions)
    size = {"inception_v3": 80, "alexnet": 80}.get(architecture, 32)
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(6))
    expected: dict[str, Tensor] = {}
    made: dict[int, tuple[str, Tensor]] = {}  # by the tensor itself, kept so that none takes its id

    def note(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            if isinstance(layer, nn.Conv2d):
                expected[name] = output.clone()
                made[id(output)] = (name, output)
            elif id(inputs[0]) in made:
                expected[made[id(inputs[0])][0]] = output.clone()

        return hook

    for name, layer in layers.items():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.register_forward_hook(note(name))
    with torch.no_grad():
        network(images)
    features = source(images)

    assert len(expected) == len(convolutions)
    for name, value in expected.items():
        tapped = features[output_key(name)]
        error = (tapped - value).abs().max() / value.abs().max()
        assert error <= 1e-3, name
