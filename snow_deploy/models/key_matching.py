"""Fits a checkpoint's tensors to an architecture's keys: what is missing, beside, or of no use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snow_deploy.errors import SourceError
from snow_deploy.models.architectures import has_old_stem, network_keys
from snow_deploy.models.better_fit import better_fit
from snow_deploy.models.heads import AUXILIARY, find_head, is_behind
from snow_deploy.models.source_weights import find_fault, some
from snow_deploy.models.state_dicts import unwrap, what_is_odd

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from snow_deploy.models.architectures import NetworkKeys
    from snow_deploy.models.state_dicts import WeightSet

_TRAINING_ONLY = re.compile(
    r"(?i)criterion|loss|metric|accuracy|teacher|optim|scheduler|scaler|(^|_)(ema|rng)(_|$)"
)
_SHOWN = 8


@dataclass(frozen=True)
class FittedWeights:
    """A network's weights, fit to be used.

    Attributes:
        state: float32, and integers where they are the network's, on the CPU, by torchvision's
            key.
        notes: What to tell of them: what is not as torchvision has it, what was passed over.
    """

    state: Mapping[str, Tensor]
    notes: tuple[str, ...]


def fit_weights(
    found: WeightSet, tensors: Mapping[str, Tensor], keys: NetworkKeys, origin: str
) -> FittedWeights:
    """Return an architecture's weights out of a checkpoint's tensors.

    Args:
        found: The set of weights that is meant.
        tensors: All of the checkpoint's.
        keys: The architecture's.
        origin: Origin of the tensors, for people.

    Raises:
        SourceError: Something is missing, unexpected, of another shape or kind, or not finite.
    """
    shapes = {name: tuple(tensors[key].shape) for name, key in found.keys.items()}
    if has_old_stem(keys.architecture, shapes):
        keys = network_keys(keys.architecture, old_stem=True)
    head = find_head(found, tensors, keys)
    chosen = {name: key for name, key in found.keys.items() if not keys.is_head(name)}
    for kind, key in (("weight", head.weight), ("bias", head.bias)):
        if key is not None:
            chosen[f"{keys.classifier}.{kind}"] = key
    passed = _check_keys(chosen, found, keys, tensors, origin)
    passed += _around(found, {*chosen.values()})
    _check_shapes({name: tensors[key] for name, key in chosen.items()}, keys, tensors, origin)
    for name, key in chosen.items():
        if name not in keys.indices:
            _check_kind(key, tensors[key], origin)
    state = {
        name: tensors[key].cpu() if name in keys.indices else _read(key, tensors[key], origin)
        for name, key in chosen.items()
    }
    notes = [head.note] if head.note else []
    if kept := [name for name in keys.shapes if keys.is_setting(name) and name not in chosen]:
        notes.append(f"{some('settings', kept)} are not in it, and stay as the network has them")
    if passed:
        shown = ", ".join(passed[:_SHOWN]) + (", …" if len(passed) > _SHOWN else "")
        notes.append(f"passed over beside the weights: {shown}")
    return FittedWeights(_with_zeros(state, keys), tuple(notes))


def _with_zeros(state: dict[str, Tensor], keys: NetworkKeys) -> dict[str, Tensor]:
    """Put zeros in the place of what a classifier lacks, and everything in torchvision's order."""
    weight, bias = f"{keys.classifier}.weight", f"{keys.classifier}.bias"
    if weight not in state:
        state[weight] = torch.zeros(1, *keys.shapes[weight][1:])
    if bias in keys.shapes and bias not in state:
        state[bias] = torch.zeros(len(state[weight]))
    return {name: state[name] for name in keys.shapes if name in state}


def _check_keys(
    chosen: Mapping[str, str],
    found: WeightSet,
    keys: NetworkKeys,
    tensors: Mapping[str, Tensor],
    origin: str,
) -> list[str]:
    """Refuse missing and unexpected keys; return the names of what is passed over."""
    body = (name for name in keys.shapes if not keys.is_head(name) and not keys.is_setting(name))
    missing = [name for name in body if name not in chosen]
    if f"{keys.classifier}.bias" in chosen and f"{keys.classifier}.weight" not in chosen:
        missing.append(f"{keys.classifier}.weight")
    unexpected, passed = [], []
    for name, key in found.beside.items():
        first = name.partition(".")[0]
        if key in chosen.values() or first in AUXILIARY:
            continue
        if _TRAINING_ONLY.search(first) or is_behind(name, keys):
            passed.append(first)
        else:
            unexpected.append(name)
    if missing or unexpected:
        reason = f"{some('missing', missing)}, {some('unexpected', unexpected)}"
        if any(name.rpartition(".")[2] == "filt" for name in unexpected):
            reason += ", the filters of an anti-aliased network, which torchvision does not have"
        raise misfit(origin, keys, reason, tensors)
    return sorted(set(passed))


