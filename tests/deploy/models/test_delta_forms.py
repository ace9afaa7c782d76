"""Deltas of fewer blocks, from a later stage on, and with classifiers that read taps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from snow_deploy.errors import SourceError
from snow_deploy.models.architectures import unfilled_network
from snow_deploy.models.blocks import left_out, stage_begin
from snow_deploy.models.delta import Delta
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.schemes.readout import Readout
from snow_deploy.models.source import Source
from snow_deploy.models.tap_readout import TapStart
from snow_deploy.models.weights import SourceWeights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import RandomWeights

SIZE = 64
FAMILIES = {
    "resnet18": (8, 4),
    "mobilenet_v2": (23, 5),
    "shufflenet_v2_x0_5": (16, 3),
    "regnet_x_400mf": (22, 4),
    "convnext_tiny": (15, 3),
    "googlenet": (11, 4),
}
"""Blocks and stages of networks."""
QUICK = ("resnet18", "mobilenet_v2", "shufflenet_v2_x0_5")


@pytest.fixture(scope="module")
def resnet(random_weights: RandomWeights) -> Source:
    return Source(random_weights("resnet18"))


def blank(architecture: str) -> Source:
    """Give a source for its shapes: its weights are zeros, which are quickly made."""
    state = unfilled_network(architecture, 7).state_dict()
    zeros = {
        key: torch.zeros((), dtype=value.dtype).expand(value.shape)
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    return Source(SourceWeights(architecture, zeros))


def images() -> Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


def layers(network: nn.Module) -> set[str]:
    return {name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}


@pytest.mark.parametrize(
    "family",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
)
def test_blocks_and_stages_of_families(family: str) -> None:
    source = blank(family)
    anatomy = source.anatomy

    count, stages = FAMILIES[family]
    assert (len(anatomy.blocks), anatomy.blocks[-1].stage) == (count, stages)
    assert [block.reads for block in anatomy.blocks[1:]] == [b.node for b in anatomy.blocks[:-1]]
    for form in (DeltaOptions(blocks=1), DeltaOptions(from_stage=stages)):
        whole, part = Delta(source, 3, DeltaOptions()), Delta(source, 3, form)
        assert layers(part.network) < layers(whole.network)
        assert set(part.reads) <= set(whole.reads)
        assert set(part.poolings()) <= set(whole.poolings())
        with torch.no_grad():
            logits = part.eval()(images(), source(images()))
        assert logits.shape == (2, 3)
        assert logits.isfinite().all()


def test_the_first_blocks_of_a_resnet(resnet: Source) -> None:
    """Each stage has its first block, and that reads what it reads in the whole source."""
    delta = Delta(resnet, 3, DeltaOptions(blocks=1))

    kept = {name for name in layers(Delta(resnet, 3, DeltaOptions()).network) if ".1." not in name}
    assert layers(delta.network) == kept
    assert set(delta.poolings()) == {
        f"layer{stage}.0.conv{number}" for stage in (1, 2, 3, 4) for number in (1, 2)
    }


def pooled(delta: Delta, features: Mapping[str, Tensor], name: str) -> Tensor:
    found: Tensor = delta.poolings()[name](features[name])
    return found


def basic_block(
    delta: Delta, features: Mapping[str, Tensor], name: str, local: Tensor, *, joined: bool
) -> Tensor:
    """Compute one of ResNet-18's blocks as the paper describes a delta's."""
    parts = {key: layer for key, layer in delta.network.named_modules() if name in key}
    first = pooled(delta, features, f"{name}.conv1") if joined else local[:, :0]
    reads = torch.cat([local, first], 1)
    inside = functional.relu(parts[f"{name}.bn1"](parts[f"{name}.conv1"](reads)))
    inside = torch.cat([inside, pooled(delta, features, f"{name}.conv2")], 1)
    inside = parts[f"{name}.bn2"](parts[f"{name}.conv2"](inside))
    beside = local
    if f"{name}.downsample.0" in parts:
        beside = parts[f"{name}.downsample.1"](parts[f"{name}.downsample.0"](reads))
    return functional.relu(inside + beside)


@pytest.mark.parametrize("stage", [None, 3])
def test_it_computes_the_blocks_that_are_left(resnet: Source, stage: int | None) -> None:
    delta = Delta(resnet, 3, DeltaOptions(blocks=1, from_stage=stage)).eval()
    with torch.no_grad():
        for pooling in delta.poolings().values():
            pooling.weight.uniform_(0.5, 1.5)
        features = resnet(images())
        if stage is None:
            network = delta.network
            local = functional.relu(
                network.get_submodule("bn1")(network.get_submodule("conv1")(images()))
            )
            local = functional.max_pool2d(local, 3, 2, 1)
        else:
            local = features["layer3.0.conv1"]
        begins = stage
        for number in range(stage or 1, 5):
            joined = number != begins
            local = basic_block(delta, features, f"layer{number}.0", local, joined=joined)
        everything = torch.cat([local.mean((2, 3)), features["head"]], 1)
        expected = delta.network.get_submodule("fc")(everything)

        found = delta(images(), features)

    torch.testing.assert_close(found, expected)


def test_what_begins_at_a_stage_has_no_stem_and_reads_that_tensor_whole(resnet: Source) -> None:
    delta = Delta(resnet, 3, DeltaOptions(from_stage=4))

    assert all(name.startswith("layer4.") for name in layers(delta.network))
    first = delta.network.get_submodule("layer4.0.conv1")
    assert isinstance(first, nn.Conv2d)
    assert (first.in_channels, first.out_channels) == (256, 64)
    assert set(delta.poolings()) == {"layer4.0.conv2", "layer4.1.conv1", "layer4.1.conv2"}
    assert set(delta.reads) == {"layer4.0.conv1", "head", *delta.poolings()}


def test_what_a_network_does_not_have_is_refused() -> None:
    dense = blank("densenet121")

    with pytest.raises(SourceError, match="no block of a densenet121 can be left out"):
        Delta(dense, 3, DeltaOptions(blocks=1))
    with pytest.raises(SourceError, match=r"no stage 1 .* expected one of 2, 3, 4"):
        Delta(dense, 3, DeltaOptions(from_stage=1))
    with pytest.raises(SourceError, match=r"no stage 5 .* expected one of 2, 3, 4"):
        Delta(dense, 3, DeltaOptions(from_stage=5))
    assert left_out(dense.anatomy.blocks, None, "densenet121") == {}
    assert stage_begin(dense.anatomy.blocks, None, "densenet121") is None


def start_of(source: Source, classes: int = 3, features: int = 40) -> TapStart:
    whole = sum(tap.channels for tap in source.anatomy.taps)
    draw = torch.Generator().manual_seed(5)
    return TapStart(
        index=torch.randperm(whole, generator=draw)[:features].sort().values,
        mean=torch.rand(features, generator=draw),
        deviation=torch.rand(features, generator=draw) + 0.1,
        weight=torch.randn(classes, features, generator=draw),
        bias=torch.randn(classes, generator=draw),
    )


def test_a_classifier_that_reads_taps_begins_as_the_readout(resnet: Source) -> None:
    delta = Delta(resnet, 3, DeltaOptions(classifier_reads="taps")).eval()
    begin = start_of(resnet)

    delta.start_taps(begin)

    readout = Readout(resnet, 3, len(begin.index))
    readout.index.copy_(begin.index)
    with torch.no_grad():
        readout.classifier.weight.copy_(begin.weight)
        readout.classifier.bias.copy_(begin.bias)
        features = resnet(images())
        torch.testing.assert_close(delta(images(), features), readout(images(), features))
        folded = delta.tap_readout.classifier if delta.tap_readout else None
    assert folded is not None
    torch.testing.assert_close(folded.weight, begin.weight)
    torch.testing.assert_close(folded.bias, begin.bias)
    assert delta.tap_selections() == readout.selections()
    local = delta.network.get_submodule("fc")
    assert isinstance(local, nn.Linear)
    assert local.in_features == 64  # the local features alone: the readout reads the source's


def test_it_answers_with_local_features_and_taps(resnet: Source) -> None:
    """The logits are one linear map of both, as if they lay behind each other."""
    delta = Delta(resnet, 3, DeltaOptions(classifier_reads="taps")).eval()
    delta.start_taps(start_of(resnet))
    fc, taps = delta.network.get_submodule("fc"), delta.tap_readout
    assert isinstance(fc, nn.Linear)
    assert taps is not None
    read: list[Tensor] = []
    with torch.no_grad():
        fc.weight.normal_()
        features = resnet(images())
        with fc.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])):
            found = delta(images(), features)
        pooled_ = torch.cat([features[key] for key in taps.feature_widths], 1)[:, taps.index]
        whole = torch.cat([read[0], pooled_], 1)
        weight = torch.cat([fc.weight, taps.classifier.weight], 1)
    torch.testing.assert_close(found, whole @ weight.T + fc.bias + taps.classifier.bias)


def test_a_state_of_any_number_of_features_can_be_loaded(resnet: Source) -> None:
    trained = Delta(resnet, 3, DeltaOptions(classifier_reads="taps"))
    trained.start_taps(start_of(resnet, features=17))
    fresh = Delta(resnet, 3, DeltaOptions(classifier_reads="taps"))

    fresh.load_state_dict(trained.state_dict())

    assert fresh.tap_selections() == trained.tap_selections()
    for key, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value)
    assert json.loads(json.dumps(fresh.tap_selections())) is not None


def test_gradients_of_the_classifier_know_what_they_read(resnet: Source) -> None:
    delta = Delta(resnet, 3, DeltaOptions(classifier_reads="taps"))
    delta.start_taps(start_of(resnet, features=17))
    delta(images(), resnet(images())).square().sum().backward()

    counts = [(tuple(each.shape), count) for each, count in delta.classifier_gradients()]

    assert counts == [((3, 64), 64), ((3,), 64), ((3, 17), 17), ((3,), 17)]


def test_a_local_loss_is_of_the_local_features(resnet: Source) -> None:
    delta = Delta(resnet, 3, DeltaOptions(classifier_reads="taps")).eval()
    delta.start_taps(start_of(resnet))
    delta.local_loss = 2.0
    targets = torch.tensor([0, 1])
    features = resnet(images())

    total, logits = delta.loss(images(), features, targets, functional.cross_entropy)

    local = delta.network(images(), features)
    expected = functional.cross_entropy(logits, targets)
    expected = expected + 2 * functional.cross_entropy(local, targets)
    torch.testing.assert_close(total, expected)


def test_a_convolution_as_classifier_reads_no_taps() -> None:
    source = blank("squeezenet1_1")

    with pytest.raises(SourceError, match="is not a linear layer; leave --classifier-reads out"):
        Delta(source, 3, DeltaOptions(classifier_reads="taps"))


def test_the_paper_s_delta_is_written_as_before() -> None:
    keys = ("k_divisor", "width_divisor", "sigma2", "pooling_norm", "pooling_relu", "subscription")

    assert set(DeltaOptions().to_dict()) == {*keys, "pooling_weights", "pooling_order"}
    written = DeltaOptions(blocks=1, classifier_reads="taps").to_dict()
    assert DeltaOptions(**written) == DeltaOptions(blocks=1, classifier_reads="taps")
    assert "from_stage" not in written
