"""Activations that stand between a norm and a convolution, and their gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from snow_export.trace.nodes import layer_of

if TYPE_CHECKING:
    from collections.abc import Callable

_aten = torch.ops.aten


class Activation(NamedTuple):
    """An activation without weights.

    Attributes:
        function: The activation.
        answer: The activation again, which may write over what is activated unless `reads_input`.
        gradient: Its gradient, made of the answer's gradient and of the answer or the input.
        reads_input: Whether the gradient reads what was activated, not the answer.
    """

    function: Callable[[Tensor], Tensor]
    answer: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]
    reads_input: bool = False


def _relu_gradient(above: Tensor, answer: Tensor) -> Tensor:
    gradient: Tensor = _aten.threshold_backward.default(above, answer, 0)
    return gradient


def _relu6_gradient(above: Tensor, answer: Tensor) -> Tensor:
    gradient: Tensor = _aten.hardtanh_backward.default(above, answer, 0, 6)
    return gradient


RELU: Final = Activation(functional.relu, torch.relu_, _relu_gradient)
_RELU6: Final = Activation(functional.relu6, functional.relu6, _relu6_gradient)
_SILU: Final = Activation(
    functional.silu, functional.silu, _aten.silu_backward.default, reads_input=True
)
_HARDSWISH: Final = Activation(
    functional.hardswish, functional.hardswish, _aten.hardswish_backward.default, reads_input=True
)

_OF_LAYERS: Final[dict[type[nn.Module], Activation]] = {
    nn.ReLU: RELU,
    nn.ReLU6: _RELU6,
    nn.SiLU: _SILU,
    nn.Hardswish: _HARDSWISH,
}
_OF_FUNCTIONS: Final[dict[object, Activation]] = {
    functional.relu: RELU,
    functional.relu6: _RELU6,
    functional.silu: _SILU,
    functional.hardswish: _HARDSWISH,
    torch.relu: RELU,
    torch.relu_: RELU,
}


def activation_of(network: fx.GraphModule, node: fx.Node) -> Activation | None:
    """Return the activation that a node applies to its first input; None if it is no such node."""
    layer = layer_of(network, node)
    if layer is not None:
        return _OF_LAYERS.get(type(layer))
    if node.op == "call_function" and len(node.all_input_nodes) == 1:
        return _OF_FUNCTIONS.get(node.target)
    return None
