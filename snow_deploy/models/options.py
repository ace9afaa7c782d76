"""What decides a task's network: its scheme, and a delta's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from snow_deploy.models.network import Scheme
    from snow_deploy.models.pooling import PoolingNorm, PoolingOrder, PoolingWeights

Subscribing = Literal["pooling", "conv1x1", "attention", "all"]
"""Channel pooling, SNOW's own; or what the paper compares it with."""


@dataclass(frozen=True)
class DeltaOptions:
    """The shape of a delta.

    Attributes:
        k_divisor: Each subscription keeps N / k_divisor of its N source channels.
        width_divisor: Each layer has 1 / width_divisor of the source's channels.
        sigma2: Variance of the pooling's exploration noise.
        pooling_norm: Place of each pooling's BatchNorm: `before` its weights, `after` them (they
            are then never trained), or `none`.
        pooling_relu: Whether a ReLU follows each pooling.
        subscription: How source channels are taken over; see `models.subscriptions`. Only
            `pooling` reads the options that begin with its name, and `sigma2`.
        pooling_weights: What training multiplies the chosen channels by: weights with noise
            (`noisy`) or without (`clean`).
        pooling_order: In which order they come out: each at its place (`places`), or by falling
            score (`descending`). Files from before these two have the first of each.
    """

    k_divisor: int = 8
    width_divisor: int = 8
    sigma2: float = 1e-3
    pooling_norm: PoolingNorm = "before"
    pooling_relu: bool = True
    subscription: Subscribing = "pooling"
    pooling_weights: PoolingWeights = "noisy"
    pooling_order: PoolingOrder = "places"


class NetworkOptions(Protocol):
    """What decides a task's network, as the options of its training say it among other things."""

    @property
    def scheme(self) -> Scheme:
        """What kind of network it is."""

    @property
    def delta(self) -> DeltaOptions:
        """The shape of a delta; `fe` reads its width."""
