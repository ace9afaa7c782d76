"""BatchNorm in training, taken apart: statistics, the affine that they make, and the gradients.

Whoever has them apart can normalise again in the backward pass what was not kept, and several
norms at once. Tensors are pixels here: [B, H, W, C] in one piece, which is channels_last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch import nn

WIDE: Final = 16
"""Channels from which torch's own kernels are the faster ones, and sound."""

_ROW: Final = 64
"""The most values in a row; from 64 to 1,024 the sums over rows are as fast (measured)."""


class Affine(NamedTuple):
    """What a norm does to a batch: ``(x - mean) * inverse * weight + bias``, [C] each.

    Attributes:
        weight: The norm's.
        bias: The norm's.
        mean: Mean of the batch.
        inverse: One over the batch's deviation.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    inverse: Tensor


class Rows:
    """[B, H, W, C] in one piece as rows of several pixels, wide enough for vector registers."""

    def __init__(self, pixels: Tensor) -> None:
        """Take the sizes from a tensor of pixels."""
        self.channels = pixels.shape[-1]
        self.pixels = pixels.numel() // self.channels
        self.together = 1
        while 2 * self.together * self.channels <= _ROW and self.pixels % (2 * self.together) == 0:
            self.together *= 2

    def of(self, pixels: Tensor) -> Tensor:
        """Return a view, of what is not in one piece a copy."""
        return pixels.reshape(-1, self.together * self.channels)

    def wide(self, of_channels: Tensor) -> Tensor:
        """Repeat [C] for a row's pixels."""
        return of_channels.repeat(self.together)

    def over_pixels(self, of_row: Tensor) -> Tensor:
        """Add up a row's pixels, to [C]."""
        return of_row.view(self.together, self.channels).sum(0)


def mean_and_variance(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the biased variance of each channel, [C], float32 or float64."""
    if _in_rows(pixels) and pixels.shape[-1] < WIDE:
        rows = Rows(pixels)
        values = rows.of(pixels)
        mean = rows.over_pixels(values.sum(0)) / rows.pixels
        centred = values - rows.wide(mean)
        return mean, rows.over_pixels(centred.square_().sum(0)) / rows.pixels
    kind = torch.float64 if pixels.dtype == torch.float64 else torch.float32
    unused = torch.zeros(2, pixels.shape[-1], dtype=kind, device=pixels.device)
    mean, variance = torch.ops.aten.batch_norm_update_stats(_maps(pixels), *unused, 0.0)
    return mean, variance


def normalize_pixels(pixels: Tensor, affine: Affine) -> Tensor:
    """Normalise; the same pixels and the same affine give the same bits again."""
    if not _in_rows(pixels):
        variance = affine.inverse.square().reciprocal()
        known = (affine.weight, affine.bias, affine.mean, variance)
        answer: Tensor = torch.native_batch_norm(_maps(pixels), *known, False, 0.0, 0.0)[0]  # noqa: FBT003
        return answer.permute(0, 2, 3, 1)
    rows = Rows(pixels)
    scale = affine.weight * affine.inverse
    shift = affine.bias - affine.mean * scale
    answer = torch.addcmul(rows.wide(shift), rows.of(pixels), rows.wide(scale))
    return answer.view(pixels.shape)


def norm_gradients(
    upstream: Tensor, pixels: Tensor, affine: Affine, *, wanted: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return the gradients of a norm's input, of its weight and of its bias.

    Args:
        upstream: [B, H, W, C], the gradient of what it answered.
        pixels: [B, H, W, C], what it normalised.
        affine: Statistics of the batch, and the norm's weights.
        wanted: Whether the input's gradient is; without it comes None.
    """
    if not _in_rows(pixels):
        return _torchs_gradients(upstream, pixels, affine, wanted=wanted)
    rows = Rows(pixels)
    above, values = rows.of(upstream), rows.of(pixels)
    if rows.channels < WIDE:
        of_bias = rows.over_pixels(above.sum(0))
        centred = (values - rows.wide(affine.mean)).mul_(above)
        of_weight = rows.over_pixels(centred.sum(0)) * affine.inverse
    else:
        _, of_weight, of_bias = _torchs_gradients(upstream, pixels, affine, wanted=False)
    if not wanted:
        return None, of_weight, of_bias
    scale = affine.weight * affine.inverse
    slope = -scale * affine.inverse * of_weight / rows.pixels
    level = -scale * of_bias / rows.pixels - slope * affine.mean
    of_pixels = torch.addcmul(rows.wide(level), values, rows.wide(slope))
    of_pixels.addcmul_(above, rows.wide(scale))
    return of_pixels.view(pixels.shape), of_weight, of_bias


def _torchs_gradients(
    upstream: Tensor, pixels: Tensor, affine: Affine, *, wanted: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    of_pixels, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
        _maps(upstream),
        _maps(pixels),
        affine.weight,
        None,
        None,
        affine.mean,
        affine.inverse,
        True,  # noqa: FBT003
        0.0,
        [wanted, True, True],
    )
    return of_pixels.permute(0, 2, 3, 1) if wanted else None, of_weight, of_bias


def _in_rows(pixels: Tensor) -> bool:
    """Tell whether rows are the faster way: not in half precision, whose affines are float32."""
    return pixels.device.type == "cpu" and pixels.dtype in {torch.float32, torch.float64}


def _maps(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2)


class RunningStatistics:
    """Notes the statistics of a pass's batch, to enter all of them into their norms at once."""

    def __init__(self) -> None:
        """Note nothing yet."""
        self._norms: list[nn.BatchNorm2d] = []
        self._means: list[Tensor] = []
        self._variances: list[Tensor] = []
        self._bessel: list[float] = []

    def note(self, norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, pixels: int) -> None:
        """Note one norm's: [C] mean and biased variance over so many pixels, two or more."""
        self._norms.append(norm)
        self._means.append(mean)
        self._variances.append(variance)
        self._bessel.append(pixels / (pixels - 1))

    @torch.no_grad()
    def enter(self) -> None:
        """Move the norms' running statistics as far as their momentum says."""
        if not self._norms:
            return
        counts = [norm.num_batches_tracked for norm in self._norms]
        torch._foreach_add_([count for count in counts if count is not None], 1)
        variances = torch._foreach_mul(self._variances, self._bessel)  # noqa: SLF001
        by_momentum: dict[float, list[int]] = {}
        for index, norm in enumerate(self._norms):
            by_momentum.setdefault(norm.momentum or 0.0, []).append(index)
        for momentum, chosen in by_momentum.items():
            running = [self._norms[index] for index in chosen]
            old = [norm.running_mean for norm in running] + [norm.running_var for norm in running]
            new = [self._means[index] for index in chosen] + [variances[index] for index in chosen]
            torch._foreach_lerp_(old, new, momentum)  # type: ignore[arg-type]
        self.__init__()  # type: ignore[misc]
