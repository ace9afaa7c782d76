"""Rules for what changes a picture's size: pads around it, and enlarging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snow_export.errors import NoRuleError

if TYPE_CHECKING:
    from torch import fx

    from snow_export.emit.emitter import Emitter

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
"""ONNX's words for torch's."""


def pad(  # noqa: PLR0917 - torch's own arguments
    emitter: Emitter,
    node: fx.Node,
    value: Any,
    pads: Any,
    mode: str = "constant",
    fill: float | None = None,
    *,
    suffix: str = "",
) -> str:
    """Write pads with torch's arguments: of the last axis first, before and behind it.

    Raises:
        NoRuleError: ONNX has no such mode.
    """
    label, rank = f"{emitter.label(node)}{suffix}", len(emitter.shape(value))
    if mode not in _MODES:
        msg = f"{label} pads by {mode!r}, expected one of {', '.join(_MODES)}"
        raise NoRuleError(msg)
    listed = [pads] * 4 if isinstance(pads, int) else list(pads)
    before, behind = [0] * rank, [0] * rank
    for place in range(len(listed) // 2):
        before[rank - 1 - place], behind[rank - 1 - place] = listed[2 * place : 2 * place + 2]
    inputs = [emitter.name(value), emitter.constant(f"{label}.pads", np.array([*before, *behind]))]
    if mode == "constant":
        inputs.append(emitter.constant(f"{label}.fill", np.array(fill or 0.0, np.float32)))
    return emitter.add("Pad", inputs, label, mode=_MODES[mode])


def resize(
    emitter: Emitter,
    node: fx.Node,
    value: Any,
    _size: Any = None,
    _scale: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,  # noqa: FBT001
) -> str:
    """Write torch's interpolation to the size of the example.

    Raises:
        NoRuleError: It is another one than nearest or bilinear.
    """
    label, before, after = emitter.label(node), emitter.shape(value), emitter.shape(node)
    ways = {"nearest": ("nearest", "asymmetric"), "bilinear": ("linear", "half_pixel")}
    if mode not in ways:
        msg = f"{label} interpolates by {mode!r}, expected nearest or bilinear; it cannot export"
        raise NoRuleError(msg)
    how, where = ways[mode]
    where = "align_corners" if align_corners else where
    scales = [out / size for out, size in zip(after[2:], before[2:], strict=True)]
    sizes = emitter.constant(f"{label}.scales", np.array([1, 1, *scales], np.float32))
    options = {"nearest_mode": "floor"} if how == "nearest" else {}
    return emitter.add(
        "Resize",
        [emitter.name(value), "", sizes],
        label,
        mode=how,
        coordinate_transformation_mode=where,
        **options,
    )
