"""The shared network: the source once, then every task's head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGITS = "logits"
"""Key of the source's own answer among its features."""


class SharedNetwork(nn.Module):
    """One image batch in, one tensor of logits per task out."""

    def __init__(
        self, source: nn.Module, deltas: Mapping[str, nn.Module], *, with_source: bool = False
    ) -> None:
        """Put deltas on a source.

        Args:
            source: [B, 3, S, S] to a mapping of features, `logits` among them.
            deltas: By task name; each takes the images and the features.
            with_source: Answer with the source's own head too, first, as `source`.
        """
        super().__init__()
        self.source = source
        self.deltas = nn.ModuleList(deltas.values())
        self.outputs = (("source",) if with_source else ()) + tuple(deltas)
        self.with_source = with_source

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Answer every task, in the order of `outputs`: [B, classes] each."""
        features = self.source(images)
        own = (features[LOGITS],) if self.with_source else ()
        return own + tuple(delta(images, features) for delta in self.deltas)
