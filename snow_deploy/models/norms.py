"""BatchNorm statistics of networks whose norms were folded into their convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable


def norms_are_folded(network: nn.Module) -> bool:
    """Tell whether a network's BatchNorms all are identities but for their bias.

    Some files of weights are made for inference: the norm's scale is in the convolution, mean 0
    and variance 1 stand where the statistics were. Such a network answers rightly in eval mode
    only. In training mode each norm takes its batch's statistics, and what comes out is another
    network than the one that was trained.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    return bool(norms) and all(_is_folded(norm) for norm in norms)


@torch.no_grad()
def restore_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give folded BatchNorms statistics, and the scale and bias that go with them, in place.

    In eval mode the network computes the same as before; in training mode nearly the same.

    Args:
        network: Takes [B, 3, H, W] images. Left in the mode that it is in.
        batches: Of images, such as it is going to be trained on; some hundred in all.

    Raises:
        ValueError: There is no batch.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    moments = {norm: _Moments(norm) for norm in norms}
    hooks = [norm.register_forward_pre_hook(moments[norm]) for norm in norms]
    was_training = network.training
    network.eval()
    try:
        for images in batches:
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    for norm in norms:
        moments[norm].apply(norm)


def _is_folded(norm: nn.BatchNorm2d) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None or not norm.affine:
        return False
    close = torch.allclose(variance, torch.ones_like(variance), rtol=0, atol=1e-3)
    return close and not mean.any() and bool((norm.weight == 1).all())


class _Moments:
    """Sums over everything that arrives at a norm, by channel, in double."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        self.total = torch.zeros(norm.num_features, dtype=torch.float64)
        self.squares = torch.zeros_like(self.total)
        self.count = 0

    def __call__(self, _norm: nn.Module, arrived: tuple[Tensor, ...]) -> None:
        values = arrived[0].double()
        self.total += values.sum((0, 2, 3)).cpu()
        self.squares += values.square().sum((0, 2, 3)).cpu()
        self.count += values.numel() // values.shape[1]

    def apply(self, norm: nn.BatchNorm2d) -> None:
        """Let the norm have these statistics and compute what it did."""
        if self.count == 0 or norm.running_mean is None or norm.running_var is None:
            msg = "no batch came by to take the norms' statistics from"
            raise ValueError(msg)
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0)
        before = (norm.running_var.double().cpu() + norm.eps).sqrt()
        scale = norm.weight.double().cpu() / before
        shift = norm.bias.double().cpu() - norm.running_mean.double().cpu() * scale
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + mean * scale)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
