"""A delta's convolutions in training, with what stands before them, as one layer of a graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snow_deploy.models.lean_gradients import LeanFunction, LeanLayers


class LeanConvolutions(nn.Module):
    """Convolutions with the norms and the activation before them.

    Shapes: [B, C, H, W] local features, and [B, N, H, W] of the source's to pick from (or
    [B, K, H, W], what another kind of subscription answered) -> [B, C', H', W'] each.
    """

    def __init__(self, layers: LeanLayers) -> None:
        """Take the layers."""
        super().__init__()
        self.layers = layers

    def forward(self, local: Tensor, subscribed: Tensor | None = None) -> tuple[Tensor, ...]:
        """Answer with what each convolution does, in a tuple."""
        layers = self.layers
        norm, pooling = layers.norm, layers.pooling
        sound = local.dim() == 4 and local.numel() > local.shape[1]
        picked = pooling is not None and subscribed is not None and subscribed.requires_grad
        if picked or not sound or not all(each.training for each in layers.norms):
            return self._plainly(local, subscribed)
        drawn = None if pooling is None else pooling.draw()
        weights = [each for layer in layers.convolutions for each in (layer.weight, layer.bias)]
        answers: tuple[Tensor, ...] = LeanFunction.apply(
            layers,
            drawn,
            local,
            subscribed,
            None if norm is None else norm.weight,
            None if norm is None else norm.bias,
            None if drawn is None else drawn.weights,
            None if drawn is None else drawn.shift,
            *weights,
        )
        return answers

    def _plainly(self, local: Tensor, subscribed: Tensor | None) -> tuple[Tensor, ...]:
        """Do the same by autograd alone."""
        layers = self.layers
        values = local if layers.norm is None else layers.norm(local)
        if layers.activation is not None:
            values = layers.activation.function(values)
        if subscribed is not None:
            beside = subscribed if layers.pooling is None else layers.pooling(subscribed)
            values = torch.cat([values, beside], 1)
        return tuple(layer(values) for layer in layers.convolutions)
