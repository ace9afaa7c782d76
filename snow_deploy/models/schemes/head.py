"""Networks that end in the source's classifier, made anew for the task's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.anatomy import HEAD
from snow_deploy.models.mirror import Mirror
from snow_deploy.models.network import TaskNetwork, looked_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import fx

    from snow_deploy.models.source import Source


def build_head(source: Source, num_classes: int) -> fx.GraphModule:
    """Build a fresh classifier in the source's form: images and `{HEAD: [B, F]}` to logits."""
    head = Mirror(source, num_classes, begin=HEAD).build()
    return head.to(memory_format=torch.channels_last)


class HeadNetwork(TaskNetwork):
    """A network whose last part is a `head`, from the image and features to logits.

    Attributes:
        head: Module that takes images and a mapping of features.
        classifier: Name of the layer in it that has a row of weights for each class.
    """

    def __init__(self, source: Source, num_classes: int, head: fx.GraphModule) -> None:
        """Take the head."""
        super().__init__()
        self.num_classes = num_classes
        self.classifier = source.anatomy.classifier
        self.head = head

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Answer one task: [B, 3, H, W] images and the source's features to [B, C] logits."""
        logits: Tensor = self.head(images, features)
        return logits

    @property
    def reads(self) -> tuple[str, ...]:
        """Where it begins."""
        return looked_up(self.head)

    @torch.no_grad()
    def start_classifier(self, linear: nn.Linear) -> None:
        """Let the classifier begin as another one of the same shape.

        Raises:
            SourceError: It is a convolution, or of another shape.
        """
        classifier = self.head.get_submodule(self.classifier)
        if not isinstance(classifier, nn.Linear) or classifier.weight.shape != linear.weight.shape:
            msg = (
                f"{self.classifier} cannot begin as a linear classifier of {linear.in_features} "
                f"features and {linear.out_features} classes; train with --recipe paper"
            )
            raise SourceError(msg)
        classifier.load_state_dict(linear.state_dict())

    def classifier_gradients(self) -> list[tuple[Tensor, int]]:
        """Return the gradients of the classifier's weight and bias, and the features it reads."""
        classifier = self.head.get_submodule(self.classifier)
        features = classifier.get_parameter("weight").shape[1]
        gradients = [parameter.grad for parameter in classifier.parameters()]
        return [(gradient, features) for gradient in gradients if gradient is not None]
