"""Pre-training the demo's source: a small ResNet learns coarse questions about the pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import lightning
import torch
from torch import Tensor, nn

from snow_deploy.data import open_data
from snow_deploy.data.loading import make_loader
from snow_deploy.data.workers import workers_watched
from snow_deploy.models.weights import SourceWeights, build_architecture, from_network
from snow_deploy.training.measure import measure
from snow_deploy.training.trainer import interruptible, make_trainer, quiet_lightning
from snow_runtime.graph.manifest import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig

    from snow_deploy.data.loading import Batch


ORIGIN = "the demo's pre-training"
"""What its source says of itself, by which an earlier demo's store is known."""


@dataclass(frozen=True)
class PretrainOptions:
    """How the source is made.

    Attributes:
        data: The question it learns; related to the tasks', but coarser.
        architecture: Torchvision's name.
        image_size: Side of the input, in pixels.
        epochs: Passes over the pictures.
        batch_size: Pictures a step.
        lr: Peak learning rate of AdamW.
        seed: Seed of weights and order.
    """

    data: str = "demo:scene?train=1500&test=400&size=48&seed=1"
    architecture: str = "resnet18"
    image_size: int = 48
    epochs: int = 2
    batch_size: int = 32
    lr: float = 2e-3
    seed: int = 0


class _Pretraining(lightning.LightningModule):
    """Trains every weight of a network on one label set, with one cycle of AdamW."""

    def __init__(self, network: nn.Module, lr: float) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.lr = lr

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        images = batch.images.contiguous(memory_format=torch.channels_last)
        loss = nn.functional.cross_entropy(self.network(images), batch.targets)
        self.log("loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.05, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.lr, int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def pretrain(options: PretrainOptions, *, workers: int) -> tuple[SourceWeights, float]:
    """Train a source from scratch; return it and its own test accuracy, 0 to 1."""
    splits = open_data(options.data, seed=options.seed)
    preprocessing = Preprocessing.for_size(options.image_size, IMAGENET_MEAN, IMAGENET_STD)
    lightning.seed_everything(options.seed, verbose=False)
    network = build_architecture(options.architecture, len(splits.labels))
    loader = make_loader(
        splits.train,
        preprocessing=preprocessing,
        train=True,
        augmentation=splits.augmentation,
        batch_size=options.batch_size,
        seed=options.seed,
        workers=workers,
    )
    module = _Pretraining(network, options.lr)
    with quiet_lightning(), workers_watched():
        trainer = make_trainer(options.epochs, [])
        with interruptible(trainer, "interrupted"):
            trainer.fit(module, loader)
    accuracy = measure(network, splits.final[1], preprocessing, workers=workers)[0].accuracy
    unnamed = SourceWeights(options.architecture, {}, labels=splits.labels, origin=ORIGIN)
    return from_network(network, unnamed), accuracy
