"""What one pass of a source gives, and whether it is the pass that a task's network needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, fx

from snow_deploy.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Features(dict[str, Tensor]):
    """The source's features of a batch by name, and which source they are of.

    Attributes:
        source_sha256: Fingerprint of the source; empty where it is not known, as in the copies
            that DistributedDataParallel makes for a device.
    """

    def __init__(
        self,
        features: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] = (),
        source_sha256: str = "",
    ) -> None:
        super().__init__(features)
        self.source_sha256 = source_sha256


def refuse_other_features(
    features: Mapping[str, Tensor], reads: Iterable[str], widths: Mapping[str, int], source: str
) -> None:
    """Check that a pass is one of the source that a network was built on.

    Only a pass that is there as a whole is looked at: a stream computes what it is asked for.

    Args:
        features: The source's.
        reads: Names of those that the network reads.
        widths: N of [B, N, H, W] by name, of those that it chooses channels of.
        source: Fingerprint of the source that the network was built on.

    Raises:
        SourceError: They are another source's, or one is missing.
    """
    if isinstance(features, fx.Proxy) or not isinstance(features, dict):
        return
    known = features.source_sha256 if isinstance(features, Features) else ""
    missing = [name for name in reads if name not in features]
    others = [
        f"{name} has {features[name].shape[1]} channels, expected {width}"
        for name, width in widths.items()
        if name in features and features[name].shape[1] != width
    ]
    seen = ""
    if known and source and known != source:
        seen = f"they are of the source {known[:12]}"
    elif missing:
        seen = f"there is no {missing[0]!r} among them"
    elif others:
        seen = others[0]
    if seen:
        msg = (
            f"the features are not of the source that the delta was built on, {source[:12]}: "
            f"{seen}. Give what that source returns for the same images: delta(images, "
            "source(images))."
        )
        raise SourceError(msg)
