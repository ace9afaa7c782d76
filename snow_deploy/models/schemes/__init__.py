"""The networks of the comparison schemes (SNOW, section 4.2), one a module, and their factory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.models.delta import Delta

if TYPE_CHECKING:
    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.models.source import Source
    from snow_deploy.training.options import TrainOptions


def build_network(source: Source, num_classes: int, options: TrainOptions) -> TaskNetwork:
    """Build a task's network by its scheme, with the weights that training begins with.

    Raises:
        SourceError: The scheme makes no sense on this source.
    """
    return Delta(source, num_classes, options.delta)
