"""One task on a frozen source, as Lightning trains it."""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from snow_deploy.data.loading import make_loader
from snow_deploy.data.seeding import keyed_seed
from snow_deploy.errors import DataError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
    from torch.utils.data import DataLoader

    from snow_deploy.data.loading import Batch, Sample
    from snow_deploy.data.pictures import Pictures, Splits
    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.models.source import Source
    from snow_deploy.training.options import TrainOptions
    from snow_runtime.manifest import Preprocessing


class TaskModule(lightning.LightningModule):
    """Trains a task's network; the source runs under no_grad and is not part of the checkpoint.

    Logs `loss`, `accuracy` and `images_per_s` of each training epoch, and `<split>_loss` and
    `<split>_accuracy` of the evaluation split.
    """

    def __init__(
        self,
        source: Source,
        delta: TaskNetwork,
        splits: Splits,
        preprocessing: Preprocessing,
        options: TrainOptions,
        *,
        workers: int = 2,
    ) -> None:
        """Take the networks, the data and the options."""
        super().__init__()
        self.strict_loading = False  # a checkpoint has no source in it
        self.source = source
        self.delta = delta
        self.splits = splits
        self.preprocessing = preprocessing
        self.options = options
        self.workers = workers
        self.split, self.evaluated = splits.evaluation
        classes = len(splits.labels)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=options.recipe.label_smoothing)
        self.loss = MeanMetric()
        self.accuracy = MulticlassAccuracy(classes, average="micro")
        self.split_accuracy = MulticlassAccuracy(classes, average="micro")
        self.split_loss = MeanMetric()
        self.norms = [
            (layer, layer.momentum)
            for layer in delta.modules()
            if isinstance(layer, nn.BatchNorm2d) and layer.momentum is not None
        ]
        self.skipped: set[str] = set()
        self.steps = 0  # of the optimiser in an epoch, once it is known

    def forward(self, images: Tensor) -> Tensor:
        """Answer [B, 3, S, S] with [B, classes] logits."""
        logits: Tensor = self.delta(*self._inputs(images))
        return logits

    def train_dataloader(self) -> DataLoader[Sample]:
        """Give this process's share of the training pictures."""
        return self._loader(self.splits.train, train=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Give this process's share of the evaluation pictures."""
        return self._loader(self.evaluated, train=False)

    def on_train_epoch_start(self) -> None:
        """Seed the noise by (seed, epoch, process), so that a resumed run draws the same."""
        options = self.options
        seed = keyed_seed("noise", options.seed, self.current_epoch, self.global_rank)
        torch.manual_seed(seed)
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

    def on_train_batch_start(self, _batch: Batch, _index: int) -> None:
        """Let the poolings explore, and the norms forget, as much as this step asks for."""
        recipe, epochs = self.options.recipe, self.options.epochs
        pace = self.options.norm_momentum(self.trainer.global_step)
        for layer, momentum in self.norms:
            layer.momentum = momentum * pace
        exploration = recipe.exploration(self.trainer.global_step, self.steps, epochs)
        for pooling in self.delta.poolings().values():
            pooling.exploration = exploration

    def training_step(self, batch: Batch, _index: int) -> Tensor | None:
        """Return the loss of a batch, or None where too few of its pictures could be read.

        Raises:
            TrainingError: The loss is not finite.
        """
        self._note_skipped(batch)
        if len(batch.images) < 2:
            return self._no_loss()
        images, features = self._inputs(batch.images)
        loss, logits = self.delta.loss(images, features, batch.targets, self.criterion)
        if not math.isfinite(loss.item()):
            msg = (
                f"the loss became {loss.item()} in epoch {self.current_epoch + 1}. Lower --lr, "
                "or train with --recipe steady, whose classifier learns more slowly."
            )
            raise TrainingError(msg)
        self.accuracy(logits, batch.targets)
        self._images += len(batch.images) * self.trainer.world_size
        rate = self._images / (time.perf_counter() - self._started)
        size = len(batch.images)
        self.loss(loss.detach(), size)
        self.log("loss", self.loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=size)
        self.log(
            "accuracy", self.accuracy, on_step=False, on_epoch=True, prog_bar=True, batch_size=size
        )
        self.log("images_per_s", rate, on_step=True, on_epoch=False, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Measure a batch of the evaluation split."""
        self._note_skipped(batch)
        size = len(batch.images)
        if size == 0:
            return
        logits = self(batch.images)
        self.split_accuracy(logits, batch.targets)
        self.split_loss(nn.functional.cross_entropy(logits.float(), batch.targets), size)
        self.log(f"{self.split}_loss", self.split_loss, on_epoch=True, batch_size=size)
        self.log(
            f"{self.split}_accuracy",
            self.split_accuracy,
            on_epoch=True,
            prog_bar=True,
            batch_size=size,
        )

    def on_validation_epoch_end(self) -> None:
        """Let every process know which pictures the others had to skip."""
        if self.trainer.world_size > 1:
            everywhere: list[set[str]] = [set()] * self.trainer.world_size
            torch.distributed.all_gather_object(everywhere, self.skipped)
            self.skipped = set().union(*everywhere)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the delta's state only, and the names of the skipped pictures."""
        state: dict[str, Tensor] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in state.items() if k.startswith("delta.")}
        checkpoint["skipped"] = sorted(self.skipped)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the names of the run that is resumed."""
        self.skipped = set(checkpoint["skipped"])

    def on_before_optimizer_step(self, _optimizer: torch.optim.Optimizer) -> None:
        """Slow the classifier down by how many features it reads; see `Recipe`."""
        features = self.options.recipe.classifier_features
        if features:
            for gradient, count in self.delta.classifier_gradients():
                gradient.mul_(min(1.0, features / count))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return SGD with the recipe's schedule, stepped per batch."""
        recipe, options = self.options.recipe, self.options
        rate = options.learning_rate(self.trainer.world_size)
        poolings = [pooling.weight for pooling in self.delta.poolings().values()]
        own = {id(weight) for weight in poolings}
        others = [weight for weight in self.delta.parameters() if id(weight) not in own]
        optimizer = torch.optim.SGD(
            [
                {"params": others, "lr": rate},
                {"params": poolings, "lr": rate * recipe.pooling_lr_scale},
            ],
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        steps = int(self.trainer.estimated_stepping_batches) // options.epochs
        self.steps = steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: recipe.rate(step, steps, options.epochs)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _inputs(self, images: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return what the task's network reads: the images, and the source's features of them."""
        images = images.contiguous(memory_format=torch.channels_last)
        return images, self.source(images) if self.delta.needs_source else {}

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

    def _no_loss(self) -> Tensor | None:
        """Skip a step; among several processes take part in it, for the others wait."""
        if self.trainer.world_size == 1:
            return None
        return torch.stack([value.sum() for value in self.delta.parameters()]).sum() * 0.0

    def _note_skipped(self, batch: Batch) -> None:
        for name in sorted(set(batch.skipped) - self.skipped):
            self.skipped.add(name)
            warnings.warn(f"skipped a picture that cannot be read: {name}", stacklevel=2)
