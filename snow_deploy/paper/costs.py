"""For which tasks and how thoroughly costs are counted and measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from snow_deploy.paper.measure.networks import random_weights
from snow_deploy.paper.measure.step import StepSetup
from snow_deploy.paper.measure.steps import Effort, StepFigures
from snow_deploy.paper.printed import ARCHITECTURE, CLASSES, SOURCE_CLASSES, is_papers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.models.network import Scheme
    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.options import TrainOptions


@dataclass(frozen=True)
class Costing:
    """What costs are of: the paper's networks, unless something else is asked for.

    Attributes:
        architecture: Architecture of the source, torchvision's name.
        source_classes: Number of classes of its own head, which counts as a task.
        classes: Number of classes of each task beside it.
        effort: How thoroughly steps are timed.
        batches: Pictures a step, of the schemes that don't take the study's batch.
        speed: Whether to measure at all, or only to count.
    """

    architecture: str = ARCHITECTURE
    source_classes: int = SOURCE_CLASSES
    classes: tuple[int, ...] = CLASSES
    effort: Effort = field(default_factory=Effort)
    batches: Mapping[Scheme, int] = field(default_factory=dict)
    speed: bool = True

    def setup(self, options: TrainOptions) -> StepSetup:
        """Return what a step with these options is measured on."""
        batch = self.batches.get(options.scheme, options.batch_size)
        return StepSetup(
            replace(options, batch_size=batch),
            self.architecture,
            self.source_classes,
            self.classes,
        )

    def weights(self) -> SourceWeights:
        """Return random weights of the source, to count on."""
        return random_weights(self.architecture, self.source_classes)

    def is_papers(self) -> bool:
        """Tell whether parameters may stand beside the paper's."""
        return is_papers(self.architecture, self.source_classes, self.classes)

    def facts(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "architecture": self.architecture,
            "source_classes": self.source_classes,
            "classes": list(self.classes),
            **({"steps": self.effort.steps, "rounds": self.effort.rounds} if self.speed else {}),
        }

    def note(self) -> str:
        """Say what was counted."""
        return (
            f"parameters in millions: {self.architecture} with {self.source_classes} classes of "
            f"its own and tasks of {', '.join(map(str, self.classes))}."
        )


def speed_note(figures: Mapping[str, StepFigures], image_size: int, device: str) -> str:
    """Say what the speeds and peaks are of."""
    batches = {figure.batch for figure in figures.values()}
    batch = f"batch {batches.pop()}" if len(batches) == 1 else "the batch of the column"
    return (
        f"training step at {image_size} px, {batch}, random weights and pictures, on {device}; "
        "least of several rounds in turns; the loading of pictures is left out. The peak is of "
        "tensors that are there at once: the networks that a step needs, and what it adds."
    )


def serving_note(costing: Costing, image_size: int, device: str) -> str:
    """Say what serving speeds are of."""
    return (
        f"pictures a second at {image_size} px that get the answers of "
        f"{1 + len(costing.classes)} tasks, the source's own included: torch, fp32, norms folded, "
        f"random weights, on {device}; ft is separate models."
    )


def ratio(value: float | None, base: float | None) -> float | None:
    """Return value / base; None where one of them isn't known."""
    return value / base if value is not None and base else None


def to_megabytes(size_bytes: int) -> float:
    """Return a size in units of a million bytes."""
    return size_bytes / 1e6
