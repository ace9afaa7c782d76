"""BatchNorm in training, taken apart: statistics, the affine that they make, and the gradients.

Whoever has them apart can normalise again in the backward pass what was not kept, and several
norms at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

WIDE: Final = 16
"""Channels from which torch's own kernels are the faster ones, and sound."""

_ROW: Final = 64
"""The most values in a row; from 64 to 1,024 the sums over rows are as fast (measured)."""

FEWEST_PIXELS: Final = 16384
"""With fewer of few channels, calling so many operations takes longer than they save (measured)."""

_LARGE: Final = 2**20
"""Values from which they save more, whatever the channels (measured)."""

_IN_ROWS: Final = (torch.float32, torch.float64)


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
    """[B, C, H, W] in channels_last as rows of several pixels, wide enough for registers."""

    def __init__(self, maps: Tensor) -> None:
        """Take the sizes from a tensor."""
        batch, self.channels, height, width = maps.shape
        self.shape = (batch, height, width, self.channels)
        self.pixels = batch * height * width
        self.together = 1
        while 2 * self.together * self.channels <= _ROW and self.pixels % (2 * self.together) == 0:
            self.together *= 2

    def of(self, maps: Tensor) -> Tensor:
        """Return a view, of what is not channels_last a copy."""
        return maps.permute(0, 2, 3, 1).reshape(-1, self.together * self.channels)

    def back(self, rows: Tensor) -> Tensor:
        """Return [B, C, H, W] again, a view."""
        return rows.view(self.shape).permute(0, 3, 1, 2)

    def wide(self, of_channels: Tensor) -> Tensor:
        """Repeat [C] for a row's pixels."""
        if self.together == 1:
            return of_channels
        return of_channels.expand(self.together, -1).reshape(-1)  # several times as fast as repeat

    def over_pixels(self, of_row: Tensor) -> Tensor:
        """Add up a row's pixels, to [C]."""
        return of_row.view(self.together, self.channels).sum(0)


def normalize_batch(
    maps: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Affine]:
    """Normalise [B, C, H, W] by the batch's own statistics; return them too."""
    if not _in_rows(maps):
        answer, mean, inverse = torch.native_batch_norm(
            maps, weight, bias, None, None, training=True, momentum=0.0, eps=eps
        )
        return answer, Affine(weight, bias, mean, inverse)
    rows = Rows(maps)
    if rows.channels < WIDE:
        values = rows.of(maps)
        mean = rows.over_pixels(values.sum(0)) / rows.pixels
        centred = values - rows.wide(mean)
        variance = rows.over_pixels(centred.square_().sum(0)) / rows.pixels
    else:
        mean, variance = torch.ops.aten.batch_norm_update_stats.default(maps, None, None, 0.0)
    affine = Affine(weight, bias, mean, (variance + eps).rsqrt_())
    return normalize_again(maps, affine), affine


def normalize_again(maps: Tensor, affine: Affine) -> Tensor:
    """Normalise by statistics that are known, to what `normalize_batch` answered."""
    weight, bias, mean, inverse = affine
    if not _in_rows(maps):
        answer: Tensor = torch.native_batch_norm(
            maps, weight, bias, mean, inverse.pow(-2), training=False, momentum=0.0, eps=0.0
        )[0]
        return answer
    rows = Rows(maps)
    scale = weight * inverse
    shift = torch.addcmul(bias, mean, scale, value=-1)
    answer = torch.empty_like(maps, memory_format=torch.channels_last)  # not a view: see autograd
    torch.addcmul(rows.wide(shift), rows.of(maps), rows.wide(scale), out=rows.of(answer))
    return answer


