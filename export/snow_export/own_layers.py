"""Layers that networks of other libraries are rewritten to where torch has none of its own."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Pads = tuple[int, int, int, int]
"""Pixels at the left, the right, the top and the bottom."""


class PaddedConv2d(nn.Conv2d):
    """A convolution whose zeros around the picture torch's own cannot have.

    They differ between the sides, or follow from the picture's size as TensorFlow's `SAME` does:
    the output then has a pixel for each stride begun, and an odd zero is at the right and bottom.

    Attributes:
        pads: Zeros at each side, or `same`.
    """

    def __init__(self, *args: Any, pads: Pads | Literal["same"], **options: Any) -> None:
        """Take torch's arguments, without padding, and the pads."""
        super().__init__(*args, **options)
        self.pads: Pads | Literal["same"] = pads
        if pads != "same":
            left, right, top, bottom = pads
            self.pads = (left, right, top, bottom)

    def pads_for(self, height: int, width: int) -> Pads:
        """Return the zeros at each side of a picture of this size."""
        if self.pads != "same":
            return self.pads
        top, bottom = self._same(height, 0)
        left, right = self._same(width, 1)
        return left, right, top, bottom

    def _same(self, size: int, axis: int) -> tuple[int, int]:
        stride, reach = self.stride[axis], self.dilation[axis] * (self.kernel_size[axis] - 1)
        whole = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
        return whole // 2, whole - whole // 2

    def forward(self, features: Tensor) -> Tensor:
        """Convolve [B, C, H, W]."""
        padded = functional.pad(features, self.pads_for(*features.shape[2:]))
        return super().forward(padded)

    def extra_repr(self) -> str:
        """Say the pads too: what is fused must have the same."""
        known: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{known}, pads={self.pads}"


class FixedFilter2d(nn.Module):
    """One small filter, the same for every channel and not trained: the blur of anti-aliasing.

    Shapes: [B, C, H, W] -> [B, C, H', W'], of any C.
    """

    weight: Tensor

    def __init__(
        self, size: tuple[int, int], stride: tuple[int, int], pads: Pads, mode: str = "constant"
    ) -> None:
        """Begin with zeros.

        Args:
            size: The filter's height and width.
            stride: Pixels from one output to the next, down and to the right.
            pads: Pixels around the picture.
            mode: What they hold, as `torch.nn.functional.pad` calls it.
        """
        super().__init__()
        self.size, self.stride, self.pads, self.mode = tuple(size), tuple(stride), tuple(pads), mode
        self.register_buffer("weight", torch.zeros(1, 1, *size))

    def forward(self, features: Tensor) -> Tensor:
        """Filter every channel."""
        if any(self.pads):
            features = functional.pad(features, self.pads, self.mode)
        channels = features.shape[1]
        weight = self.weight.expand(channels, -1, -1, -1)
        return functional.conv2d(features, weight, None, self.stride, groups=channels)


OWN_LAYERS = (PaddedConv2d, FixedFilter2d)
"""All of them; none is looked into when a network is traced."""
