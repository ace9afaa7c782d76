"""What a task's answers are trained and counted by: one label is right, or any number of them.

Axes: B pictures; C labels. Targets are classes, int64 [B], or labels, float32 [B, C] of 0 and 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy

if TYPE_CHECKING:
    from torchmetrics import Metric

    from snow_runtime.multilabel import Labelling


class BinaryCrossEntropy(nn.Module):
    """Cross-entropy of each label's own question, yes or no, a mean over labels and pictures.

    Smoothing spreads a share of each target over both answers, as for classes it is spread over
    all of them: 1 becomes 1 - share / 2, and 0 becomes share / 2.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compare logits [B, C] with labels [B, C]; a scalar, in float32 or better."""
        share = self.label_smoothing
        smooth = targets * (1 - share) + share / 2
        return nn.functional.binary_cross_entropy_with_logits(logits.to(targets.dtype), smooth)


def make_criterion(answers: Labelling, label_smoothing: float = 0.0) -> nn.Module:
    """Return the loss of logits [B, C] and targets, a mean over the batch."""
    if answers == "several":
        return BinaryCrossEntropy(label_smoothing)
    return nn.CrossEntropyLoss(label_smoothing=label_smoothing)


class LabelAccuracy(BinaryAccuracy):
    """The share of answers, one for each picture and label, that are right at 0.5.

    It is called with logits: torchmetrics itself takes those that lie in [0, 1] for probabilities.
    """

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch: logits [B, C] and labels [B, C]."""
        super().update((preds >= 0).int(), target.int())


def make_accuracy(answers: Labelling, labels: int) -> Metric:
    """Return what counts, of logits [B, C] and targets, the share of answers that are right."""
    if answers == "several":
        return LabelAccuracy()
    return MulticlassAccuracy(labels, average="micro")
