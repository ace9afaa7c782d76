"""What a network's weights do not say of it: its name, and how its pictures are prepared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from snow_deploy.errors import SourceError
from snow_deploy.models.plain.tracer import stem_channels
from snow_runtime.graph.image_size import size_of
from snow_runtime.graph.manifest import IMAGENET_MEAN, IMAGENET_STD, Interpolation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from snow_deploy.models.architectures import Triple
    from snow_runtime.graph.image_size import ImageSize


@dataclass(frozen=True)
class ModuleFacts:
    """What a network's weights do not say.

    Attributes:
        name: Name of the network in the store and in messages.
        image_size: Side of its pictures in pixels, or height and width.
        mean: Mean of each RGB channel of pictures scaled to [0, 1].
        std: Standard deviation of each RGB channel of the same.
        crop_share: Share of the resized short side that a picture shows; None for 224 of 256.
        interpolation: How pictures are resized.
        labels: The network's own classes; None where nothing names them.
        origin: Origin of the weights, for people.
        code_sha256: SHA-256 (hex) of the file that made the network; empty where none did.
    """

    name: str
    image_size: ImageSize = 224
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    crop_share: float | None = None
    interpolation: Interpolation = "bilinear"
    labels: tuple[str, ...] | None = None
    origin: str = "as the network came"
    code_sha256: str = ""


def facts_of_config(
    name: str, config: Mapping[str, Any], say: Callable[[str], None]
) -> ModuleFacts:
    """Return how pictures are prepared by a network's configuration, as timm keeps it.

    Args:
        name: Name of the network.
        config: `input_size`, `mean`, `std`, `crop_pct`, `interpolation` and `crop_mode`, of which
            any may be missing.
        say: Callback that gets, a line at a time, what cannot be had.

    Raises:
        SourceError: A value is none that it can be.
    """
    try:
        _, *sides = config.get("input_size") or (3, 224, 224)
        height, width = (int(side) for side in sides)
        mean = _triple(config.get("mean") or IMAGENET_MEAN)
        std = _triple(config.get("std") or IMAGENET_STD)
        share = float(config.get("crop_pct") or 224 / 256)
        how = str(config.get("interpolation") or "bilinear")
        _check_config((height, width), share, std)
    except (TypeError, ValueError, IndexError) as error:
        msg = (
            f"the configuration of {name} cannot be read: {error}. It holds, as timm's "
            "pretrained_cfg does, input_size (3, height, width), mean and std of three numbers "
            "each, and crop_pct up to 1."
        )
        raise SourceError(msg) from error
    if how not in get_args(Interpolation):
        say(f"{name} resizes pictures by {how!r}, which is not known here: bicubic is taken.")
        how = "bicubic"
    if config.get("crop_mode", "center") != "center":
        say(
            f"{name} crops pictures in the mode {config['crop_mode']!r}, which is not known here: "
            "the centre is taken."
        )
    size = size_of(height, width)
    return ModuleFacts(name, size, mean, std, share, how)  # type: ignore[arg-type]


def _check_config(sides: tuple[int, int], share: float, std: Triple) -> None:
    if not (0 < share <= 1 and all(each > 0 for each in (*std, *sides))):
        msg = f"crop_pct {share:g}, std {std}, height and width {sides}"
        raise ValueError(msg)


def _triple(values: Any) -> Triple:
    listed = [float(value) for value in values]
    red, green, blue = listed * 3 if len(listed) == 1 else listed
    return red, green, blue


def for_stem(network: nn.Module, facts: ModuleFacts) -> ModuleFacts:
    """Give a network that reads grey one mean and one deviation: those of its channels."""
    if stem_channels(network) != 1 or len(set(facts.mean)) == len(set(facts.std)) == 1:
        return facts
    mean, std = sum(facts.mean) / 3, sum(facts.std) / 3
    return replace(facts, mean=(mean,) * 3, std=(std,) * 3)
