"""Tasks on one frozen source, as Lightning trains them: one pass of the source for all."""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import Tensor, nn

from snow_deploy.data.loading import make_loader
from snow_deploy.errors import DataError, DivergedError, ResumeError
from snow_deploy.training.learner import Learner
from snow_deploy.training.replicas import all_agree, average_gradients, share_state
from snow_runtime.pictures.remarks import tell_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning.pytorch.core.optimizer import LightningOptimizer
    from torch.optim.lr_scheduler import LRScheduler
    from torch.utils.data import DataLoader

    from snow_deploy.data.loading import Batch, Sample
    from snow_deploy.data.pictures import Pictures
    from snow_deploy.models.source import Source
    from snow_runtime.graph.manifest import Preprocessing

_STATE = "learners."


class TaskModule(lightning.LightningModule):
    """Trains the networks of one or several tasks on the same pictures.

    The source runs once for a batch, under no_grad, and is not part of the checkpoint. Each
    learner then takes a step of its own, as it would alone: several passes, not one over a sum of
    losses, so that only one network's activations are held at a time.

    Logs `loss` and `accuracy` of each training epoch, and `<split>_loss` and `<split>_accuracy` of
    the evaluation split, each behind the learner's prefix; and `images_per_s`.
    """

    def __init__(
        self,
        source: Source,
        learners: Sequence[Learner],
        preprocessing: Preprocessing,
        *,
        workers: int = 2,
    ) -> None:
        """Take the source and learners whose pictures, batches and epochs are the same."""
        super().__init__()
        self.automatic_optimization = False  # every learner has an optimiser
        self.strict_loading = False  # a checkpoint has no source in it
        self.source = source
        self.learners = nn.ModuleList(learners)
        self.preprocessing = preprocessing
        self.options = learners[0].options
        self.splits = learners[0].splits
        self.workers = workers
        self.skipped: set[str] = set()

    @property
    def active(self) -> list[Learner]:
        """The learners that have not failed."""
        return [each for each in self._all() if each.failure is None]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Answer [B, 3, S, S] with [B, classes] logits of each active learner."""
        inputs = self._inputs(images)
        return [learner.network(*inputs) for learner in self.active]

    def train_dataloader(self) -> DataLoader[Sample]:
        """Give this process's share of the training pictures."""
        return self._loader(self.splits.train, train=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Give this process's share of the evaluation pictures."""
        return self._loader(self.splits.evaluation[1], train=False)

    def on_train_start(self) -> None:
        """Begin everywhere with the same weights, and explore the same channels."""
        for learner in self._all():
            if self.trainer.world_size > 1:
                learner.explore_together()
            share_state([*learner.network.parameters(), *learner.network.buffers()])

    def on_train_epoch_start(self) -> None:
        """Seed every learner's noise."""
        for learner in self._all():
            learner.begin_epoch(self.current_epoch, self.global_rank)
        self._images, self._started = 0, time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Refuse to go on where no picture at all could be read.

        Raises:
            DataError: So it was.
        """
        if self._images == 0:
            msg = (
                f"none of the {len(self.splits.train)} training pictures could be read; check the "
                f"files, such as {self.splits.train.name(0)}"
            )
            raise DataError(msg)

    def training_step(self, batch: Batch, _index: int) -> None:
        """Let every learner take a step; none is taken with fewer than two readable pictures.

        Raises:
            DivergedError: No learner is left: each loss or network has stopped being finite.
        """
        self._note_skipped(batch)
        inputs = self._inputs(batch.images) if len(batch.images) >= 2 else None
        optimizers, schedules = _listed(self.optimizers()), _listed(self.lr_schedulers())
        for learner, optimizer, schedule in zip(self._all(), optimizers, schedules, strict=True):
            if learner.failure is None:
                self._step(learner, optimizer, schedule, batch, inputs)
        self.check_what_is_left()
        if inputs is not None:
            self._images += len(batch.images) * self.trainer.world_size
            rate = self._images / (time.perf_counter() - self._started)
            self.log("images_per_s", rate, on_step=True, on_epoch=False, prog_bar=True)

    def _step(
        self,
        learner: Learner,
        optimizer: LightningOptimizer,
        schedule: LRScheduler,
        batch: Batch,
        inputs: tuple[Tensor, Mapping[str, Tensor]] | None,
    ) -> None:
        """Take one learner's step; without inputs only as the other processes wait for it."""
        parameters = list(learner.network.parameters())
        share_state(learner.network.buffers())
        learner.begin_step()
        optimizer.zero_grad()
        finite, loss = True, None
        if inputs is not None:
            loss, logits = learner.training_loss(*inputs, batch.indices)
            finite = math.isfinite(loss.item())
        if not all_agree(finite, self.device):
            value = "no finite number in another process" if loss is None else f"{loss.item()}"
            learner.failure = f"the loss became {value} in epoch {self.current_epoch + 1}"
            optimizer.zero_grad()
            return
        if loss is not None:
            self.manual_backward(loss)
            learner.slow_classifier()
        average_gradients(parameters)
        optimizer.step()
        schedule.step()
        if loss is not None:
            learner.note(loss, logits, batch.indices)
            self._log_step(learner, len(batch.indices))

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Measure a batch of the evaluation split."""
        self._note_skipped(batch)
        size = len(batch.images)
        if size == 0:
            return
        for learner, logits in zip(self.active, self(batch.images), strict=True):
            learner.evaluate(logits, batch.indices)
            name = f"{learner.prefix}{learner.split}"
            how: Any = {"on_epoch": True, "batch_size": size}
            self.log(f"{name}_loss", learner.split_loss, **how)
            shown = not learner.prefix
            self.log(f"{name}_accuracy", learner.split_accuracy, prog_bar=shown, **how)

    def on_validation_epoch_start(self) -> None:
        """Measure everywhere with the first process's statistics, and only what can be measured.

        A step may leave a network without finite weights, and after an epoch's last step no loss
        tells.

        Raises:
            DivergedError: No learner is left.
        """
        for learner in self._all():
            share_state(learner.network.buffers())
            if learner.failure is None and not all_agree(learner.is_finite(), self.device):
                epoch = self.current_epoch + 1
                learner.failure = f"its weights were no finite numbers after epoch {epoch}"
        self.check_what_is_left()

    def on_validation_epoch_end(self) -> None:
        """Let every process know which pictures the others had to skip."""
        if self.trainer.world_size > 1:
            everywhere: list[set[str]] = [set()] * self.trainer.world_size
            torch.distributed.all_gather_object(everywhere, self.skipped)
            self.skipped = set().union(*everywhere)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the learners' state only, and the names of the skipped pictures."""
        state: dict[str, Tensor] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in state.items() if k.startswith(_STATE)}
        checkpoint["skipped"] = sorted(self.skipped)
        checkpoint["learners"] = [
            {"name": each.name, "step": each.step, "failure": each.failure} for each in self._all()
        ]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what the run that is resumed knew.

        Raises:
            ResumeError: It was written by another version, or for other tasks.
        """
        kept = checkpoint.get("learners", [])
        if [each["name"] for each in kept] != [learner.name for learner in self._all()]:
            msg = (
                "the checkpoint of the interrupted run is of another version of snow-deploy, or of "
                "other tasks. Start again with --overwrite."
            )
            raise ResumeError(msg)
        self.skipped = set(checkpoint["skipped"])
        for learner, facts in zip(self._all(), kept, strict=True):
            learner.step, learner.failure = facts["step"], facts["failure"]

    def configure_optimizers(self) -> Any:
        """Return every learner's optimiser and schedule."""
        steps = int(self.trainer.estimated_stepping_batches) // self.options.epochs
        made = [learner.configure(steps, self.trainer.world_size) for learner in self._all()]
        return [optimizer for optimizer, _ in made], [
            {"scheduler": schedule, "interval": "step"} for _, schedule in made
        ]

    def _all(self) -> list[Learner]:
        return [each for each in self.learners if isinstance(each, Learner)]

    def _inputs(self, images: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return what the networks read: the images, and the source's features of them.

        One network alone gets a stream, so that the features need not all be held together.
        """
        images = images.contiguous(memory_format=torch.channels_last)
        readers = [each.network for each in self.active if each.network.reads]
        if len(readers) == 1:
            return images, self.source.stream(images, readers[0].reads)
        return images, self.source(images) if readers else {}

    def _log_step(self, learner: Learner, size: int) -> None:
        name = learner.prefix
        how: Any = {"on_epoch": True, "prog_bar": not name, "batch_size": size}
        self.log(f"{name}loss", learner.loss, on_step=True, **how)
        self.log(f"{name}accuracy", learner.accuracy, on_step=False, **how)

    def _loader(self, pictures: Pictures, *, train: bool) -> DataLoader[Sample]:
        return make_loader(
            pictures,
            preprocessing=self.preprocessing,
            train=train,
            augmentation=self.splits.augmentation,
            smallest_crop=self.options.recipe.smallest_crop,
            batch_size=self.options.batch_size,
            seed=self.options.seed,
            workers=self.workers,
            process=(self.global_rank, self.trainer.world_size),
        )

    def check_what_is_left(self) -> None:
        """Raise DivergedError where every learner was given up."""
        if not self.active:
            failures = {each.name: str(each.failure) for each in self._all()}
            raise DivergedError(self._why_nothing_is_left(), failures)

    def _why_nothing_is_left(self) -> str:
        advice = "Lower --lr, or train with --recipe steady, whose classifier learns more slowly."
        if len(self.learners) == 1:
            return f"{self._all()[0].failure}. {advice}"
        reasons = "; ".join(f"{each.name}: {each.failure}" for each in self._all())
        return f"no task is left to train ({reasons}). {advice}"

    def _note_skipped(self, batch: Batch) -> None:
        if self.global_rank == 0:
            for remark in batch.remarks:
                tell_once(remark)
        for name in sorted(set(batch.skipped) - self.skipped):
            self.skipped.add(name)
            warnings.warn(f"skipped a picture that cannot be read: {name}", stacklevel=2)


def _listed(found: Any) -> list[Any]:
    """Return what Lightning gives as one thing or as several, as a list."""
    return found if isinstance(found, list) else [found]
