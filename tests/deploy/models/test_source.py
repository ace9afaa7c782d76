from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from snow_deploy.models.multiply_adds import source_macs
from snow_deploy.models.source import Source
from snow_deploy.models.weights import SourceWeights, from_network

if TYPE_CHECKING:
    from tests.conftest import RandomNetwork, RandomWeights

SHOWN = ["resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0"]
# Of other make: norms behind concatenations, functional ReLUs in place, channel shuffles,
# a convolution as the classifier, LayerNorms.
OTHERS = ["densenet121", "googlenet", "shufflenet_v2_x1_0", "squeezenet1_1", "convnext_tiny"]
CLASSES = 7


@dataclass
class Case:
    """A source beside torchvision's own network."""

    source: Source
    network: nn.Module
    images: Tensor


@dataclass
class Seen:
    """What a convolution read, as a hook saw it."""

    name: str
    layer: nn.Conv2d
    tensor: Tensor  # the object itself: the same for two readers of one tensor
    value: Tensor  # its value then


@pytest.fixture(scope="module", params=[*SHOWN, *OTHERS])
def case(request: pytest.FixtureRequest, random_network: RandomNetwork) -> Case:
    network = random_network(request.param, CLASSES)
    weights = from_network(network, SourceWeights(request.param, {}))
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    return Case(Source(weights), network, images)


