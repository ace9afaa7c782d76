"""Finds the classifier in a checkpoint: under torchvision's name, another one, or none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_deploy.models.state_dicts import unwrap

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor

    from snow_deploy.models.architectures import NetworkKeys
    from snow_deploy.models.state_dicts import WeightSet

AUXILIARY = frozenset({"aux1", "aux2", "AuxLogits"})
"""Heads of GoogLeNet and Inception for training only."""

_CLASSIFIER = re.compile(
    r"(?i)fc|heads?|classifier|linear|(last|final)_(linear|layer)|logits|cls|cls_head|fc_cls"
    r"|out|output"
)
"""Parts of names that classifiers go by."""
_BEHIND = re.compile(r"(?i).*(head|proj(ect(or|ion))?|prototypes?|predictor)|pre_logits")
"""Parts of names of what else may stand behind a network's features."""


@dataclass(frozen=True)
class CheckpointHead:
    """The classifier that a checkpoint holds.

    Attributes:
        weight: The checkpoint's key; None where there is none that fits.
        bias: The same for the bias.
        note: What is not as torchvision has it, for people; empty where nothing is.
    """

    weight: str | None
    bias: str | None
    note: str = ""


def find_head(found: WeightSet, tensors: Mapping[str, Tensor], keys: NetworkKeys) -> CheckpointHead:
    """Look for the classifier: by torchvision's name, else one layer of another name that fits.

    A sequence of one layer and of others without weights is that layer: in eval mode dropout does
    nothing. Of a sequence of several nothing says what stands between them.
    """
    weight, bias = f"{keys.classifier}.weight", f"{keys.classifier}.bias"
    own = found.keys.get(weight), found.keys.get(bias)
    free = [*found.beside.values(), *found.around]
    layers = [key for key in free if key.endswith(".weight") and _is_classifier(key)]
    shape = keys.shapes[weight]
    if own[0] is None and own[1] is not None:  # half of a classifier: a damaged file
        return CheckpointHead(*own)
    if own[0] is not None and _is_alone(own[0], found.beside.values()):
        lacks_bias = own[1] is None and bias in keys.shapes
        return CheckpointHead(*own, note=_NO_BIAS if lacks_bias else "")
    layers = [*([] if own[0] is None else [own[0]]), *layers]
    fitting = [
        key
        for key in layers
        if (tensors[key].ndim, tensors[key].shape[1:]) == (len(shape), shape[1:])
        and _is_alone(key, free)
    ]
    fitting = _nearest(fitting, found.name)
    if len(fitting) == 1:
        layer = fitting[0].removesuffix(".weight")
        beside = f"{layer}.bias" if f"{layer}.bias" in free else None
        note = f"{layer} is taken for its classifier {keys.classifier}"
        return CheckpointHead(fitting[0], beside, note if beside else f"{note}; {_NO_BIAS}")
    shown = ", ".join(layers[:3])
    seen = f"{shown} cannot serve as its" if layers else "it holds no"
    note = (
        f"{seen} classifier {keys.classifier}, one layer of [classes, {shape[1]}]: the source will "
        "have no answers of its own, while tasks can be trained on it"
    )
    return CheckpointHead(None, None, note)


_NO_BIAS = "its classifier has no bias, zeros take the place"


def is_behind(name: str, keys: NetworkKeys) -> bool:
    """Tell whether a key that is not torchvision's is of something behind the features.

    Args:
        name: Name from the place of the network's own keys on.
        keys: The network's.
    """
    first = name.partition(".")[0]
    behind = _CLASSIFIER.fullmatch(first) or _BEHIND.fullmatch(first)
    return bool(behind) or name.startswith(f"{'.'.join(unwrap(keys.classifier))}.")


def _is_classifier(key: str) -> bool:
    """Tell whether a layer's name is one that classifiers have."""
    root = _sequence(key)
    return bool(root) and AUXILIARY.isdisjoint(root) and bool(_CLASSIFIER.fullmatch(root[-1]))


def _sequence(key: str) -> tuple[str, ...]:
    """Return the name of the sequence that a layer is in, or else its own."""
    parts = list(unwrap(key)[:-1])
    while parts and parts[-1].isdecimal():
        parts.pop()
    return tuple(parts)


def _is_alone(key: str, free: Collection[str]) -> bool:
    """Tell whether no other layer with weights is in the same sequence."""
    own = {key, f"{key.removesuffix('.weight')}.bias"}
    return not any(_sequence(other) == _sequence(key) for other in free if other not in own)


def _nearest(layers: list[str], place: str) -> list[str]:
    """Return those whose names have the most in common with the place of the other weights."""

    def common(key: str) -> int:
        parts = place.split(".")
        same = [here == there for here, there in zip(parts, unwrap(key), strict=False)]
        return same.index(False) if False in same else len(same)

    most = max(map(common, layers), default=0)
    return [key for key in layers if common(key) == most]
