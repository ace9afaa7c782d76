"""A readout: a linear classifier on chosen pooled features of all the source's blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.network import TaskNetwork
from snow_deploy.models.tap_readout import chosen_by_tap, widths_by_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.models.source import Source


class Readout(TaskNetwork):
    """A task that is only a subscription and a classifier (Head2Toe, Evci et al., 2022).

    Of the means over height and width of what every block of the source puts out it reads K, and
    answers by one matrix product. It is fitted, not trained step by step; what standardises the
    features is part of its weights.

    Attributes:
        index: [K] int64, ascending: which of all features, one tap's behind the other's, it reads.
        classifier: Linear layer from those K to the task's logits.
    """

    fuses: ClassVar[bool] = False
    index: Tensor

    def __init__(self, source: Source, num_classes: int, features: int | None = None) -> None:
        """Read the first K features, with weights of zero, until a fit's are loaded.

        Args:
            source: The source; from now on it returns its taps' means.
            num_classes: C, the task's classes.
            features: K; None reads all.
        """
        super().__init__()
        source.pool_taps()
        self.num_classes = num_classes
        self.taps = source.anatomy.taps
        whole = sum(tap.channels for tap in self.taps)
        count = whole if features is None else features
        self.register_buffer("index", torch.arange(count))
        self.classifier = nn.Linear(count, num_classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    @property
    def feature_widths(self) -> dict[str, int]:
        """Width of each pooled feature by its key among the source's, in order."""
        return widths_by_key(self.taps)

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """Answer one task: the source's features of [B, 3, H, W] images to [B, C] logits."""
        pooled = torch.cat([features[key] for key in self.reads], 1)
        logits: Tensor = self.classifier(pooled.index_select(1, self.index))
        return logits

    @property
    def reads(self) -> tuple[str, ...]:
        """All taps' means."""
        return tuple(self.feature_widths)

    def selections(self) -> dict[str, tuple[int, ...]]:
        """Return the channels that are read, ascending, by the tap; no others are named."""
        return chosen_by_tap(self.taps, self.index)

    def start_classifier(self, linear: nn.Linear) -> None:
        """Refuse: a readout is fitted as a whole.

        Raises:
            SourceError: Always.
        """
        msg = f"a readout is fitted; it does not begin with {linear.out_features} classes of others"
        raise SourceError(msg)

    def classifier_gradients(self) -> list[tuple[Tensor, int]]:
        """Return nothing: no gradient reaches a fit."""
        return []
