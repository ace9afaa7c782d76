"""The networks of the comparison schemes (SNOW, section 3), one a module, and their factory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.models.delta import Delta
from snow_deploy.models.schemes.extract import FeatureExtraction
from snow_deploy.models.schemes.linear import LinearClassifier
from snow_deploy.models.schemes.lwf import LearningWithoutForgetting
from snow_deploy.models.schemes.patch import ModelPatch
from snow_deploy.models.schemes.progressive import ProgressiveColumn
from snow_deploy.models.schemes.readout import Readout
from snow_deploy.models.schemes.whole import FineTuning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.models.options import NetworkOptions
    from snow_deploy.models.source import Source


def build_network(
    source: Source,
    num_classes: int,
    options: NetworkOptions,
    older: Sequence[int] = (),
    features: int | None = None,
) -> TaskNetwork:
    """Build a task's network by its scheme, with the weights that training begins with.

    Args:
        source: What it stands on or begins with.
        num_classes: The task's.
        options: The scheme, and a delta's shape.
        older: Classes of each task learned before into the same network, for `lf`.
        features: How many features a `readout` reads, or at first a delta's classifier that reads
            taps; None for all.

    Raises:
        SourceError: The scheme makes no sense on this source.
    """
    if options.scheme == "fe":
        return FeatureExtraction(source, num_classes, options.delta.width_divisor)
    if options.scheme == "lf":
        return LearningWithoutForgetting(source, num_classes, older)
    if options.scheme == "readout":
        return Readout(source, num_classes, features)
    plain = {
        "fo": LinearClassifier,
        "ft": FineTuning,
        "mp": ModelPatch,
        "pn": ProgressiveColumn,
    }
    if options.scheme in plain:
        return plain[options.scheme](source, num_classes)
    return Delta(source, num_classes, options.delta, features)
