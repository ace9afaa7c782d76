"""One task in training: its network, and everything of the training that is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from snow_deploy.data.multilabel import targets_of
from snow_deploy.data.seeding import keyed_seed
from snow_deploy.training.noise_stream import NoiseStream
from snow_deploy.training.objective import make_accuracy, make_criterion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.training.options import TrainOptions


class Learner(nn.Module):
    """A task's network with its labels, loss, optimiser, schedule, noise and figures.

    Nothing in it depends on which other tasks learn from the same pass of the source.

    Attributes:
        prefix: Text before the names of its logged figures; empty for a task that trains alone.
        step: Optimiser steps so far.
        steps: Number of steps in an epoch, once it is known.
        failure: Reason why it learns no more; None while it does.
        common: Generator of the poolings' noise, the same in every process; None in one process.
    """

    train_targets: Tensor
    evaluated_targets: Tensor

    def __init__(
        self,
        name: str,
        network: TaskNetwork,
        splits: Splits,
        options: TrainOptions,
        *,
        alone: bool = True,
    ) -> None:
        """Take a task; `alone` unless others train on the same pass of the source."""
        super().__init__()
        self.name = name
        self.network = network
        self.splits = splits
        self.options = options
        self.prefix = "" if alone else f"{name}/"
        self.split, self.evaluated = splits.evaluation
        self.register_buffer(
            "train_targets", torch.from_numpy(targets_of(splits.train)), persistent=False
        )
        self.register_buffer(
            "evaluated_targets", torch.from_numpy(targets_of(self.evaluated)), persistent=False
        )
        self.criterion = make_criterion(splits.answers, options.recipe.label_smoothing)
        self.plain_criterion = make_criterion(splits.answers)
        self.loss = MeanMetric()
        self.accuracy = make_accuracy(splits.answers, len(splits.labels))
        self.split_loss = MeanMetric()
        self.split_accuracy = make_accuracy(splits.answers, len(splits.labels))
        network.local_loss = options.recipe.local_loss
        self.norms = [
            (layer, layer.momentum)
            for layer in network.modules()
            if isinstance(layer, nn.BatchNorm2d) and layer.momentum is not None
        ]
        self.noise = NoiseStream()
        self.common: torch.Generator | None = None
        self.step = 0
        self.steps = 0
        self.failure: str | None = None

    def configure(
        self, steps: int, world_size: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Return SGD and the recipe's schedule, to be stepped per batch.

        Args:
            steps: Optimiser steps in an epoch.
            world_size: Processes that share a step.
        """
        recipe, options = self.options.recipe, self.options
        rate = options.learning_rate(world_size)
        poolings = [pooling.weight for pooling in self.network.poolings().values()]
        own = {id(weight) for weight in poolings}
        others = [weight for weight in self.network.parameters() if id(weight) not in own]
        self.steps = steps
        self.optimizer = torch.optim.SGD(
            [
                {"params": others, "lr": rate},
                {"params": poolings, "lr": rate * recipe.pooling_lr_scale},
            ],
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: recipe.rate(step, steps, options.epochs)
        )
        return self.optimizer, schedule

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def is_finite(self) -> bool:
        """Tell whether all of the network's weights and statistics are finite numbers."""
        values = [*self.network.parameters(), *self.network.buffers()]
        return all(bool(value.isfinite().all()) for value in values)

    def begin_epoch(self, epoch: int, rank: int) -> None:
        """Seed the noise by (seed, epoch, process), so that a resumed run draws the same."""
        self.noise.seed(keyed_seed("noise", self.options.seed, epoch, rank))

    def explore_together(self) -> None:
        """Let the poolings draw the same noise in every process, where several share a step.

        Each chooses for itself otherwise, and a channel that one of two processes has chosen gets
        half of the gradient that it would get in one.
        """
        self.common = torch.Generator()
        for pooling in self.network.poolings().values():
            pooling.generator = self.common

    def begin_step(self) -> None:
        """Let the poolings explore, and the norms forget, as much as this step asks for."""
        recipe, epochs = self.options.recipe, self.options.epochs
        if self.common is not None:  # a process with too few readable pictures draws nothing
            self.common.manual_seed(keyed_seed("pooling", self.options.seed, self.step))
        pace = self.options.norm_momentum(self.step)
        for layer, momentum in self.norms:
            layer.momentum = momentum * pace
        exploration = recipe.exploration(self.step, self.steps, epochs)
        for pooling in self.network.poolings().values():
            pooling.exploration = exploration
        self.step += 1

    def training_loss(
        self, images: Tensor, features: Mapping[str, Tensor], indices: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the loss on training pictures, and the logits.

        Args:
            images: [B, 3, S, S] float32.
            features: The source's, of the same pictures.
            indices: [B] int64, which pictures of the training split they are.
        """
        targets = self.train_targets[indices]
        with self.noise.drawn():
            return self.network.loss(images, features, targets, self.criterion)

    def slow_classifier(self) -> None:
        """Slow the classifier down by how many features it reads; see `Recipe`."""
        recipe = self.options.recipe
        features, most = recipe.classifier_features, 1.0
        if recipe.classifier_faster:
            most = float("inf")
        if features:
            for gradient, count in self.network.classifier_gradients():
                gradient.mul_(min(most, features / count))

    def note(self, loss: Tensor, logits: Tensor, indices: Tensor) -> None:
        """Count a training batch into the figures of the epoch."""
        self.accuracy(logits, self.train_targets[indices])
        self.loss(loss.detach(), len(indices))

    def evaluate(self, logits: Tensor, indices: Tensor) -> None:
        """Count a batch of the evaluation split into its figures."""
        targets = self.evaluated_targets[indices]
        self.split_accuracy(logits, targets)
        self.split_loss(self.plain_criterion(logits.float(), targets), len(indices))
