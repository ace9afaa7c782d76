"""MP, model patch: a frozen copy of the source, one trained scale a normalised channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from snow_deploy.errors import SourceError
from snow_deploy.models.schemes.head import build_head
from snow_deploy.models.schemes.whole import WholeNetwork
from snow_deploy.models.trunk import build_trunk, freeze_weights

if TYPE_CHECKING:
    from snow_deploy.models.source import Source


class ModelPatch(WholeNetwork):
    """The source with scales of its own behind every norm (Mudrakarta et al., 2019).

    The scales begin as the source's. Its other weights, the norms' shifts and statistics among
    them, are frozen and no part of the state.
    """

    def __init__(self, source: Source, num_classes: int) -> None:
        """Begin with the source's scales and a random classifier.

        Raises:
            SourceError: The source normalises nothing.
        """
        network = build_trunk(source)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
        if not norms:
            msg = (
                f"a {source.architecture} has no norms whose scales could be trained; take one "
                "that has for --scheme mp, or another --scheme"
            )
            raise SourceError(msg)
        freeze_weights(network, kept=[norm.weight for norm in norms])
        super().__init__(source, num_classes, network, build_head(source, num_classes))

    def train(self, mode: bool = True) -> ModelPatch:  # noqa: FBT001, FBT002 - as torch's
        """Keep the frozen copy in eval mode, whatever is asked."""
        super().train(mode)
        self.network.eval()
        return self
