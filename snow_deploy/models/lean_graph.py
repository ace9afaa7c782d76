"""A mirror's graph for training: the same layers, with less kept for the backward pass."""

from __future__ import annotations

import copy
import operator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import fx, nn

from snow_deploy.models.activations import Activation, activation_of
from snow_deploy.models.anatomy import input_of
from snow_deploy.models.batch_statistics import RunningStatistics
from snow_deploy.models.lean_convolution import LeanConvolutions
from snow_deploy.models.lean_gradients import LeanLayers
from snow_deploy.models.mirror import OVERWRITTEN
from snow_deploy.models.pooling import ChannelPooling
from snow_export.trace.nodes import layer_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class LeanGraph:
    """A pass through a mirror in training, which takes a third of the memory.

    It computes the same with the same layers, and gives the same gradients; see `LeanConvolutions`.
    """

    def __init__(self, network: fx.GraphModule) -> None:
        """Rewrite a copy of the graph; the network stays as it is, and their layers are shared."""
        self.statistics = RunningStatistics()
        self.network = fx.GraphModule(network, copy.deepcopy(network.graph))
        now: dict[fx.Node, fx.Node] = {}  # what stands in the place of a convolution by now
        for number, (reading, convolutions) in enumerate(_find(self.network).items()):
            present = reading._replace(local=now.get(reading.local, reading.local))
            now |= _replace(self.network, f"lean_{number}", present, convolutions, self.statistics)
        self.network.graph.eliminate_dead_code()
        self.network.graph.lint()
        self.network.recompile()

    def __call__(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Answer as the network does in training; enter the batch's statistics into its norms."""
        self.statistics.forget()
        logits: Tensor = self.network(images, features)
        self.statistics.enter()
        return logits


class _Local(NamedTuple):
    """Where a convolution's local features come from.

    Attributes:
        arrives: The node before norm and activation.
        norm: The norm's node; None where the features are read as they are.
        activation: What follows the norm.
    """

    arrives: fx.Node
    norm: fx.Node | None = None
    activation: Activation | None = None


class _Reading(NamedTuple):
    """What convolutions read: local features, and those of a subscription beside them."""

    local: fx.Node
    subscribed: fx.Node | None


def _find(network: fx.GraphModule) -> dict[_Reading, list[fx.Node]]:
    """Return the convolutions that can be made lean, by what they read."""
    found: dict[_Reading, list[fx.Node]] = {}
    for node in network.graph.nodes:
        layer = layer_of(network, node)
        if isinstance(layer, nn.Conv2d) and _is_usual(layer):
            found.setdefault(_reading(node), []).append(node)
    worth = {}
    for reading, convolutions in found.items():
        nodes = [reading.local, *([] if reading.subscribed is None else [reading.subscribed])]
        overwritten = any(OVERWRITTEN in node.meta for node in nodes)
        local = _local(network, reading, convolutions)
        if not overwritten and (reading.subscribed is not None or local.norm is not None):
            worth[reading] = convolutions
    return worth


def _is_usual(layer: nn.Conv2d) -> bool:
    """Tell whether a convolution is torch's, without anything before or beside it."""
    plain = type(layer) is nn.Conv2d and layer.padding_mode == "zeros"
    return plain and not isinstance(layer.padding, str)


def _reading(convolution: fx.Node) -> _Reading:
    reads = input_of(convolution)
    if reads.target is torch.cat and len(reads.args) == 2 and reads.args[1] == 1:
        parts = reads.args[0]
        if isinstance(parts, list | tuple) and len(parts) == 2 and _is_subscription(parts[1]):
            return _Reading(parts[0], parts[1])  # type: ignore[arg-type]
    return _Reading(reads, None)


def _is_subscription(node: object) -> bool:
    return isinstance(node, fx.Node) and str(node.target).startswith("pooling.")


def _local(network: fx.GraphModule, reading: _Reading, convolutions: list[fx.Node]) -> _Local:
    """Follow local features back to what a norm reads, where nothing else reads what is between."""
    readers = set(convolutions)
    if reading.subscribed is not None:
        readers = {input_of(node) for node in convolutions}
    node, activation = reading.local, None
    if set(node.users) != readers:
        return _Local(node)
    before = activation_of(network, node)
    if before is not None and len(input_of(node).users) == 1:
        node, activation = input_of(node), before
    norm = layer_of(network, node)
    if not isinstance(norm, nn.BatchNorm2d) or not _notes_statistics(norm):
        return _Local(reading.local)
    arrives = input_of(node)
    return (
        _Local(reading.local) if OVERWRITTEN in arrives.meta else _Local(arrives, node, activation)
    )


def _notes_statistics(norm: nn.BatchNorm2d) -> bool:
    """Tell whether a norm has weights, and statistics that move by its momentum."""
    return norm.affine and norm.momentum is not None and norm.running_mean is not None


def _replace(
    network: fx.GraphModule,
    name: str,
    reading: _Reading,
    convolutions: list[fx.Node],
    statistics: RunningStatistics,
) -> dict[fx.Node, fx.Node]:
    """Put lean convolutions in the place of some that read the same; return what each became."""
    local = _local(network, reading, convolutions)
    inputs, pooling = [local.arrives], None
    if reading.subscribed is not None:
        subscription = layer_of(network, reading.subscribed)
        concatenated = {input_of(node) for node in convolutions}
        alone = set(reading.subscribed.users) == concatenated
        if isinstance(subscription, ChannelPooling) and subscription.norms_first and alone:
            pooling = subscription
            inputs.append(input_of(reading.subscribed))
        else:
            inputs.append(reading.subscribed)
    layers = [layer_of(network, node) for node in convolutions]
    norm = None if local.norm is None else layer_of(network, local.norm)
    network.add_submodule(
        name,
        LeanConvolutions(
            LeanLayers(tuple(layers), norm, local.activation, pooling, statistics)  # type: ignore[arg-type]
        ),
    )
    with network.graph.inserting_before(convolutions[0]):
        answers = network.graph.call_module(name, tuple(inputs))
        became = {
            node: network.graph.call_function(operator.getitem, (answers, at))
            for at, node in enumerate(convolutions)
        }
    for node, answer in became.items():
        node.replace_all_uses_with(answer)
    return became
