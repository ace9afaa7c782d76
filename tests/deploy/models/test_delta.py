from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, fx, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.architectures import unfilled_network
from snow_deploy.models.delta import Delta
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_deploy.models.weights import SourceWeights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_deploy.models.pooling import PoolingNorm
    from tests.conftest import RandomNetwork, RandomWeights

SHOWN = ["resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0"]
PAPER_TASKS = (101, 47, 40, 196, 200)  # Food, DTD, Action, Cars, CUB


def eighth(channels: int, divisor: int = 8) -> int:
    return (channels + divisor - 1) // divisor


def blank_source(architecture: str) -> Source:
    """Give a source for its shapes alone: its weights are zeros, which are quickly made."""
    state = unfilled_network(architecture, 7).state_dict()
    zeros = {
        key: torch.zeros((), dtype=value.dtype).expand(value.shape)
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    return Source(SourceWeights(architecture, zeros))


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}


@pytest.fixture(scope="module", params=SHOWN)
def shown(request: pytest.FixtureRequest, random_weights: RandomWeights) -> Source:
    return Source(random_weights(request.param))


@pytest.fixture(scope="module")
def resnet50(random_weights: RandomWeights) -> Source:
    return Source(random_weights("resnet50", classes=1000))


@pytest.mark.parametrize(("k", "width"), [(8, 8), (16, 4)])
def test_it_mirrors_every_convolution(
    shown: Source, random_network: RandomNetwork, k: int, width: int
) -> None:
    """No concatenation in these four: widths follow from each convolution alone."""
    originals = convolutions(random_network(shown.architecture))

    mirrored = convolutions(Delta(shown, 5, DeltaOptions(k_divisor=k, width_divisor=width)).network)

    assert list(mirrored) == list(originals)
    for name, layer in mirrored.items():
        original = originals[name]
        local, subscribed = eighth(original.in_channels, width), eighth(original.in_channels, k)
        if original.in_channels == 3:
            expected = (3, eighth(original.out_channels, width), 1)
        elif original.groups == original.in_channels:
            expected = (local, local, local)  # depthwise: no subscription
        else:
            expected = (local + subscribed, eighth(original.out_channels, width), 1)
        assert (layer.in_channels, layer.out_channels, layer.groups) == expected, name
        for geometry in ("kernel_size", "stride", "padding", "dilation", "padding_mode"):
            assert getattr(layer, geometry) == getattr(original, geometry), name
        assert (layer.bias is None) == (original.bias is None)


def test_norms_and_classifier_have_the_mirrored_widths(
    shown: Source, random_network: RandomNetwork
) -> None:
    network = random_network(shown.architecture)
    delta = Delta(shown, 5, DeltaOptions())
    mirrored = dict(delta.network.named_modules())

    *_, (classifier, original) = (
        item for item in network.named_modules() if isinstance(item[1], nn.Linear)
    )
    linear = mirrored[classifier]
    assert isinstance(original, nn.Linear)
    assert isinstance(linear, nn.Linear)
    assert linear.in_features == original.in_features + eighth(original.in_features)
    assert linear.out_features == 5
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            norm = mirrored[name]
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.num_features == eighth(layer.num_features)
            assert (norm.eps, norm.momentum) == (layer.eps, layer.momentum)


def test_each_subscription_keeps_a_kth_of_its_channels(shown: Source) -> None:
    delta = Delta(
        shown, 5, DeltaOptions(k_divisor=16, width_divisor=4, sigma2=0.5, pooling_relu=True)
    )

    poolings = delta.poolings()

    assert list(poolings) == [item.name for item in shown.anatomy.subscriptions]
    for item in shown.anatomy.subscriptions:
        pooling = poolings[item.name]
        assert (pooling.channels, pooling.k) == (item.channels, eighth(item.channels, 16))
        assert pooling.sigma2 == 0.5
        assert pooling.relu is not None
        selection = delta.selections()[item.name]
        assert selection == tuple(range(pooling.k))  # all weights are one yet


def resnet50_parameters(classes: int) -> int:
    """Count torchvision's ResNet-50 by its published table."""
    total = 3 * 64 * 49 + 2 * 64
    for inputs, width, _ in resnet50_blocks():
        total += (
            inputs * width + width * width * 9 + width * 4 * width + 2 * (2 * width + 4 * width)
        )
        if inputs != 4 * width:
            total += inputs * 4 * width + 2 * 4 * width
    return total + 2048 * classes + classes


