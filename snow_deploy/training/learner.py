"""One task in training: its network, and everything of the training that is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from snow_deploy.data.multilabel import targets_of
from snow_deploy.data.seeding import keyed_seed
from snow_deploy.models.finite_values import all_finite
from snow_deploy.training.course import Course
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
        course: Course of its training; the number of steps is known once it is configured.
        failure: Reason why it learns no more; None while it does.
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
        self.course = Course(network, options, 0)
        self.noise = NoiseStream()
        self.failure: str | None = None

    def configure(
        self, steps: int, world_size: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Return SGD and the recipe's schedule, to be stepped per batch.

        Args:
            steps: Optimiser steps in an epoch.
            world_size: Processes that share a step.
        """
        self.course.steps = steps
        self.course.world_size = world_size
        self.optimizer = self.course.optimizer()
        return self.optimizer, self.course.schedule(self.optimizer)

    @property
    def step(self) -> int:
        """The optimiser steps so far."""
        return self.course.step

    @step.setter
    def step(self, step: int) -> None:
        self.course.step = step

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def is_finite(self) -> bool:
        """Tell whether all of the network's weights and statistics are finite numbers."""
        values = [*self.network.parameters(), *self.network.buffers()]
        return all(all_finite(value) for value in values)

    def begin_epoch(self, epoch: int, rank: int) -> None:
        """Seed the noise by (seed, epoch, process), so that a resumed run draws the same."""
        self.noise.seed(keyed_seed("noise", self.options.seed, epoch, rank))

    def explore_together(self) -> None:
        """Let the poolings draw the same noise in every process, where several share a step."""
        self.course.explore_together()

    def begin_step(self) -> None:
        """Let the poolings explore, and the norms forget, as much as this step asks for."""
        self.course.begin_step()

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
        self.course.after_backward()

    def note(self, loss: Tensor, logits: Tensor, indices: Tensor) -> None:
        """Count a training batch into the figures of the epoch."""
        self.accuracy(logits, self.train_targets[indices])
        self.loss(loss.detach(), len(indices))

    def evaluate(self, logits: Tensor, indices: Tensor) -> None:
        """Count a batch of the evaluation split into its figures."""
        targets = self.evaluated_targets[indices]
        self.split_accuracy(logits, targets)
        self.split_loss(self.plain_criterion(logits.float(), targets), len(indices))
