"""The delta: a task's own thin copy of the source, subscribed to the source's features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.built_on import BuiltOn
from snow_deploy.models.features import refuse_other_features
from snow_deploy.models.mirror import POOLING, Mirror
from snow_deploy.models.network import TaskNetwork, looked_up
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.pooling import ChannelPooling, drawn_together
from snow_deploy.models.subscriptions import make_subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snow_deploy.models.source import Source


class Delta(TaskNetwork):
    """A task's network: images and the source's features in, logits out."""

    def __init__(
        self, source: Source, num_classes: int, options: DeltaOptions | None = None
    ) -> None:
        """Mirror the source's graph with every width divided; fresh weights, channels_last.

        Args:
            source: What it subscribes to.
            num_classes: C, the task's classes.
            options: Its shape; None for the usual one.

        Raises:
            SourceError: The source has a layer that cannot be mirrored.
        """
        super().__init__()
        options = options or DeltaOptions()
        self.options = options
        self.built_on = BuiltOn(source, source.fingerprint)
        self.num_classes = num_classes
        self.classifier = source.anatomy.classifier
        self.source_features = source.anatomy.head_channels
        self.network = Mirror(
            source,
            num_classes,
            width=options.width_divisor,
            subscribe=lambda channels: make_subscription(channels, options),
        ).build()
        self.to(memory_format=torch.channels_last)  # always: another layout rounds otherwise

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Answer one task: [B, 3, H, W] images and the source's features to [B, C] logits.

        Raises:
            SourceError: The features are those of another source.
        """
        poolings = self.poolings()
        widths = {name: pooling.channels for name, pooling in poolings.items()}
        refuse_other_features(features, self.reads, widths, self.built_on.fingerprint)
        with drawn_together(poolings.values()):
            logits: Tensor = self.network(images, features)
        return logits

    def loss(
        self,
        images: Tensor,
        features: Mapping[str, Tensor],
        targets: Tensor,
        criterion: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Add the loss of what the classifier answers from its local features alone.

        It counts `local_loss` times. Where the source's features tell most pictures apart, the
        other loss leaves the rest of the delta little to learn from.

        Raises:
            SourceError: The classifier is not linear, and there is a `local_loss`.
        """
        if not self.local_loss:
            return super().loss(images, features, targets, criterion)
        classifier = self._linear_classifier()
        read: list[Tensor] = []
        with classifier.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])):
            logits = self(images, features)
        local = classifier.in_features - self.source_features
        alone = nn.functional.linear(
            read[0][:, :local], classifier.weight[:, :local], classifier.bias
        )
        total = criterion(logits, targets) + self.local_loss * criterion(alone, targets)
        return total, logits

    @property
    def reads(self) -> tuple[str, ...]:
        """What it subscribes to, and what the source's classifier reads."""
        return looked_up(self.network)

    @torch.no_grad()
    def start_classifier(self, linear: nn.Linear) -> None:
        """Let the classifier begin as one that reads the source's pooled features alone.

        Args:
            linear: Linear layer from the F pooled source features to the task's classes.

        Raises:
            SourceError: The source's classifier is a convolution, or the sizes differ.
        """
        classifier = self._linear_classifier()
        local = classifier.in_features - linear.in_features
        if local < 0 or linear.out_features != self.num_classes:
            msg = (
                f"{self.classifier} cannot begin as a linear classifier of {linear.in_features} "
                f"features and {linear.out_features} classes; train with --recipe paper"
            )
            raise SourceError(msg)
        classifier.weight[:, :local] = 0
        classifier.weight[:, local:] = linear.weight
        classifier.bias.copy_(linear.bias)

    def _linear_classifier(self) -> nn.Linear:
        classifier = self.network.get_submodule(self.classifier)
        if not isinstance(classifier, nn.Linear):
            msg = f"{self.classifier} is not a linear layer; train with --recipe paper"
            raise SourceError(msg)
        return classifier

    def classifier_gradients(self) -> list[tuple[Tensor, int]]:
        """Return the classifier's gradients after a backward pass, and the features behind each.

        Returns:
            The views, to be changed in place: [num_classes, n, ...] for the n local features,
            [num_classes, F, ...] for the source's F, and the bias's [num_classes], which counts as
            the source's.
        """
        classifier = self.network.get_submodule(self.classifier)
        weight, bias = classifier.get_parameter("weight").grad, classifier.bias
        if weight is None:
            return []
        source = self.source_features
        local = weight.shape[1] - source
        found = [(weight[:, :local], local), (weight[:, local:], source)]
        if isinstance(bias, nn.Parameter) and bias.grad is not None:
            found.append((bias.grad, source))
        return [(gradient, count) for gradient, count in found if count > 0]

    def poolings(self) -> dict[str, ChannelPooling]:
        """Return the channel poolings by subscription name, in the source's order."""
        prefix = f"{POOLING}."
        return {
            name.removeprefix(prefix): layer
            for name, layer in self.network.named_modules()
            if isinstance(layer, ChannelPooling)
        }