def delta_parameters(classes: int, *, norm: PoolingNorm) -> int:
    """Count a delta of 1/8 the width that subscribes to 1/8 of every tensor."""
    total = 3 * 8 * 49 + 2 * 8
    for inputs, width, _ in resnet50_blocks():
        # A convolution of n inputs reads n/8 local and n/8 subscribed channels.
        local, outputs = width // 8, width // 2
        total += (2 * inputs // 8) * local + 2 * local
        total += (2 * width // 8) * local * 9 + 2 * local
        total += (2 * width // 8) * outputs + 2 * outputs
        if inputs != 4 * width:  # the downsample convolution shares the block's subscription
            total += (2 * inputs // 8) * outputs + 2 * outputs
        subscribed = (inputs, width, width)
        total += sum(subscribed)  # one pooling weight a source channel
        if norm != "none":
            total += sum(2 * (channels // 8) for channels in subscribed)
    return total + (256 + 2048) * classes + classes


def resnet50_blocks() -> Iterator[tuple[int, int, int]]:
    """Yield every bottleneck's input channels, inner width and stage."""
    inputs = 64
    for stage, (blocks, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True)):
        for _ in range(blocks):
            yield inputs, width, stage
            inputs = 4 * width


def test_resnet50_with_the_five_tasks_of_the_paper(resnet50: Source) -> None:
    """Table 5: 30.8 million parameters for ImageNet and five more tasks."""
    deltas = [Delta(resnet50, classes, DeltaOptions()) for classes in PAPER_TASKS]

    counted = resnet50.count_parameters() + sum(delta.count_parameters() for delta in deltas)

    norm = DeltaOptions().pooling_norm
    by_hand = resnet50_parameters(1000) + sum(delta_parameters(n, norm=norm) for n in PAPER_TASKS)
    assert resnet50.count_parameters() == resnet50_parameters(1000) == 25_557_032
    assert counted == by_hand == 30_734_792


def test_a_task_counts_its_own_parameters_only(resnet50: Source) -> None:
    delta = Delta(resnet50, 40, DeltaOptions(pooling_norm="none"))

    assert delta.count_parameters() == delta_parameters(40, norm="none")
    assert delta.count_parameters() == sum(
        p.numel() for p in delta.state_dict(keep_vars=True).values() if isinstance(p, nn.Parameter)
    )


def test_it_answers_by_the_mirrored_arithmetic(source: Source) -> None:
    """ResNet-18's delta in evaluation, written out layer by layer."""
    delta = Delta(source, 5, DeltaOptions(pooling_norm="none")).eval()
    layers = dict(delta.network.named_modules())
    with torch.no_grad():
        for pooling in delta.poolings().values():
            pooling.weight.uniform_(0, 1)
    images = torch.randn(2, 3, 64, 64)
    features = source(images)

    def conv(name: str, local: Tensor, subscription: str) -> Tensor:
        pooling = delta.poolings()[subscription]
        chosen = torch.tensor(pooling.order())
        assert set(chosen.tolist()) == set(torch.topk(pooling.weight, pooling.k).indices.tolist())
        pooled = features[subscription][:, chosen] * pooling.weight[chosen].view(-1, 1, 1)
        result: Tensor = layers[name](torch.cat([local, pooled], 1))
        return result

    with torch.no_grad():
        x = layers["maxpool"](layers["bn1"](layers["conv1"](images)).relu())
        for stage in (1, 2, 3, 4):
            for block in (0, 1):
                name = f"layer{stage}.{block}"
                y = layers[f"{name}.bn1"](conv(f"{name}.conv1", x, f"{name}.conv1")).relu()
                y = layers[f"{name}.bn2"](conv(f"{name}.conv2", y, f"{name}.conv2"))
                if stage > 1 and block == 0:
                    x = conv(f"{name}.downsample.0", x, f"{name}.conv1")
                    x = layers[f"{name}.downsample.1"](x)
                x = (x + y).relu()
        expected = layers["fc"](torch.cat([x.mean((2, 3)), features["head"]], 1))
        logits = delta(images, features)

    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def without_dead_units(network: nn.Module) -> None:
    """Swap the activations for one with a slope everywhere: no dead unit may hide a path."""
    for layer in list(network.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.ReLU | nn.ReLU6 | nn.Hardswish | nn.Hardsigmoid):
                setattr(layer, name, nn.Softplus())


SMALL_ZOO = [
    *SHOWN,
    "densenet121",
    "squeezenet1_1",
    "shufflenet_v2_x1_0",
    "googlenet",
    "regnet_y_400mf",
]
LARGE_ZOO = [
    "convnext_tiny",
    "mnasnet1_0",
    "mobilenet_v3_large",
    "regnet_x_400mf",
    "resnet34",
    "resnext50_32x4d",
    "vgg11_bn",
    "inception_v3",
    "efficientnet_v2_s",
]


@pytest.mark.parametrize(
    "architecture",
    [*SMALL_ZOO, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE_ZOO)],
)
def test_torchvisions_cnns_can_be_mirrored_and_trained(architecture: str) -> None:
    source = blank_source(architecture)
    # Without noise the chosen channels are known: the first, as all weights are one.
    delta = Delta(source, 5, DeltaOptions(sigma2=0.0, pooling_norm="none"))
    without_dead_units(delta)
    size = 80 if architecture == "inception_v3" else 64
    torch.manual_seed(1)
    images = torch.randn(2, 3, size, size)
    features = {key: torch.randn_like(value) for key, value in source(images).items()}

    logits = delta(images, features)
    nn.functional.cross_entropy(logits, torch.tensor([0, 3])).backward()  # type: ignore[no-untyped-call]

    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    for name, parameter in delta.named_parameters():  # DDP needs every one
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    for name, pooling in delta.poolings().items():
        assert pooling.weight.grad is not None
        assert pooling.weight.grad[: pooling.k].all(), name
        assert not pooling.weight.grad[pooling.k :].any(), name


@pytest.mark.parametrize("architecture", ["resnext50_32x4d", "regnet_y_400mf"])
def test_grouped_convolutions_stay_local_and_keep_their_groups_width(
    architecture: str, random_network: RandomNetwork
) -> None:
    source = blank_source(architecture)
    originals = convolutions(random_network(architecture))

    mirrored = convolutions(Delta(source, 5, DeltaOptions()).network)

    subscribed = {name for item in source.anatomy.subscriptions for name in item.readers}
    grouped = [name for name, layer in originals.items() if layer.groups > 1]
    assert len(grouped) >= 16
    assert subscribed.isdisjoint(grouped)
    for name in grouped:
        layer, original = mirrored[name], originals[name]
        width = eighth(original.in_channels)
        assert layer.in_channels == layer.out_channels == width
        # As many groups as the widths allow, none thinner than the original's.
        thinnest = original.in_channels // original.groups
        allowed = [n for n in range(1, width + 1) if width % n == 0 and width // n >= thinnest]
        assert layer.groups == max(allowed, default=1), name


def test_the_memory_layout_is_channels_last_wherever_weights_come_from(source: Source) -> None:
    """Another layout rounds otherwise: a reloaded delta must predict the same bits."""
    trained = Delta(source, 5, DeltaOptions()).eval()
    reloaded = Delta(source, 5, DeltaOptions()).eval()
    state = {key: value.contiguous() for key, value in trained.state_dict().items()}
    reloaded.load_state_dict(state)
    images = torch.randn(3, 3, 64, 64)
    features = source(images)

    with torch.no_grad():
        assert torch.equal(trained(images, features), reloaded(images, features))
    for layer in convolutions(reloaded).values():
        assert layer.weight.is_contiguous(memory_format=torch.channels_last)


def test_its_classifier_can_begin_as_a_linear_classifier(shown: Source) -> None:
    delta = Delta(shown, 5, DeltaOptions()).eval()
    features = shown(torch.randn(3, 3, 64, 64))
    linear = nn.Linear(features["head"].shape[1], 5)

    delta.start_classifier(linear)

    with torch.no_grad():
        logits = delta(torch.randn(3, 3, 64, 64), features)
        torch.testing.assert_close(logits, linear(features["head"]), rtol=1e-4, atol=1e-5)
    linear.weight.data.zero_()  # the delta has weights of its own
    assert all(parameter.requires_grad for parameter in delta.parameters())
    with torch.no_grad():
        assert torch.equal(delta(torch.randn(3, 3, 64, 64), features), logits)


def test_the_classifiers_gradients_part_by_part(shown: Source) -> None:
    delta = Delta(shown, 5, DeltaOptions())
    assert delta.classifier_gradients() == []
    images = torch.randn(4, 3, 64, 64)
    logits = delta(images, shown(images))
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()  # type: ignore[no-untyped-call]
    classifier = delta.network.get_submodule(delta.classifier)
    assert isinstance(classifier, nn.Linear)
    assert classifier.weight.grad is not None
    assert classifier.bias.grad is not None

    (local, n), (of_source, f), (bias, also_f) = delta.classifier_gradients()

    assert f == also_f == shown.anatomy.head_channels
    assert n == classifier.in_features - f
    assert torch.equal(torch.cat([local, of_source], 1), classifier.weight.grad)
    for part in (local, of_source, bias):
        part.zero_()
    assert not classifier.weight.grad.any()
    assert not classifier.bias.grad.any()


def test_a_linear_classifier_that_does_not_fit(source: Source) -> None:
    delta = Delta(source, 5, DeltaOptions())

    for linear in (nn.Linear(512, 4), nn.Linear(600, 5)):
        with pytest.raises(SourceError, match="fc cannot begin as a linear classifier"):
            delta.start_classifier(linear)


@pytest.mark.parametrize("width", [8, 1])  # at full width the local features are as many
def test_a_classifier_that_reads_taps_begins_as_no_linear_one(source: Source, width: int) -> None:
    delta = Delta(source, 5, DeltaOptions(width_divisor=width, classifier_reads="taps"))
    before = delta.network.get_parameter("fc.weight").clone()

    with pytest.raises(SourceError, match="reads taps and not the source's last features"):
        delta.start_classifier(nn.Linear(512, 5))

    assert torch.equal(delta.network.get_parameter("fc.weight"), before)


def test_a_classifier_that_is_not_linear() -> None:
    source = blank_source("squeezenet1_1")
    delta = Delta(source, 5, DeltaOptions())
    images = torch.randn(2, 3, 64, 64)
    told = r"classifier\.1 is not a linear layer; train with --recipe paper"

    with pytest.raises(SourceError, match=told):
        delta.start_classifier(nn.Linear(512, 5))
    delta.local_loss = 1.0
    with pytest.raises(SourceError, match=told):
        delta.loss(images, source(images), torch.arange(2), nn.functional.cross_entropy)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_loss_of_what_the_local_features_answer(shown: Source, weight: float) -> None:
    delta = Delta(shown, 5, DeltaOptions()).eval()
    images, targets = torch.randn(3, 3, 64, 64), torch.tensor([0, 3, 4])
    features = shown(images)
    delta.local_loss = weight

    loss, logits = delta.loss(images, features, targets, nn.functional.cross_entropy)

    without = copy.deepcopy(delta)
    classifier = without.network.get_submodule(without.classifier)
    with torch.no_grad():
        classifier.get_parameter("weight")[:, -shown.anatomy.head_channels :] = 0
        answers, local = delta(images, features), without(images, features)
    assert torch.equal(logits, answers)
    expected = nn.functional.cross_entropy(answers, targets)
    expected += weight * nn.functional.cross_entropy(local, targets)
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    # Nothing stays behind that would be run or saved with the delta.
    assert not any(module._forward_pre_hooks for module in delta.modules())


def test_its_parts_are_trained_with_it(source: Source) -> None:
    delta = Delta(source, 5, DeltaOptions())

    assert all(layer.training for layer in delta.modules())
    assert all(parameter.requires_grad for parameter in delta.parameters())
    names = dict(delta.named_parameters())
    for subscription in source.anatomy.subscriptions:
        assert f"network.pooling.{subscription.name}.weight" in names


def test_no_activation_overwrites_what_it_reads(source: Source) -> None:
    delta = Delta(source, 5, DeltaOptions())

    assert not any(getattr(layer, "inplace", False) for layer in delta.modules())


def test_a_delta_leaves_the_sources_features_alone(shown: Source) -> None:
    delta = Delta(shown, 5, DeltaOptions()).eval()
    images = torch.randn(2, 3, 64, 64)
    features = shown(images)
    before = {key: value.clone() for key, value in features.items()}

    delta(images, features)

    assert all(torch.equal(features[key], before[key]) for key in before)


def test_it_prints_as_a_delta(source: Source) -> None:
    assert isinstance(Delta(source, 5, DeltaOptions()).network, fx.GraphModule)


def test_the_thinnest_delta_still_works(source: Source) -> None:
    delta = Delta(source, 2, DeltaOptions(k_divisor=4096, width_divisor=4096))

    assert {pooling.k for pooling in delta.poolings().values()} == {1}
    assert {layer.out_channels for layer in convolutions(delta).values()} == {1}
    images = torch.randn(2, 3, 64, 64)
    assert delta(images, source(images)).shape == (2, 2)


@pytest.mark.slow
def test_a_vision_transformer_is_refused() -> None:
    with pytest.raises(SourceError, match="this network has no dense convolution behind its stem"):
        blank_source("vit_b_16")


@pytest.mark.slow
def test_a_network_whose_shapes_forbid_other_widths_is_refused() -> None:
    source = blank_source("maxvit_t")  # attention reshapes by fixed numbers of heads

    with pytest.raises(SourceError, match=r" of the source does not work at 1/8 of the"):
        Delta(source, 5, DeltaOptions())
