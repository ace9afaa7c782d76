"""LF, learning without forgetting: one network for all tasks, learned one after the other."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from snow_deploy.errors import StoreError
from snow_deploy.models.anatomy import HEAD
from snow_deploy.models.schemes.head import build_head
from snow_deploy.models.schemes.whole import WholeNetwork
from snow_deploy.models.trunk import build_trunk, freeze_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import fx

    from snow_deploy.models.source import Source

TEMPERATURE = 2.0
OLD_TASKS_WEIGHT = 1.0
"""Lambda of the paper: of the old tasks' loss over the new one's."""


class LearningWithoutForgetting(WholeNetwork):
    """A shared network with a head for each task so far (Li & Hoiem, 2016).

    All of it is trained on the newest task's pictures. The older heads are held to what they
    answered on the same pictures before.

    Attributes:
        older: The heads of the tasks before, in the order in which they were learned.
        teacher: Network and older heads before the newest task, frozen, only while that is
            learned; no part of the state.
    """

    teacher: nn.ModuleList | None
    fuses: ClassVar[bool] = False

    def __init__(self, source: Source, num_classes: int, older: Sequence[int] = ()) -> None:
        """Begin with the source's weights and random heads.

        Args:
            source: The original.
            num_classes: Number of classes of the newest task.
            older: Classes of each task before, in order.
        """
        super().__init__(source, num_classes, build_trunk(source), build_head(source, num_classes))
        self.older = nn.ModuleList(build_head(source, classes) for classes in older)
        self.teacher = None

    def follow(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the network of the task before, and keep a frozen copy as the teacher.

        Args:
            state: State of that task's network; its newest head becomes the last of the older ones.

        Raises:
            StoreError: It is the state of another network.
        """
        last = f"older.{len(self.older) - 1}."
        wanted = {
            last + key.removeprefix("head.") if key.startswith("head.") else key: value
            for key, value in state.items()
        }
        try:
            fits = self.load_state_dict(wanted, strict=False)
        except RuntimeError as error:
            msg = f"the task to go on from is of another network: {error}"
            raise StoreError(msg) from error
        foreign = [key for key in fits.missing_keys if not key.startswith("head.")]
        foreign += fits.unexpected_keys
        if foreign:
            msg = (
                f"the task to go on from is of another network: {foreign[0]} is in one of them only"
            )
            raise StoreError(msg)
        self.teacher = copy.deepcopy(nn.ModuleList([self.network, *self.older]))
        freeze_weights(self.teacher)

    def train(self, mode: bool = True) -> LearningWithoutForgetting:  # noqa: FBT001, FBT002
        """Keep the teacher in eval mode, whatever is asked."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def loss(
        self,
        images: Tensor,
        features: Mapping[str, Tensor],
        targets: Tensor,
        criterion: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Add to the newest task's loss each older head's distance from the teacher's answers.

        That is the cross-entropy of both answers' softmax at temperature 2, a mean over the
        batch, as Li & Hoiem write it (their equations 2 to 4): not times the temperature's
        square, as Hinton et al. have it. The heads' losses are added up.
        """
        if self.teacher is None:
            return super().loss(images, features, targets, criterion)
        pooled = {HEAD: self.network(images)}
        logits: Tensor = self.head(images, pooled)
        total = criterion(logits, targets)
        taughts = self._taught(self.teacher, images)
        for head, taught in zip(self.older, taughts, strict=True):
            total = total + OLD_TASKS_WEIGHT * distillation(head(images, pooled), taught)
        return total, logits

    @staticmethod
    @torch.no_grad()
    def _taught(teacher: nn.ModuleList, images: Tensor) -> list[Tensor]:
        """Return the teacher's logits, one for each older head."""
        network, *heads = teacher
        pooled = {HEAD: network(images)}
        return [head(images, pooled) for head in heads]


def distillation(logits: Tensor, taught: Tensor) -> Tensor:
    """Return the cross-entropy of two answers [B, C] at temperature 2, a mean over the batch."""
    wanted = (taught.float() / TEMPERATURE).softmax(1)
    return nn.functional.cross_entropy(logits.float() / TEMPERATURE, wanted)


def older_task(network: LearningWithoutForgetting, source: Source, position: int) -> WholeNetwork:
    """Return a network that answers an older task with what is shared now; it shares weights."""
    head: fx.GraphModule = network.older[position]  # type: ignore[assignment]
    classes = head.get_submodule(network.classifier).get_parameter("weight").shape[0]
    return WholeNetwork(source, classes, network.network, head)