def run_with_hooks(network: nn.Module, images: Tensor) -> tuple[Tensor, list[Seen], Tensor]:
    """Return torchvision's logits, what every convolution read, and what the classifier read."""
    seen: list[Seen] = []
    heads: list[Tensor] = []
    handles = []

    def watch(name: str, layer: nn.Module) -> None:
        def hook(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            (tensor,) = inputs
            if isinstance(layer, nn.Conv2d):
                seen.append(Seen(name, layer, tensor, tensor.clone()))
            if isinstance(layer, nn.Conv2d | nn.Linear):
                heads.append(tensor.clone())

        handles.append(layer.register_forward_pre_hook(hook))

    for name, layer in network.named_modules():
        watch(name, layer)
    with torch.no_grad():
        logits = network(images)
    for handle in handles:
        handle.remove()
    return logits, seen, heads[-1]


def close(seen: Tensor, expected: Tensor) -> bool:
    """Tell whether the largest error is within 1e-4 of the largest value."""
    return bool((seen - expected).abs().max() <= 1e-4 * expected.abs().max())


def test_it_answers_as_torchvision_does(case: Case) -> None:
    logits, _, head = run_with_hooks(case.network, case.images)

    features = case.source(case.images)

    assert features["logits"].shape == (3, CLASSES)
    assert close(features["logits"], logits)
    assert close(features["head"], head)
    assert case.source.num_classes == CLASSES


def test_its_features_are_what_the_convolutions_read(case: Case) -> None:
    _, seen, _ = run_with_hooks(case.network, case.images)
    # The stem reads the image, or a slice of it; a classifier may be a convolution.
    classifier = seen[-1].name if isinstance(seen[-1].layer, nn.Conv2d) else ""
    classifier = classifier if seen[-1].layer.out_channels == CLASSES else ""
    dense = [
        item
        for item in seen
        if item.layer.groups == 1 and item.layer.in_channels != 3 and item.name != classifier
    ]
    groups: dict[int, list[Seen]] = {}
    for item in dense:
        groups.setdefault(id(item.tensor), []).append(item)
    features = case.source(case.images)

    assert set(features) == {readers[0].name for readers in groups.values()} | {"head", "logits"}
    subscriptions = {item.name: item for item in case.source.anatomy.subscriptions}
    for readers in groups.values():
        name = readers[0].name
        assert set(subscriptions[name].readers) == {reader.name for reader in readers}
        assert subscriptions[name].channels == readers[0].layer.in_channels
        assert features[name].shape == readers[0].value.shape
        assert close(features[name], readers[0].value), name


def test_a_downsample_convolution_shares_its_blocks_subscription(source: Source) -> None:
    shared = [item.readers for item in source.anatomy.subscriptions if len(item.readers) > 1]

    assert shared == [
        (f"layer{stage}.0.conv1", f"layer{stage}.0.downsample.0") for stage in (2, 3, 4)
    ]


def test_subscriptions_come_in_the_order_of_the_network(source: Source) -> None:
    assert [item.name for item in source.anatomy.subscriptions] == [
        f"layer{stage}.{block}.conv{conv}"
        for stage in (1, 2, 3, 4)
        for block in (0, 1)
        for conv in (1, 2)
    ]


def test_it_counts_the_original_networks_parameters(case: Case) -> None:
    assert case.source.count_parameters() == sum(p.numel() for p in case.network.parameters())


def test_nothing_that_train_is_called_on_changes_it(case: Case) -> None:
    source, images = case.source, case.images
    before = source(images)
    state = {key: value.clone() for key, value in source.state_dict().items()}
    parent = nn.Sequential(source)

    for whole in (source, parent):
        whole.train()
        assert not any(part.training for part in source.modules())
    for part in source.modules():
        if part is not source:
            part.train()
    after = source(images)

    assert all(torch.equal(after[key], before[key]) for key in before)
    assert all(torch.equal(value, state[key]) for key, value in source.state_dict().items())


def test_it_records_no_graph(case: Case) -> None:
    features = case.source(case.images.clone().requires_grad_())

    assert not any(value.requires_grad for value in features.values())
    assert not any(value.is_inference() for value in features.values())
    assert not any(parameter.requires_grad for parameter in case.source.parameters())


def test_its_features_can_be_saved_for_a_backward_pass(case: Case) -> None:
    features = case.source(case.images)
    weight = torch.ones((), requires_grad=True)

    torch.stack([(value * weight).sum() for value in features.values()]).sum().backward()  # type: ignore[no-untyped-call]

    assert weight.grad is not None


def test_no_batch_norm_and_no_dropout_is_left(case: Case) -> None:
    kinds = (nn.BatchNorm2d, nn.Dropout)

    assert not any(isinstance(layer, kinds) for layer in case.source.modules())


def test_one_picture_answers_as_in_a_batch(case: Case) -> None:
    batch = case.source(case.images)
    alone = case.source(case.images[:1])

    assert all(close(alone[key], batch[key][:1]) for key in batch)


def test_features_are_channels_last(source: Source) -> None:
    images = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    features = source(images)

    for item in source.anatomy.subscriptions:
        assert features[item.name].is_contiguous(memory_format=torch.channels_last)


def test_the_blueprint_is_no_part_of_the_function(source: Source) -> None:
    assert not any("blueprint" in key for key in source.state_dict())
    assert all(parameter.is_meta for parameter in source.blueprint.parameters())


def test_building_a_source_leaves_its_weights_alone(weights: SourceWeights) -> None:
    before = {key: value.clone() for key, value in weights.state.items()}

    source = Source(weights)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.zero_()

    assert all(torch.equal(value, before[key]) for key, value in weights.state.items())


def test_two_sources_of_the_same_weights_are_the_same(weights: SourceWeights) -> None:
    images = torch.randn(2, 3, 64, 64)
    one, other = Source(weights), Source(weights)

    assert one.fingerprint == other.fingerprint == weights.fingerprint()
    assert torch.equal(one(images)["logits"], other(images)["logits"])


def test_the_fingerprint_depends_on_all_that_the_function_does(weights: SourceWeights) -> None:
    moved = {**weights.state, "bn1.running_mean": weights.state["bn1.running_mean"] + 1e-6}
    others = [
        replace(weights, state=moved),
        replace(weights, mean=(0.5, 0.5, 0.5)),
        replace(weights, std=(0.5, 0.5, 0.5)),
        replace(weights, stride_in_1x1=True),
        replace(weights, architecture="resnet34"),
    ]

    assert len({weights.fingerprint(), *(other.fingerprint() for other in others)}) == 6
    assert replace(weights, origin="elsewhere", labels=None).fingerprint() == weights.fingerprint()


def test_a_long_network_can_be_copied_and_the_copy_is_its_own(
    random_weights: RandomWeights,
) -> None:
    """Python's own copy would go deeper into the graph than it may."""
    source = Source(random_weights("shufflenet_v2_x0_5"))
    images = torch.randn(2, 3, 64, 64)
    expected = source(images)
    copied = copy.deepcopy(source)
    assert source_macs(source, 64) == source_macs(copied, 64) > 10**6
    copied.pool_taps()
    again = copy.deepcopy(copied)
    again.pool_taps()

    assert len(copied(images)) == len(again(images)) > len(source(images)) == len(expected)
    torch.testing.assert_close(again(images)["logits"], expected["logits"])
    with torch.no_grad():
        next(again.network.parameters()).zero_()
    torch.testing.assert_close(source(images)["logits"], expected["logits"])
