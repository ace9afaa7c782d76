"""A whole network for a task; FT, fine-tuning: one that begins with the source's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from snow_deploy.models.anatomy import HEAD
from snow_deploy.models.schemes.head import HeadNetwork, build_head
from snow_deploy.models.trunk import build_trunk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, fx

    from snow_deploy.models.source import Source


class WholeNetwork(HeadNetwork):
    """A network in the source's form, from the image to the task's classes.

    Attributes:
        network: Network from images to what the head's classifier reads.
    """

    fuses: ClassVar[bool] = False

    def __init__(
        self, source: Source, num_classes: int, network: fx.GraphModule, head: fx.GraphModule
    ) -> None:
        """Put a head on a trunk."""
        super().__init__(source, num_classes, head)
        self.network = network

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """Answer one task: [B, 3, H, W] images to [B, C] logits."""
        return super().forward(images, {HEAD: self.network(images)})

    @property
    def reads(self) -> tuple[str, ...]:
        """Nothing of the source."""
        return ()


class FineTuning(WholeNetwork):
    """All of it is trained, its BatchNorms' statistics too."""

    def __init__(self, source: Source, num_classes: int) -> None:
        """Begin with the source's weights and a random classifier."""
        super().__init__(source, num_classes, build_trunk(source), build_head(source, num_classes))
