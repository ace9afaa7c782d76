"""Drawing which channels a subscription chose over training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import ListedColormap

from snow_deploy.errors import TrainingError
from snow_deploy.paper.plots import OURS
from snow_deploy.paper.settling import poolings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from snow_deploy.paper.settling import History


def pick_subscription(history: History, wanted: str | None) -> str:
    """Return the subscription to draw: the named one, or the middle one.

    Raises:
        TrainingError: There is none of that name.
    """
    known = list(poolings(history))
    if wanted is None:
        return known[len(known) // 2]
    if wanted not in known:
        msg = f"there is no subscription {wanted!r}; name one of: {', '.join(known)}"
        raise TrainingError(msg)
    return wanted


def draw_choices(axes: Axes, history: History, name: str, channels: int) -> None:
    """Draw the chosen channels across, training downwards, a dotted line where an epoch begins."""
    moments, chosen = history["epoch"], history[name]
    picture = np.zeros((len(moments), channels))
    np.put_along_axis(picture, chosen.astype(np.int64), 1.0, axis=1)
    last = max(float(moments[-1]), 1e-6)
    rows = len(moments)  # each begins at its moment, the last one at the end of training
    bottom = last * rows / max(1, rows - 1)
    axes.imshow(
        picture,
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(["#f2f2ef", OURS]),
        extent=(-0.5, channels - 0.5, bottom, 0.0),
        vmin=0,
        vmax=1,
    )
    for epoch in range(1, int(last)):
        axes.axhline(epoch, ls=":", lw=0.6, color="#444444")
