"""A task's network, whatever its scheme: what training, the store and the exporter ask of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor, fx, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snow_deploy.models.pooling import ChannelPooling

Scheme = Literal["snow", "readout", "fo", "fe", "ft", "mp", "pn", "lf"]
"""SNOW's delta, a readout, or one of the schemes that the paper compares with (its section 3)."""


class TaskNetwork(nn.Module, ABC):
    """A task's network: images and the source's features in, logits out.

    Its parameters are the task's own trainable ones, and its state is what a store keeps of the
    task. Frozen copies of the source's weights are neither.

    Attributes:
        fuses: Whether the exporter may merge it with other tasks' networks of equal shape.
        num_classes: C, the task's classes.
        local_loss: Weight of a delta's second loss, for training loops; others don't read it.
    """

    fuses: ClassVar[bool] = True
    local_loss: float = 0.0
    num_classes: int

    @abstractmethod
    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Answer one task.

        Args:
            images: [B, 3, H, W] float32, normalised, as the source got them.
            features: Features that `Source.forward` or `Source.stream` gave for the same images;
                those that it `reads` are enough.

        Returns:
            [B, C] logits.
        """

    def loss(
        self,
        images: Tensor,
        features: Mapping[str, Tensor],
        targets: Tensor,
        criterion: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Return what a training step minimises, and the logits.

        Args:
            images: Images, as for `forward`.
            features: Features, as for `forward`.
            targets: [B] int64; or [B, C] float32 where any number of labels may be right.
            criterion: Function from [B, C] logits and the targets to a scalar.

        Returns:
            A scalar, and [B, C] logits.
        """
        logits: Tensor = self(images, features)
        return criterion(logits, targets), logits

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Keys of the source's features that a forward pass looks up, each as often as it does."""

    @abstractmethod
    def start_classifier(self, linear: nn.Linear) -> None:
        """Let the classifier begin as one that reads the source's pooled features alone.

        Args:
            linear: Linear layer from the F pooled source features to the task's classes.

        Raises:
            SourceError: The classifier cannot begin so, or the sizes differ.
        """

    @abstractmethod
    def classifier_gradients(self) -> list[tuple[Tensor, int]]:
        """Return the classifier's gradients after a backward pass, and the features behind each.

        Returns:
            The views, to be changed in place: [C, n, ...] for n features each, and the bias's [C].
        """

    def poolings(self) -> dict[str, ChannelPooling]:
        """Return the channel poolings by subscription name, in the source's order."""
        return {}

    def explore(self, share: float) -> None:
        """Let the poolings explore so much from now on: a factor on their noise's deviation.

        Args:
            share: 1 at the beginning of a training, 0 where the choice is to settle.
        """
        for pooling in self.poolings().values():
            pooling.exploration = share

    def parameter_groups(self, lr: float, pooling_lr_scale: float = 1.0) -> list[dict[str, Any]]:
        """Return the trained parameters for an optimiser: the pooling weights have their own rate.

        Args:
            lr: Learning rate of the others.
            pooling_lr_scale: The pooling weights' learning rate over `lr`.
        """
        poolings = [pooling.weight for pooling in self.poolings().values()]
        own = {id(weight) for weight in poolings}
        others = [weight for weight in self.parameters() if id(weight) not in own]
        return [
            {"params": others, "lr": lr},
            {"params": poolings, "lr": lr * pooling_lr_scale},
        ]

    def selections(self) -> dict[str, tuple[int, ...]]:
        """Return the channels that evaluation reads, ascending, by subscription name."""
        return {name: pooling.selection() for name, pooling in self.poolings().items()}

    def tap_selections(self) -> dict[str, tuple[int, ...]]:
        """Return the channels of the source's taps that a delta's classifier reads, by tap."""
        return {}

    def count_parameters(self) -> int:
        """Count the task's own parameters, the classifier's included."""
        return sum(parameter.numel() for parameter in self.parameters())


def look_up(features: Mapping[str, Tensor], key: str) -> Tensor:
    """Read one of the source's features; in a network's graph this is the node that does."""
    return features[key]


def looked_up(network: fx.GraphModule) -> tuple[str, ...]:
    """Return the keys that a graph's `look_up` nodes read, in order."""
    return tuple(str(node.args[1]) for node in network.graph.nodes if node.target is look_up)
