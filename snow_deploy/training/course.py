"""A recipe's course over one network's training, step by step, whoever takes the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from snow_deploy.data.seeding import keyed_seed
from snow_deploy.errors import TrainingError
from snow_deploy.training.wrapped import unwrap_network

if TYPE_CHECKING:
    from snow_deploy.training.options import TrainOptions


class Course:
    """What a recipe asks of each step: rates, how far poolings explore, how fast norms forget.

    For each step of its optimiser a loop calls `begin_step` once, before the first forward pass,
    and `after_backward` once, behind the last backward pass, however many of them it adds up. Its
    optimiser and its schedule may be those of the recipe or any others.

    Attributes:
        options: Options of the training.
        step: Optimiser steps that have begun so far.
        steps: Number of optimiser steps in an epoch.
        world_size: Processes that share a step.
    """

    def __init__(
        self, network: nn.Module, options: TrainOptions, steps: int, world_size: int = 1
    ) -> None:
        """Take a network before its first step.

        Args:
            network: A delta, or what DistributedDataParallel or torch.compile made of it.
            options: Options of the training; its recipe, epochs, batch size and seed are read.
            steps: Optimiser steps in an epoch.
            world_size: Processes that share a step. With several, all explore the same channels.

        Raises:
            TrainingError: It is no network of a task.
        """
        self._network = unwrap_network(network)
        self._network.local_loss = options.recipe.local_loss
        self.options = options
        self.steps = steps
        self.world_size = world_size
        self.step = 0
        self._common: torch.Generator | None = None
        self._norms = [
            (layer, layer.momentum)
            for layer in self._network.modules()
            if isinstance(layer, nn.BatchNorm2d) and layer.momentum is not None
        ]
        if world_size > 1:
            self.explore_together()

    def optimizer(self) -> torch.optim.SGD:
        """Return the recipe's SGD; the pooling weights have their own rate."""
        recipe, options = self.options.recipe, self.options
        groups = self._network.parameter_groups(
            options.learning_rate(self.world_size), recipe.pooling_lr_scale
        )
        return torch.optim.SGD(
            groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the recipe's schedule for any optimiser, to be stepped after each step of it."""
        recipe, epochs = self.options.recipe, self.options.epochs
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: recipe.rate(step, self.steps, epochs)
        )

    def explore_together(self) -> None:
        """Let the poolings draw the same noise in every process, where several share a step.

        Each chooses for itself otherwise, and a channel that one of two processes has chosen gets
        half of the gradient that it would get in one.
        """
        self._common = torch.Generator()
        for pooling in self._network.poolings().values():
            pooling.generator = self._common

    def begin_step(self) -> None:
        """Let the poolings explore, and the norms forget, as much as this step asks for.

        Raises:
            TrainingError: The number of steps in an epoch is not known.
        """
        if self.steps < 1:
            msg = (
                f"a course of {self.steps} steps an epoch has none to begin, expected 1 or more. "
                "Give the number of batches of an epoch, such as len(loader)."
            )
            raise TrainingError(msg)
        options = self.options
        if self._common is not None:  # a process with too few readable pictures draws nothing
            self._common.manual_seed(keyed_seed("pooling", options.seed, self.step))
        pace = options.norm_momentum(self.step)
        for layer, momentum in self._norms:
            layer.momentum = momentum * pace
        self._network.explore(options.recipe.exploration(self.step, self.steps, options.epochs))
        self.step += 1

    def after_backward(self) -> None:
        """Slow the classifier's gradients down by how many features it reads; see `Recipe`.

        It changes the gradients that are there: once for each step of the optimiser, not for each
        of several backward passes that are added up.
        """
        recipe = self.options.recipe
        features, most = recipe.classifier_features, 1.0
        if recipe.classifier_faster:
            most = float("inf")
        if features:
            for gradient, count in self._network.classifier_gradients():
                gradient.mul_(min(most, features / count))
