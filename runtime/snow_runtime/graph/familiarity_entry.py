"""What a task's training pictures look like to the source, as a manifest has it."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document
from snow_runtime.graph.field_checks import Positive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snow_runtime.graph.features_entry import TapEntry

BYTES_A_FEATURE: Final = 8
"""Of a centre and a scale, float32 both; an axis adds one byte more."""


@dataclass(frozen=True)
class FamiliarityEntry(Document):
    """A space of few axes that the training pictures' features lie near.

    See :mod:`snow_runtime.confidence.familiarity` for what is computed.

    Attributes:
        taps: The taps whose features are looked at, in the order of the graph's.
        features: K, how many features those have together.
        axes: R, how many axes the space has.
        pictures: How many training pictures it was fitted on.
        held_out: How many others the bound was found on.
        kept: Share of the rightly answered ones of those that is within the bound, in [0, 1]; of
            all where next to none are.
        distance: Mean and standard deviation of the held-out pictures' distances from the space.
        energy: Mean and standard deviation of their energies; none where several labels may be
            right.
        bound: Largest sum of both, each less its mean and over its deviation, that is familiar.
        space: The centre and the scales, little-endian float32 `[K]` each, the axes' largest
            values, float32 `[R]`, and the axes in 127ths of those, int8 `[R, K]`, in base64.
    """

    prefix: ClassVar[str] = "familiarity."

    taps: tuple[str, ...]
    features: Positive
    axes: Positive
    pictures: Positive
    held_out: Positive
    kept: field_checks.Proportion
    distance: Annotated[tuple[float, ...], field_checks.moments]
    energy: Annotated[tuple[float, ...], field_checks.moments_or_none]
    bound: float
    space: str

    def __post_init__(self) -> None:
        super().__post_init__()
        place, content = self._place("space"), self.content()
        wanted = self.features * (BYTES_A_FEATURE + self.axes) + 4 * self.axes
        if len(content) != wanted:
            raise field_checks.refusal(place, self.space, f"{wanted} bytes in base64")
        numbers = array("f", content[: 4 * (2 * self.features + self.axes)])
        if sys.byteorder == "big":
            numbers.byteswap()
        scales = numbers[self.features : 2 * self.features]
        if not all(map(math.isfinite, numbers)) or min(scales) <= 0:
            raise field_checks.refusal(place, self.space, "finite numbers, scales above 0")

    def check_taps(self, taps: Iterable[TapEntry]) -> None:
        """Check that these are among the taps of a graph or a readout, with as many features.

        Raises:
            ManifestError: They are not.
        """
        channels = {tap.name: tap.channels for tap in taps}
        place = self._place("taps")
        for name in self.taps:
            if name not in channels:
                raise field_checks.refusal(place, name, f"one of {', '.join(channels)}")
        found = sum(channels[name] for name in self.taps)
        if found != self.features:
            raise field_checks.refusal(self._place("features"), self.features, f"{found}")

    def content(self) -> bytes:
        """Give the bytes of `space`; none where it is no base64."""
        try:
            return base64.b64decode(self.space, validate=True)
        except (binascii.Error, ValueError):
            return b""
