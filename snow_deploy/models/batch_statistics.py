"""BatchNorm in training, taken apart: statistics, the affine that they make, and the gradients.

Whoever has them apart can normalise again in the backward pass what was not kept, and several
norms at once. Tensors are pixels here: [B, H, W, C] in one piece, which is channels_last.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

WIDE: Final = 16
"""Channels from which torch's own kernels are the faster ones, and sound."""

_ROW: Final = 64
"""The most values in a row; from 64 to 1,024 the sums over rows are as fast (measured)."""

_FEWEST_PIXELS: Final = 16384
"""With fewer of few channels, calling so many operations takes longer than they save (measured)."""

_LARGE: Final = 2**17
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
        if self.together == 1:
            return of_channels
        return of_channels.expand(self.together, -1).reshape(-1)  # several times as fast as repeat

    def over_pixels(self, of_row: Tensor) -> Tensor:
        """Add up a row's pixels, to [C]."""
        return of_row.view(self.together, self.channels).sum(0)


def normalize_batch(
    pixels: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Affine]:
    """Normalise by the batch's own statistics; return them too."""
    if not _in_rows(pixels):
        answer, mean, inverse = torch.native_batch_norm(
            _maps(pixels),
            weight,
            bias,
            None,
            None,
            True,  # noqa: FBT003
            0.0,
            eps,
        )
        return answer.permute(0, 2, 3, 1), Affine(weight, bias, mean, inverse)
    rows = Rows(pixels)
    if rows.channels < WIDE:
        values = rows.of(pixels)
        mean = rows.over_pixels(values.sum(0)) / rows.pixels
        centred = values - rows.wide(mean)
        variance = rows.over_pixels(centred.square_().sum(0)) / rows.pixels
    else:
        mean, variance = torch.ops.aten.batch_norm_update_stats.default(
            _maps(pixels), None, None, 0.0
        )
    affine = Affine(weight, bias, mean, (variance + eps).rsqrt_())
    return normalize_again(pixels, affine), affine


def normalize_again(pixels: Tensor, affine: Affine) -> Tensor:
    """Normalise by statistics that are known, to what `normalize_batch` answered."""
    if not _in_rows(pixels):
        known = (affine.weight, affine.bias, affine.mean, affine.inverse.pow(-2))
        answer: Tensor = torch.native_batch_norm(_maps(pixels), *known, False, 0.0, 0.0)[0]  # noqa: FBT003
        return answer.permute(0, 2, 3, 1)
    rows = Rows(pixels)
    scale = affine.weight * affine.inverse
    shift = torch.addcmul(affine.bias, affine.mean, scale, value=-1)
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
        of_weight = rows.over_pixels(centred.sum(0)).mul_(affine.inverse)
    else:
        _, of_weight, of_bias = _torchs_gradients(upstream, pixels, affine, wanted=False)
    if not wanted:
        return None, of_weight, of_bias
    scale = affine.weight * affine.inverse
    slope = (scale * affine.inverse).mul_(of_weight).mul_(-1 / rows.pixels)
    level = (scale * of_bias).mul_(-1 / rows.pixels).addcmul_(slope, affine.mean, value=-1)
    of_pixels = torch.addcmul(rows.wide(level), values, rows.wide(slope))
    of_pixels.addcmul_(above, rows.wide(scale))
    return of_pixels.view(pixels.shape), of_weight, of_bias


def _torchs_gradients(
    upstream: Tensor, pixels: Tensor, affine: Affine, *, wanted: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    of_pixels, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward.default(
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
    """Tell whether rows are faster than torch's own kernels, few calls as those are (measured).

    Not in half precision, whose affines are float32.
    """
    count, channels = pixels.numel(), pixels.shape[-1]
    large = count >= _LARGE or (channels < WIDE and count >= _FEWEST_PIXELS * channels)
    return large and pixels.device.type == "cpu" and pixels.dtype in _IN_ROWS


def _maps(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2)


class RunningStatistics:
    """Notes the statistics of a pass's batch, to enter all of them into their norms at once."""

    def __init__(self) -> None:
        """Note nothing yet."""
        self._noted: list[_Noted] = []

    def note(self, norm: nn.BatchNorm2d, mean: Tensor, inverse: Tensor, pixels: int) -> None:
        """Note one norm's, as `Affine` has them, over so many pixels, two or more."""
        self._noted.append(_Noted(norm, mean, inverse, pixels))

    @torch.no_grad()
    def enter(self) -> None:
        """Move the norms' running statistics as far as their momentum says."""
        noted, self._noted = self._noted, []
        by_momentum: dict[float, list[_Noted]] = {}
        for each in noted:
            by_momentum.setdefault(each.norm.momentum or 0.0, []).append(each)
        for momentum, some in by_momentum.items():
            _enter(some, momentum)


class _Noted(NamedTuple):
    """Statistics of one norm's batch."""

    norm: nn.BatchNorm2d
    mean: Tensor
    inverse: Tensor
    pixels: int


def _enter(noted: list[_Noted], momentum: float) -> None:
    """Many tensors of a few numbers: one call for all of them takes a fraction of the time."""
    norms = [each.norm for each in noted]
    variances = torch._foreach_pow([each.inverse for each in noted], -2.0)  # noqa: SLF001
    torch._foreach_sub_(variances, [norm.eps for norm in norms])
    torch._foreach_mul_(variances, [each.pixels / (each.pixels - 1) for each in noted])
    old = [norm.running_mean for norm in norms] + [norm.running_var for norm in norms]
    new = [*(each.mean for each in noted), *variances]
    torch._foreach_lerp_(old, new, momentum)  # type: ignore[arg-type]
    counts = [norm.num_batches_tracked for norm in norms]
    torch._foreach_add_([count for count in counts if count is not None], 1)
