"""What a CNN is made of, read from its torch.fx graph: stem, subscriptions, classifier."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torchvision.ops import StochasticDepth

from snow_deploy.errors import SourceError
from snow_deploy.models.blocks import Block, find_blocks
from snow_deploy.models.taps import Tap, find_taps
from snow_export.trace.in_place import protect, read_results
from snow_export.trace.nodes import layer_of, run_nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

HEAD = "head"
"""Key of the classifier's input among the source's features."""


class CnnTracer(fx.Tracer):
    """Traces down to layers: norm subclasses and stochastic depth stay whole."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Keep torchvision's own layers whole where they carry parameters or randomness."""
        whole = isinstance(m, nn.LayerNorm | StochasticDepth)
        return whole or super().is_leaf_module(m, module_qualified_name)


@dataclass(frozen=True)
class Subscription:
    """One source tensor that dense convolutions read, and so one channel pooling per delta.

    Attributes:
        name: Qualified name of the first convolution that reads the tensor.
        node: Name of the fx node that makes the tensor.
        shape: [1, N, H, W] for the example image.
        readers: Every dense convolution that reads it (a block's first convolution and its
            downsample convolution share one).
    """

    name: str
    node: str
    shape: tuple[int, ...]
    readers: tuple[str, ...]

    @property
    def channels(self) -> int:
        """N, the tensor's channels."""
        return self.shape[1]


@dataclass(frozen=True)
class Anatomy:
    """A traced CNN.

    Attributes:
        subscriptions: Subscriptions in the order in which the source makes the tensors.
        classifier: Qualified name of the last layer with weights.
        head_node: Name of the fx node whose output the classifier reads.
        head_shape: Shape of that output for the example image, [1, F] or [1, F, H, W].
        image_shape: The example image's shape, [1, 3, H, W].
        taps: What the blocks put out, in order, the classifier's input last.
        blocks: The blocks, in order.
    """

    subscriptions: tuple[Subscription, ...]
    classifier: str
    head_node: str
    head_shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    taps: tuple[Tap, ...]
    blocks: tuple[Block, ...]

    @property
    def head_channels(self) -> int:
        """F, the channels that the classifier reads."""
        return self.head_shape[1]


def trace(network: nn.Module) -> fx.GraphModule:
    """Trace a CNN in eval mode; what is read after a write in place is the write's result.

    Raises:
        SourceError: torch.fx cannot trace it, or it does not map one image to one tensor.
    """
    network.eval()
    if isinstance(network, fx.GraphModule):  # it is a trace
        return network
    try:
        graph = CnnTracer().trace(network)
    except Exception as error:
        msg = (
            f"torch.fx cannot trace {type(network).__name__}: {error}. "
            "Use a CNN whose forward pass has no data-dependent control flow."
        )
        raise SourceError(msg) from error
    traced = fx.GraphModule(network, graph)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    output = output_node(graph).args[0]
    if len(inputs) != 1 or not isinstance(output, fx.Node):
        msg = (
            f"{type(network).__name__} takes {len(inputs)} inputs and returns "
            f"{type(output).__name__}; a source takes one image batch and returns one tensor"
        )
        raise SourceError(msg)
    read_results(traced)
    return traced


def on_meta_device(traced: fx.GraphModule) -> fx.GraphModule:
    """Return a copy on the meta device: the same layers and graph, shapes in place of weights."""
    memo: dict[int, Any] = {}
    for weight in traced.parameters():
        memo[id(weight)] = nn.Parameter(weight.detach().to("meta"), weight.requires_grad)
    memo |= {id(buffer): buffer.to("meta") for buffer in traced.buffers()}
    return copy.deepcopy(traced, memo)


def protect_tensors(
    traced: fx.GraphModule,
    image_shape: Sequence[int],
    kept: Collection[fx.Node] = (),
) -> None:
    """Let nothing in a traced network overwrite its images, or what it returns, in place.

    Args:
        traced: Traced network from images to anything.
        image_shape: [B, 3, H, W] that it works for.
        kept: The nodes that it returns, as they are when they are made.
    """
    blank = on_meta_device(traced)
    values = run_nodes(blank, torch.zeros(*image_shape, device="meta"))
    by_name = {node.name: value for node, value in values.items()}
    example = {node: by_name[node.name] for node in traced.graph.nodes}
    images = [node for node in traced.graph.nodes if node.op == "placeholder"]
    protect(traced, example, kept=kept, given=images)


def output_node(graph: fx.Graph) -> fx.Node:
    """Return the graph's output node."""
    found: fx.Node = next(node for node in reversed(graph.nodes) if node.op == "output")
    return found


def input_of(node: fx.Node) -> fx.Node:
    """Return a layer's first input node."""
    return node.all_input_nodes[0]


def is_dense(conv: nn.Conv2d) -> bool:
    """Tell whether every output channel reads every input channel."""
    return conv.groups == 1


def dissect(traced: fx.GraphModule, image: Tensor) -> Anatomy:
    """Find the subscriptions and the classifier of a traced CNN.

    Args:
        traced: What `trace` returned; may be on the meta device, for only shapes are read.
        image: [1, 3, H, W], the example image, on the same device.

    Raises:
        SourceError: There is no convolution to subscribe to, or no classifier at the end.
    """
    values = run_nodes(traced, image)
    classifier = find_classifier(traced)
    readers: dict[fx.Node, list[str]] = {}
    dense = [node for node in _dense_convolutions(traced) if node is not classifier]
    for node in dense:
        readers.setdefault(input_of(node), []).append(str(node.target))
    if not readers:
        msg = (
            "this network has no dense convolution behind its stem, so no delta could "
            "subscribe to it; use a CNN as the source"
        )
        raise SourceError(msg)
    order = {node: position for position, node in enumerate(traced.graph.nodes)}
    subscriptions = tuple(
        Subscription(names[0], node.name, tuple(values[node].shape), tuple(names))
        for node, names in sorted(readers.items(), key=lambda item: order[item[0]])
    )
    head = input_of(classifier)
    subscribed = {node: names[0] for node, names in readers.items()}
    return Anatomy(
        subscriptions,
        str(classifier.target),
        head.name,
        tuple(values[head].shape),
        tuple(image.shape),
        find_taps(traced, values, dense, head),
        find_blocks(traced, values, dense, head, subscribed),
    )


def _dense_convolutions(traced: fx.GraphModule) -> Iterator[fx.Node]:
    """Yield the dense convolutions that read features, not the image (the stem does)."""
    behind_conv: set[fx.Node] = set()
    for node in traced.graph.nodes:
        layer = layer_of(traced, node)
        reads_features = any(parent in behind_conv for parent in node.all_input_nodes)
        if isinstance(layer, nn.Conv2d):
            if reads_features and is_dense(layer):
                yield node
            behind_conv.add(node)
        elif reads_features:
            behind_conv.add(node)


def find_classifier(traced: fx.GraphModule) -> fx.Node:
    """Walk back from the output to the last layer with a weight matrix."""
    node = output_node(traced.graph)
    while node.all_input_nodes:
        node = node.all_input_nodes[0]
        if isinstance(layer_of(traced, node), nn.Linear | nn.Conv2d):
            return node
    msg = (
        "this network does not end in a Linear or Conv2d classifier; a source needs one, for "
        "the delta's classifier to take its place"
    )
    raise SourceError(msg)
