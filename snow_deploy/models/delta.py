"""The delta: a task's own thin copy of the source, subscribed to the source's features."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.blocks import left_out, stage_begin
from snow_deploy.models.built_on import BuiltOn
from snow_deploy.models.features import refuse_other_features
from snow_deploy.models.lean_graph import LeanGraph
from snow_deploy.models.mirror import POOLING, Mirror
from snow_deploy.models.network import TaskNetwork, looked_up
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.pooling import ChannelPooling, drawn_together
from snow_deploy.models.subscriptions import make_subscription
from snow_deploy.models.tap_readout import TapReadout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snow_deploy.models.source import Source
    from snow_deploy.models.tap_readout import TapStart


class Delta(TaskNetwork):
    """A task's network: images and the source's features in, logits out.

    Attributes:
        network: What answers from images and the subscribed features.
        tap_readout: The rest of its classifier, where that reads chosen features of all taps; both
            answers are added up. Else None.
    """

    tap_readout: TapReadout | None

    def __init__(
        self,
        source: Source,
        num_classes: int,
        options: DeltaOptions | None = None,
        features: int | None = None,
    ) -> None:
        """Mirror the source's graph with every width divided; fresh weights, channels_last.

        Args:
            source: The source; it returns its taps' means from now on where those are read.
            num_classes: C, the task's classes.
            options: The shape; None for the usual one.
            features: How many of the taps' features are read at first; None for all.

        Raises:
            SourceError: The source is none, has a layer that cannot be mirrored, or no blocks or
                stages as the options ask for; or classes or options are out of range.
        """
        super().__init__()
        options = options or DeltaOptions()
        _check_given(source, num_classes, options)
        anatomy = source.anatomy
        self.options = options
        self.built_on = BuiltOn(source, source.fingerprint)
        self.num_classes = num_classes
        self.classifier = source.anatomy.classifier
        reads_taps = options.classifier_reads == "taps"
        self.source_features = 0 if reads_taps else anatomy.head_channels
        self.network = Mirror(
            source,
            num_classes,
            width=options.width_divisor,
            subscribe=lambda channels: make_subscription(channels, options),
            begin=stage_begin(anatomy.blocks, options.from_stage, source.architecture),
            left_out=left_out(anatomy.blocks, options.blocks, source.architecture),
            reads_head=not reads_taps,
        ).build()
        self.tap_readout = None
        if reads_taps:
            self._linear_classifier("leave --classifier-reads out")
            self.tap_readout = TapReadout(source, num_classes, features)
        self.to(memory_format=torch.channels_last)  # always: another layout rounds otherwise
        self._lean: list[LeanGraph] = []  # out of the module tree: the layers are there

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Answer one task: [B, 3, H, W] images and the source's features to [B, C] logits.

        Raises:
            SourceError: The features are those of another source.
        """
        poolings = self.poolings()
        widths = {name: pooling.channels for name, pooling in poolings.items()}
        refuse_other_features(features, self.reads, widths, self.built_on.fingerprint)
        with drawn_together(poolings.values()):
            answer: LeanGraph | nn.Module = self.network
            if self.training and torch.is_grad_enabled():
                answer = self._kept_lean()
            logits: Tensor = answer(images, features)
        return logits if self.tap_readout is None else logits + self.tap_readout(features)

    def _kept_lean(self) -> LeanGraph:
        if not self._lean:
            self._lean = [LeanGraph(self.network)]
        return self._lean[0]

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
        """What it subscribes to, and what the source's classifier reads or the taps' means."""
        taps = () if self.tap_readout is None else tuple(self.tap_readout.feature_widths)
        return looked_up(self.network) + taps

    @torch.no_grad()
    def start_classifier(self, linear: nn.Linear) -> None:
        """Let the classifier begin as one that reads the source's pooled features alone.

        Args:
            linear: Linear layer from the F pooled source features to the task's classes.

        Raises:
            SourceError: The source's classifier is a convolution, the sizes differ, or it reads
                taps.
        """
        if self.tap_readout is not None:
            msg = (
                f"{self.classifier} reads taps and not the source's last features; it begins as a "
                "readout's fit, by `snow-deploy train --recipe steady`. Leave this start out"
            )
            raise SourceError(msg)
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

    def _linear_classifier(self, advice: str = "train with --recipe paper") -> nn.Linear:
        classifier = self.network.get_submodule(self.classifier)
        if not isinstance(classifier, nn.Linear):
            msg = f"{self.classifier} is not a linear layer; {advice}"
            raise SourceError(msg)
        return classifier

    def classifier_gradients(self) -> list[tuple[Tensor, int]]:
        """Return the classifier's gradients after a backward pass, and the features behind each.

        Returns:
            The views, to be changed in place: [num_classes, n, ...] for the n local features,
            [num_classes, F, ...] for the source's F, and the bias's [num_classes], which counts as
            the source's; in the place of the source's F those of the taps, where it reads them.
        """
        classifier = self.network.get_submodule(self.classifier)
        weight, bias = classifier.get_parameter("weight").grad, classifier.bias
        if weight is None:
            return []
        source = self.source_features
        local = weight.shape[1] - source
        found = [(weight[:, :local], local), (weight[:, local:], source)]
        if isinstance(bias, nn.Parameter) and bias.grad is not None:
            found.append((bias.grad, source or local))
        if self.tap_readout is not None:
            linear = self.tap_readout.linear
            both = (linear.weight.grad, linear.bias.grad)
            found += [(each, linear.in_features) for each in both if each is not None]
        return [(gradient, count) for gradient, count in found if count > 0]

    @torch.no_grad()
    def start_taps(self, begin: TapStart) -> None:
        """Let the classifier begin as a fitted readout, blind to the local features.

        Raises:
            SourceError: It does not read taps.
        """
        if self.tap_readout is None:
            msg = f"{self.classifier} does not read taps; build it with classifier_reads='taps'"
            raise SourceError(msg)
        self.tap_readout.start(begin)
        classifier = self._linear_classifier()
        classifier.weight.zero_()
        classifier.bias.zero_()

    def tap_selections(self) -> dict[str, tuple[int, ...]]:
        """Return the chosen channels by tap."""
        return {} if self.tap_readout is None else self.tap_readout.selections()

    def poolings(self) -> dict[str, ChannelPooling]:
        """Return the channel poolings by subscription name, in the source's order."""
        prefix = f"{POOLING}."
        return {
            name.removeprefix(prefix): layer
            for name, layer in self.network.named_modules()
            if isinstance(layer, ChannelPooling)
        }


def _check_given(source: object, num_classes: object, options: DeltaOptions) -> None:
    """Refuse what would fail far from here, or only when it is used."""
    if not hasattr(source, "anatomy"):
        msg = (
            f"a {type(source).__name__} is no source that a delta could be built on. Make one of a "
            "network first: snow_deploy.Source.of(network)."
        )
        raise SourceError(msg)
    if not isinstance(num_classes, Integral) or num_classes < 1:
        msg = f"a delta was asked for {num_classes!r} classes, expected a whole number from 1 on."
        raise SourceError(msg)
    for name, (holds, expected) in options.ranges().items():
        if not holds:
            msg = f"the delta's option {name} is out of range; expected {expected}."
            raise SourceError(msg)
