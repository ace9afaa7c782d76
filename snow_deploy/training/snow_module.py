"""Deltas on a source as a LightningModule, for a Trainer and loaders of anyone's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import Tensor, nn

from snow_deploy.errors import TrainingError
from snow_deploy.models.delta import Delta
from snow_deploy.training.course import Course
from snow_deploy.training.objective import make_accuracy, make_criterion
from snow_deploy.training.options import TrainOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from snow_deploy.models.source import Source

_ALONE = "task"


class SnowModule(lightning.LightningModule):
    """Trains one or several deltas on one pass of their source a batch.

    A batch begins with images, [B, 3, S, S] float32, and targets: [B] int64, or [B, C] float32
    where any number of labels may be right. Of several deltas it has a dict of targets by their
    names. The loss is the sum of theirs, and each learns from its own alone.

    It logs `loss` of each step, and `val_loss` and `val_accuracy` of each validation, of several
    deltas behind their names and a slash. Checkpoints hold no source.

    Attributes:
        deltas: The deltas by name; one alone is called `task`.
    """

    def __init__(
        self,
        source: Source,
        deltas: Delta | Mapping[str, Delta],
        options: TrainOptions | None = None,
        *,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer] | None = None,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        several: Collection[str] | bool = False,
    ) -> None:
        """Take the source, the deltas and how they are trained.

        Args:
            source: The source.
            deltas: One delta, or several by name, all built on it.
            options: Options whose recipe, batch size and seed are read; epochs are the Trainer's.
            optimizer: Function from parameter groups, those of the pooling weights with their own
                rate, to an optimiser; None for the recipe's SGD.
            schedule: Function from the optimiser to a schedule, stepped after each of its steps;
                None for the recipe's.
            several: Names of the deltas of which any number of labels may be right; True for all.

        Raises:
            TrainingError: There is no delta, or one was built on another source.
        """
        super().__init__()
        named = {_ALONE: deltas} if isinstance(deltas, nn.Module) else dict(deltas)
        _check_deltas(source, named)
        # Out of the module tree: it is in no checkpoint, and Lightning warns of parts in eval mode.
        self._outside = [source]
        self.deltas = nn.ModuleDict(named)
        self.options = options or TrainOptions()
        self._alone = isinstance(deltas, nn.Module)
        self._optimizer, self._schedule = optimizer, schedule
        smoothing = self.options.recipe.label_smoothing
        self._criteria: dict[str, nn.Module] = {}
        self._plain: dict[str, nn.Module] = {}
        accuracies = {}
        for name, delta in named.items():
            many = several if isinstance(several, bool) else name in several
            answers: Any = "several" if many else "one"
            self._criteria[name] = make_criterion(answers, smoothing)
            self._plain[name] = make_criterion(answers)
            accuracies[name] = make_accuracy(answers, delta.num_classes)
        self.accuracies = nn.ModuleDict(accuracies)
        self._courses = [Course(delta, self.options, 0) for delta in named.values()]

    @property
    def source(self) -> Source:
        """The frozen source; it goes to every device that the module goes to."""
        return self._outside[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SnowModule:  # noqa: FBT001, FBT002 - as torch's
        self.source._apply(fn, recurse)  # type: ignore[no-untyped-call] # noqa: SLF001
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Answer [B, 3, S, S] images with [B, C] logits of each delta, by its name."""
        inputs = self._inputs(images)
        return {name: delta(*inputs) for name, delta in self.deltas.items()}

    def training_step(self, batch: Sequence[Any], _index: int) -> Tensor:
        """Return the sum of the deltas' losses.

        Raises:
            TrainingError: The batch has no targets of a delta.
        """
        for course in self._courses:
            course.step = self.global_step
            course.begin_step()
        inputs = self._inputs(batch[0])
        losses = {
            name: delta.loss(*inputs, self._targets(batch, name), self._criteria[name])[0]
            for name, delta in self._each()
        }
        how: Any = {"prog_bar": True, "batch_size": len(batch[0])}
        for name, loss in losses.items():
            self.log(f"{self._prefix(name)}loss", loss.detach(), **how)
        return torch.stack(list(losses.values())).sum()

    def on_before_optimizer_step(self, _optimizer: Any) -> None:
        """Slow the classifiers down as the recipe asks, once however many passes add up."""
        for course in self._courses:
            course.after_backward()

    def validation_step(self, batch: Sequence[Any], _index: int) -> None:
        """Measure a batch.

        Raises:
            TrainingError: The batch has no targets of a delta.
        """
        for name, logits in self(batch[0]).items():
            targets, accuracy = self._targets(batch, name), self.accuracies[name]
            accuracy(logits, targets)
            prefix = self._prefix(name)
            how: Any = {"on_epoch": True, "batch_size": len(batch[0])}
            self.log(f"{prefix}val_loss", self._plain[name](logits.float(), targets), **how)
            self.log(f"{prefix}val_accuracy", accuracy, prog_bar=True, **how)  # type: ignore[arg-type]

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule, over the steps that the Trainer will take.

        Raises:
            TrainingError: The Trainer has no end.
        """
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            msg = (
                "the Trainer has no end, and a recipe's course needs one: expected max_epochs or "
                "max_steps. Give one of them."
            )
            raise TrainingError(msg)
        epochs = max(1, self.trainer.max_epochs or 1)
        self._set_out(max(1, int(total) // epochs), epochs)
        rate = self.options.learning_rate(self.trainer.world_size)
        scale = self.options.recipe.pooling_lr_scale
        groups = [
            group for _, delta in self._each() for group in delta.parameter_groups(rate, scale)
        ]
        recipe = self.options.recipe
        optimizer = (
            self._optimizer(groups)
            if self._optimizer is not None
            else torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
        )
        make = self._schedule or self._courses[0].schedule
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": make(optimizer), "interval": "step"},
        }

    def _set_out(self, steps: int, epochs: int) -> None:
        """Lay the deltas' courses over the steps of a training."""
        for course in self._courses:
            course.options = replace(self.options, epochs=epochs)
            course.steps, course.world_size = steps, self.trainer.world_size
            if course.world_size > 1:
                course.explore_together()

    def _each(self) -> list[tuple[str, Delta]]:
        return [(name, each) for name, each in self.deltas.items() if isinstance(each, Delta)]

    def _prefix(self, name: str) -> str:
        return "" if self._alone else f"{name}/"

    def _inputs(self, images: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        images = images.contiguous(memory_format=torch.channels_last)
        return images, self.source(images)

    def _targets(self, batch: Sequence[Any], name: str) -> Tensor:
        targets = batch[1] if len(batch) > 1 else None
        if isinstance(targets, Mapping):
            targets = targets.get(name)
        elif not self._alone:
            targets = None
        if not isinstance(targets, Tensor):
            expected = "images and targets" if self._alone else "images and a dict of targets"
            msg = (
                f"a batch has no targets of {name!r}, expected {expected}. Let the loader give "
                "them."
            )
            raise TrainingError(msg)
        return targets


def _check_deltas(source: Source, deltas: Mapping[str, Delta]) -> None:
    if not deltas:
        msg = "there is no delta to train, expected one or several by name. Give some."
        raise TrainingError(msg)
    for name, delta in deltas.items():
        if not isinstance(delta, Delta):
            msg = f"{name!r} is a {type(delta).__name__}, expected a Delta. Give one."
            raise TrainingError(msg)
        if delta.built_on.fingerprint != source.fingerprint:
            msg = (
                f"{name!r} was built on the source {delta.built_on.fingerprint[:12]}, not on "
                f"{source.fingerprint[:12]}. Build it on this one."
            )
            raise TrainingError(msg)
