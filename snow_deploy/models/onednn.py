"""A frozen network as oneDNN runs it fastest on a CPU: packed weights, fused sums and ReLUs.

torch reorders a convolution's weights on every call, and runs what follows as passes of its own.
With its oneDNN operators (those that its compiler emits, but without a compiler) the weights are
reordered once, and a residual sum and a ReLU happen where the convolution writes its result.
"""

from __future__ import annotations

import copy
import operator

import torch
from torch import Tensor, fx, nn

from snow_deploy.models.anatomy import input_of
from snow_export.own_layers import OWN_LAYERS
from snow_export.trace.in_place import memory_of, written_input
from snow_export.trace.nodes import layer_of, run_nodes

_SUMS = (operator.add, operator.iadd, torch.add)


def is_available(dtype: torch.dtype = torch.float32) -> bool:
    """Tell whether this torch has oneDNN's fused convolutions, and the processor the dtype."""
    found: bool = torch.backends.mkldnn.is_available() and hasattr(  # type: ignore[no-untyped-call]
        torch.ops.mkldnn, "_convolution_pointwise"
    )
    if found and dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001
    return found and dtype == torch.float32


@torch.no_grad()
def pack(
    network: fx.GraphModule, image: Tensor, dtype: torch.dtype = torch.float32
) -> fx.GraphModule:
    """Return a copy of a network whose convolutions are packed and fused, for inference only.

    Args:
        network: float32 on the CPU, without norms in training mode; it stays as it is.
        image: [B, 3, H, W] float32, an example. Other sizes give the same answers, if more slowly.
        dtype: What the copy computes in, weights, sums and features; it takes float32 images.
    """
    packed = copy.deepcopy(network).to(dtype)
    values = run_nodes(packed, image.to(dtype))
    for node in list(packed.graph.nodes):
        layer = layer_of(packed, node)
        if isinstance(layer, OWN_LAYERS):
            continue
        if isinstance(layer, nn.Conv2d) and isinstance(layer.padding, tuple):
            _replace(packed, node, layer, values[input_of(node)], values)
    if dtype != torch.float32:
        _convert_images(packed.graph, dtype)
    packed.graph.eliminate_dead_code()
    packed.delete_all_unused_submodules()
    packed.graph.lint()
    packed.recompile()
    return packed


class _Convolution(nn.Module):
    """A packed convolution, then a sum with another tensor and a ReLU, if asked for."""

    def __init__(self, layer: nn.Conv2d, shape: list[int], *, relu: bool) -> None:
        super().__init__()
        geometry = (list(layer.padding), list(layer.stride), list(layer.dilation), layer.groups)
        weight = layer.weight.detach().to_mkldnn()
        packed = torch._C._nn.mkldnn_reorder_conv2d_weight(  # noqa: SLF001
            weight,
            *geometry,
            shape,  # type: ignore[call-arg]
        )
        self.register_buffer("weight", packed, persistent=False)
        bias = None if layer.bias is None else layer.bias.detach()
        self.register_buffer("bias", bias, persistent=False)
        self.geometry = geometry
        self.relu = relu

    def forward(self, features: Tensor, other: Tensor | None = None) -> Tensor:
        rest = (self.weight, self.bias, *self.geometry)
        result: Tensor
        if other is None:
            attribute = "relu" if self.relu else "none"
            result = torch.ops.mkldnn._convolution_pointwise(features, *rest, attribute, [], "")  # noqa: SLF001
            return result
        result = torch.ops.mkldnn._convolution_pointwise.binary(  # noqa: SLF001
            features, other, *rest, "add", 1.0, "relu" if self.relu else None, [], ""
        )
        return result


def _replace(
    packed: fx.GraphModule,
    node: fx.Node,
    layer: nn.Conv2d,
    reads: Tensor,
    values: dict[fx.Node, Tensor],
) -> None:
    """Put a packed convolution in the place of one and of the sum and ReLU behind it."""
    last, other = node, None
    behind = _only_reader(last)
    if behind is not None and _is_sum(behind):
        (added,) = (each for each in behind.all_input_nodes if each is not node)
        if values[added].shape == values[node].shape:
            last, other, behind = behind, added, _only_reader(behind)
    relu = behind is not None and isinstance(layer_of(packed, behind), nn.ReLU)
    if relu and behind is not None:
        last = behind
    if last is not node and _overtaken(packed, node, last, values):
        last, other, relu = node, None, False
    name = f"{node.name}_packed"
    packed.add_submodule(name, _Convolution(layer, list(reads.shape), relu=relu))
    inputs = (input_of(node),) if other is None else (input_of(node), other)
    with packed.graph.inserting_before(last):
        fused = packed.graph.call_module(name, inputs)
    values[fused] = values[last]
    last.replace_all_uses_with(fused)


def _overtaken(
    packed: fx.GraphModule, node: fx.Node, last: fx.Node, values: dict[fx.Node, Tensor]
) -> bool:
    """Tell whether what a convolution reads is overwritten before a later node, in its place."""
    nodes = list(packed.graph.nodes)
    between = nodes[nodes.index(node) + 1 : nodes.index(last)]
    targets = [written_input(packed, other) for other in between]
    reads = memory_of(values[input_of(node)])
    return any(target is not None and memory_of(values[target]) & reads for target in targets)


def _convert_images(graph: fx.Graph, dtype: torch.dtype) -> None:
    """Let the network begin with images in its own dtype."""
    (images,) = (node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_after(images):
        converted = graph.call_method("to", (images, dtype))
    images.replace_all_uses_with(converted)
    converted.args = (images, dtype)


def _is_sum(node: fx.Node) -> bool:
    """Tell whether a node adds two tensors as they are; torch.add can weigh one of them."""
    return node.target in _SUMS and len(node.all_input_nodes) == 2 and not node.kwargs


def _only_reader(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None