def norm_gradients(
    above: Tensor, maps: Tensor, affine: Affine, *, wanted: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return the gradients of a norm's input, of its weight and of its bias.

    Args:
        above: [B, C, H, W], the gradient of what it answered.
        maps: [B, C, H, W], what it normalised.
        affine: Statistics of the batch, and the norm's weights.
        wanted: Whether the input's gradient is; without it comes None.
    """
    if not _in_rows(maps):
        return _torchs_gradients(above, maps, affine, wanted=wanted)
    rows = Rows(maps)
    upstream, values = rows.of(above), rows.of(maps)
    if rows.channels < WIDE:
        of_bias = rows.over_pixels(upstream.sum(0))
        centred = (values - rows.wide(affine.mean)).mul_(upstream)
        of_weight = rows.over_pixels(centred.sum(0)).mul_(affine.inverse)
    else:
        _, of_weight, of_bias = _torchs_gradients(above, maps, affine, wanted=False)
    if not wanted:
        return None, of_weight, of_bias
    scale = affine.weight * affine.inverse
    slope = (scale * affine.inverse).mul_(of_weight).mul_(-1 / rows.pixels)
    level = (scale * of_bias).mul_(-1 / rows.pixels).addcmul_(slope, affine.mean, value=-1)
    of_maps = torch.addcmul(rows.wide(level), values, rows.wide(slope))
    of_maps.addcmul_(upstream, rows.wide(scale))
    return rows.back(of_maps), of_weight, of_bias


def _torchs_gradients(
    above: Tensor, maps: Tensor, affine: Affine, *, wanted: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    weight, _, mean, inverse = affine
    found: tuple[Tensor | None, Tensor, Tensor]
    found = torch.ops.aten.native_batch_norm_backward.default(
        above,
        maps,
        weight,
        None,
        None,
        mean,
        inverse,
        True,  # noqa: FBT003
        0.0,
        [wanted, True, True],
    )
    return found


def _in_rows(maps: Tensor) -> bool:
    """Tell whether rows are faster than torch's own kernels, few calls as those are (measured).

    Not in half precision, whose affines are float32.
    """
    count, channels = maps.numel(), maps.shape[1]
    large = count >= _LARGE or (channels < WIDE and count >= FEWEST_PIXELS * channels)
    return large and maps.dtype in _IN_ROWS and maps.device.type == "cpu"


class RunningStatistics:
    """Notes the statistics of a pass's batch, to enter all of them into their norms at once."""

    def __init__(self) -> None:
        """Note nothing yet."""
        self._noted: list[_Noted] = []

    def note(self, norms: Sequence[nn.BatchNorm2d], affine: Affine, pixels: int) -> None:
        """Note those of norms side by side, over so many pixels, two or more."""
        self._noted.append(_Noted(norms, affine.mean, affine.inverse, pixels))

    def forget(self) -> None:
        """Drop what was noted, as of a pass that failed."""
        self._noted = []

    @torch.no_grad()
    def enter(self) -> None:
        """Move the norms' running statistics as far as their momentum says."""
        noted, self._noted = self._noted, []
        by_momentum: dict[float, list[_Noted]] = {}
        for each in noted:
            by_momentum.setdefault(each.norms[0].momentum or 0.0, []).append(each)
        for momentum, some in by_momentum.items():
            _enter(some, momentum)


class _Noted(NamedTuple):
    """Statistics of the batch of norms side by side."""

    norms: Sequence[nn.BatchNorm2d]
    mean: Tensor
    inverse: Tensor
    pixels: int


def _enter(noted: list[_Noted], momentum: float) -> None:
    """Many tensors of a few numbers: one call for all of them takes a fraction of the time."""
    variances = torch._foreach_pow([each.inverse for each in noted], -2.0)  # noqa: SLF001
    torch._foreach_sub_(variances, [each.norms[0].eps for each in noted])
    torch._foreach_mul_(variances, [each.pixels / (each.pixels - 1) for each in noted])
    norms = [norm for each in noted for norm in each.norms]
    widths = [norm.num_features for norm in norms]
    means = torch.split(torch.cat([each.mean for each in noted]), widths)
    old = [norm.running_mean for norm in norms] + [norm.running_var for norm in norms]
    new = [*means, *torch.split(torch.cat(variances), widths)]
    torch._foreach_lerp_(old, new, momentum)  # type: ignore[arg-type]
    counts = [norm.num_batches_tracked for norm in norms]
    torch._foreach_add_([count for count in counts if count is not None], 1)