def _around(found: WeightSet, chosen: Collection[str]) -> list[str]:
    """Name the other modules of a larger network, such as a detector's, by where they are."""
    place = found.name.split(".") if found.name else []
    names = []
    for key in found.around:
        parts = unwrap(key)
        first = next((n for n, part in enumerate(parts) if part not in place[n : n + 1]), 0)
        module = parts[first]
        is_layer = first < len(parts) - 1 and not module.isdecimal()
        if key not in chosen and is_layer and not any(map(_TRAINING_ONLY.search, parts[:-1])):
            names.append(".".join(parts[: first + 1]))
    return list(dict.fromkeys(names))


def _check_shapes(
    chosen: Mapping[str, Tensor], keys: NetworkKeys, tensors: Mapping[str, Tensor], origin: str
) -> None:
    weight = chosen.get(f"{keys.classifier}.weight")
    classes = 1 if weight is None or weight.ndim == 0 else len(weight)
    wrong = []
    for name, value in chosen.items():
        expected = keys.shapes[name]
        if keys.is_head(name):
            expected = (classes, *expected[1:])
        if not classes and keys.is_head(name):
            wrong.append(f"{name} is {list(value.shape)}, a classifier of no classes")
        elif tuple(value.shape) != expected:
            wrong.append(f"{name} is {list(value.shape)}, expected {list(expected)}")
            if name == keys.stem:
                _check_channels(value, expected, origin)
    if wrong:
        shown = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise misfit(origin, keys, shown, tensors)


def _check_channels(stem: Tensor, expected: Sequence[int], origin: str) -> None:
    """Say it plainly where a network is for other pictures than those of three channels."""
    channels = stem.shape[1] if stem.ndim == len(expected) else expected[1]
    if (
        expected[1] != 3
        or channels == expected[1]
        or (len(stem), *stem.shape[2:]) != (expected[0], *expected[2:])
    ):
        return
    advice = "Take a network for RGB pictures, or train its first layer for them."
    if channels == 1:
        advice = (
            "To let it read the mean of red, green and blue, save that tensor as "
            ".repeat(1, 3, 1, 1) / 3, with one mean and one deviation for all three."
        )
    msg = (
        f"the weights ({origin}) are of a network for pictures of {channels} "
        f"channel{'s' if channels > 1 else ''}, expected 3 (red, green, blue): its first layer is "
        f"{list(stem.shape)}. {advice}"
    )
    raise SourceError(msg)


def _check_kind(key: str, value: Tensor, origin: str) -> None:
    """Refuse what cannot be a network's weight, such as a quantised one."""
    odd = what_is_odd(value)
    if odd is not None:
        msg = (
            f"the weights ({origin}) cannot be used: {key} holds {odd}, expected floating point "
            "values. Save the network whole, as it was before it was quantised or packed."
        )
        raise SourceError(msg)


def _read(key: str, value: Tensor, origin: str) -> Tensor:
    """Return a weight as float32, and refuse one that is not finite."""
    plain = value.detach().to("cpu", torch.float32, copy=True).contiguous()
    fault = find_fault(key, plain)
    if fault is not None:
        where = " as float32" if bool(value.double().isfinite().all()) else ""
        msg = (
            f"the weights ({origin}) cannot be used: {fault}{where}. Take a checkpoint from before "
            "its training went wrong, or fetch the file again."
        )
        raise SourceError(msg)
    return plain


def misfit(
    origin: str, keys: NetworkKeys, reason: str, tensors: Mapping[str, Tensor]
) -> SourceError:
    """Make the error of weights that do not fit, with what they would fit."""
    return SourceError(
        f"the weights ({origin}) do not fit {keys.architecture}: {reason}. "
        f"{better_fit(keys, tensors)}"
    )
