"""One training step of a scheme, ready to be called: what its speed and memory are measured on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snow_deploy.models.source import Source
from snow_deploy.paper.measure.networks import new_task, random_weights
from snow_deploy.training.options import TrainOptions
from snow_deploy.training.precision import autocast_dtype
from snow_runtime.graph.image_size import height_width

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

WARM_UP = 3


@dataclass(frozen=True)
class StepSetup:
    """What a step is measured on.

    Attributes:
        options: Scheme, delta, batch size, image size and precision.
        architecture: Architecture of the source, torchvision's name.
        source_classes: Number of classes of its own head.
        classes: Number of classes of each of the tasks so far; the last one is trained.
    """

    options: TrainOptions
    architecture: str
    source_classes: int
    classes: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StepSetup:
        """Read what `to_dict` wrote."""
        return cls(
            TrainOptions.from_dict(values["options"]),
            values["architecture"],
            values["source_classes"],
            tuple(values["classes"]),
        )


class TrainingStep:
    """Networks on a device, an optimiser and one batch of random pictures.

    On the device are only the networks that the step needs.
    """

    def __init__(self, setup: StepSetup, device: torch.device) -> None:
        """Build all of it; nothing is computed yet."""
        options = setup.options
        source = Source(random_weights(setup.architecture, setup.source_classes))
        self.device = device
        self.network = new_task(source, options, setup.classes).to(device).train()
        self.network.local_loss = options.recipe.local_loss  # as in training
        self.source = source.to(device) if self.network.reads else None
        self.criterion = nn.CrossEntropyLoss()
        recipe = options.recipe
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=1e-3,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,  # as in training
        )
        # fp16's loss scale is left out: it would change neither time nor memory
        self.dtype = autocast_dtype(options.precision, device)
        height, width = height_width(options.image_size)
        if self.source is not None:
            self.source.pack(options.batch_size, options.image_size, self.dtype)  # as in training
        images = torch.randn(options.batch_size, 3, height, width, device=device)
        self.images = images.to(memory_format=torch.channels_last)
        self.targets = torch.randint(setup.classes[-1], (options.batch_size,), device=device)

    def __call__(self) -> None:
        """Run forward and backward pass and move the weights."""
        self.optimizer.zero_grad()
        enabled = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=enabled):
            features = self._features()
            loss, _ = self.network.loss(self.images, features, self.targets, self.criterion)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _features(self) -> Mapping[str, Tensor]:
        if self.source is None:
            return {}
        return self.source.stream(self.images, self.network.reads)  # as in training

    def held_bytes(self) -> int:
        """Return the size of the networks that the step needs, packed copies too."""
        modules: list[nn.Module] = [self.network]
        if self.source is not None:
            modules += [self.source, *self.source.packed]
        tensors: list[Tensor] = []
        for module in modules:
            tensors += [*module.parameters(), *module.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
