"""Multiply-adds of the source and of networks on it; only shapes are computed."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from snow_runtime.graph.image_size import height_width

if TYPE_CHECKING:
    from torch import nn

    from snow_deploy.models.source import Source
    from snow_runtime.graph.image_size import ImageSize


def source_macs(source: Source, image_size: ImageSize) -> int:
    """Count the source's multiply-adds of one picture."""
    return _macs(_on_meta(source), _image(image_size))


def network_macs(source: Source, network: nn.Module, image_size: ImageSize) -> int:
    """Count a network's own multiply-adds of one picture.

    Args:
        source: The source that it was built on, with all the features that it asks for.
        network: A task's network.
        image_size: Side of the picture in pixels, or height and width.
    """
    image = _image(image_size)
    features = _on_meta(source)(image)
    return _macs(_on_meta(network), image, features)


def _macs(network: nn.Module, *inputs: Any) -> int:
    """Count multiply-adds of convolutions and matrix products; torch counts two flops each."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return int(counter.get_total_flops()) // 2


def _on_meta(network: nn.Module) -> nn.Module:
    """Copy a network to where only shapes are computed."""
    return copy.deepcopy(network).to("meta")


def _image(size: ImageSize) -> torch.Tensor:
    return torch.zeros(1, 3, *height_width(size), device="meta")
