"""Subscriptions: how a delta takes over the channels of a source tensor (SNOW, Table 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from snow_deploy.models.narrow_layers import NarrowBatchNorm2d
from snow_deploy.models.pooling import ChannelPooling
from snow_deploy.models.resized_layers import divide

if TYPE_CHECKING:
    from snow_deploy.models.options import DeltaOptions

_SQUEEZE = 16


def make_subscription(channels: int, options: DeltaOptions) -> nn.Module:
    """Make one subscription: [B, N, H, W] source channels in, those that the delta reads out.

    `pooling` chooses K = N / k of them. `conv1x1` projects them to K by a learned 1x1
    convolution with BatchNorm and ReLU. `attention` keeps all N, each times its gate. `all`
    passes all N on.

    Args:
        channels: N, the source tensor's channels.
        options: Options that say which subscription, and its form.
    """
    if options.subscription == "all":
        return nn.Identity()
    if options.subscription == "attention":
        return ChannelAttention(channels)
    kept = divide(channels, options.k_divisor)
    if options.subscription == "conv1x1":
        projection = nn.Conv2d(channels, kept, 1, bias=False)
        nn.init.kaiming_normal_(projection.weight, mode="fan_out", nonlinearity="relu")
        return nn.Sequential(projection, NarrowBatchNorm2d(kept), nn.ReLU())
    return ChannelPooling(
        channels,
        kept,
        sigma2=options.sigma2,
        norm=options.pooling_norm,
        relu=options.pooling_relu,
        weights=options.pooling_weights,
        order=options.pooling_order,
    )


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation (Hu et al., 2018): every channel times a gate in (0, 1).

    The gates come from the channels' means through two linear maps without biases, N to N / 16
    and back.

    Shapes: [B, N, H, W] -> [B, N, H, W].
    """

    def __init__(self, channels: int) -> None:
        """Make gates for N channels."""
        super().__init__()
        squeezed = divide(channels, _SQUEEZE)
        self.squeeze = nn.Conv2d(channels, squeezed, 1, bias=False)
        self.relu = nn.ReLU()
        self.excite = nn.Conv2d(squeezed, channels, 1, bias=False)
        self.gate = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Weight every channel by its gate."""
        means = features.mean((2, 3), keepdim=True)
        gates: Tensor = self.gate(self.excite(self.relu(self.squeeze(means))))
        return features * gates
