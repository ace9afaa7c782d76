"""FO, features only: a new classifier on the frozen source's pooled features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.models.schemes.head import HeadNetwork, build_head

if TYPE_CHECKING:
    from snow_deploy.models.source import Source


class LinearClassifier(HeadNetwork):
    """A classifier in the source's form; nothing else is trained."""

    def __init__(self, source: Source, num_classes: int) -> None:
        """Begin at random."""
        super().__init__(source, num_classes, build_head(source, num_classes))
