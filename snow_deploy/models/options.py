"""What decides a task's network: its scheme, and a delta's shape."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

if TYPE_CHECKING:
    from snow_deploy.models.network import Scheme
    from snow_deploy.models.pooling import PoolingNorm, PoolingOrder, PoolingWeights

Subscribing = Literal["pooling", "conv1x1", "attention", "all"]
"""Channel pooling, SNOW's own; or what the paper compares it with."""
ClassifierReads = Literal["last", "taps"]
"""The source's last features beside the local ones, as in the paper; or chosen ones of all taps."""


FORM: Final = ("blocks", "from_stage", "classifier_reads")
"""What a delta has beyond the paper's, by name; files from before there was any have none."""


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
        blocks: How many blocks are mirrored of each row that puts out maps of one shape, a
            ResNet's stage; None mirrors all.
        from_stage: Stage that the delta begins with, on the source's own tensor, from 1 on; None
            begins at the image.
        classifier_reads: What the classifier reads beside the local features: the source's last
            ones (`last`), or those and the means of other taps that a readout's fit chooses
            (`taps`).
    """

    k_divisor: int = 8
    width_divisor: int = 8
    sigma2: float = 1e-3
    pooling_norm: PoolingNorm = "before"
    pooling_relu: bool = True
    subscription: Subscribing = "pooling"
    pooling_weights: PoolingWeights = "noisy"
    pooling_order: PoolingOrder = "places"
    blocks: int | None = None
    from_stage: int | None = None
    classifier_reads: ClassifierReads = "last"

    def ranges(self) -> dict[str, tuple[bool, str]]:
        """Tell of each option by its name whether it is in range, and what is expected."""
        subscriptions, reads = get_args(Subscribing), get_args(ClassifierReads)
        return {
            "k": (self.k_divisor >= 1, "1 or more"),
            "width": (self.width_divisor >= 1, "1 or more"),
            "sigma2": (0 <= self.sigma2 < math.inf, "a variance, 0 or more"),
            "subscription": (self.subscription in subscriptions, ", ".join(subscriptions)),
            "blocks": (self.blocks is None or self.blocks >= 1, "1 or more"),
            "from-stage": (self.from_stage is None or self.from_stage >= 1, "1 or more"),
            "classifier-reads": (self.classifier_reads in reads, ", ".join(reads)),
        }

    def as_in_the_paper(self) -> DeltaOptions:
        """Return them without what the paper's deltas do not have."""
        return replace(self, blocks=None, from_stage=None, classifier_reads="last")

    def form_words(self) -> list[str]:
        """Say for people what it has beyond the paper's: `blocks 1`, `classifier-reads taps`."""
        paper = self.as_in_the_paper()
        return [
            f"{name.replace('_', '-')} {value}"
            for name in FORM
            if (value := getattr(self, name)) != getattr(paper, name)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values by name, but for those that a paper's delta does not have.

        Files from before there were any read alike, and so do older versions what has none.
        """
        return {
            each.name: value
            for each in fields(self)
            if (value := getattr(self, each.name)) != each.default or each.name not in FORM
        }


class NetworkOptions(Protocol):
    """What decides a task's network, as the options of its training say it among other things."""

    @property
    def scheme(self) -> Scheme:
        """What kind of network it is."""

    @property
    def delta(self) -> DeltaOptions:
        """The shape of a delta; `fe` reads its width."""
