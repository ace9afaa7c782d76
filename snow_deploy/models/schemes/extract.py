"""FE, feature extraction: frozen up to the third stage, a thin fourth one for each task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snow_deploy.errors import SourceError
from snow_deploy.models.mirror import Mirror
from snow_deploy.models.schemes.head import HeadNetwork

if TYPE_CHECKING:
    from snow_deploy.models.source import Source

_LAST_STAGE = "layer4."


class FeatureExtraction(HeadNetwork):
    """The source's last stage at a part of its width, on all channels of the stage before."""

    def __init__(self, source: Source, num_classes: int, width: int) -> None:
        """Mirror the last stage and the classifier, every width divided by `width`.

        Raises:
            SourceError: The source has no such stages.
        """
        readers = {name: item for item in source.anatomy.subscriptions for name in item.readers}
        first = next((name for name in readers if name.startswith(_LAST_STAGE)), None)
        if first is None:
            msg = (
                f"{source.architecture} has no fourth stage that could be trained on a frozen "
                "third one; take a ResNet, ResNeXt or Wide ResNet for --scheme fe, or another "
                "--scheme"
            )
            raise SourceError(msg)
        mirror = Mirror(source, num_classes, width=width, begin=readers[first].name)
        super().__init__(source, num_classes, mirror.build().to(memory_format=torch.channels_last))
