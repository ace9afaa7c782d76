"""Says which network weights would fit that do not fit the one asked for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch

from snow_deploy.models.architectures import recognise
from snow_deploy.models.state_dicts import places, unwrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snow_deploy.models.architectures import NetworkKeys

_LEAST = 4
"""Tensors that a prefix must put in their places to be worth a word."""


def missing_prefix(tensors: Mapping[str, Tensor], keys: NetworkKeys) -> tuple[str, int]:
    """Find what would have to stand before a checkpoint's names for them to be the network's.

    Args:
        tensors: All of the checkpoint's.
        keys: The network's.

    Returns:
        The prefix, such as `backbone.`, and how many of the tensors it would put in their places;
        empty and 0 where none does.
    """
    shapes = {".".join(unwrap(key)): tuple(value.shape) for key, value in tensors.items()}
    suffixes: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, shape in keys.shapes.items():
        parts = unwrap(name)
        for cut in range(1, min(len(parts), 4)):
            begin = ".".join(parts[:cut])
            suffixes.setdefault((".".join(parts[cut:]), shape), []).append(f"{begin}.")
    found = Counter[str]()
    for name, shape in shapes.items():
        found.update(suffixes.get((name, shape), []))
    if not found:
        return "", 0
    prefix, count = found.most_common(1)[0]
    return (prefix, count) if count >= min(_LEAST, len(shapes)) else ("", 0)


def better_fit(keys: NetworkKeys, tensors: Mapping[str, Tensor]) -> str:
    """Return a sentence about what weights would fit, for the end of an error message.

    Args:
        keys: Names of the network that they do not fit.
        tensors: All of the checkpoint's.
    """
    if in_pieces := _in_pieces(tensors):
        return in_pieces
    prefix, count = missing_prefix(tensors, keys)
    others = _others(keys, tensors)
    if prefix and (not others or 2 * count > len(tensors)):
        return (
            f"With {prefix!r} before their names {count} of the {len(tensors)} tensors would be "
            f"this network's: they are those of its {prefix[:-1]} alone, or its code differs."
        )
    if others:
        return f"They are those of {' or '.join(others)}: give --source {others[0]}."
    return (
        "No network of torchvision's has these names and shapes, whichever --source names; "
        "docs/guide/sources.md says what can be read."
    )


def _in_pieces(tensors: Mapping[str, Tensor]) -> str:
    """Say how the pieces of a training on several devices are put together; empty without such."""
    if any(key.rpartition(".")[2].startswith(("_flat_param", "flat_param")) for key in tensors):
        return (
            "They are laid end to end, as FSDP keeps them. Save them whole: "
            "torch.distributed.checkpoint.state_dict.get_model_state_dict with "
            "StateDictOptions(full_state_dict=True)."
        )
    if 2 * sum(value.numel() == 0 for value in tensors.values()) > len(tensors):
        return (
            "Most of them are empty, as DeepSpeed's stage 3 leaves them in place of those that are "
            "shared out. Put them together with the zero_to_fp32.py beside the checkpoint."
        )
    return ""


def _others(keys: NetworkKeys, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the sources that weights fit: of torchvision's, and of the same family of timm's."""
    for place in places(tensors):
        begin = len(place)
        inside = {
            ".".join(unwrap(key)[begin:]): tuple(value.shape)
            for key, value in tensors.items()
            if unwrap(key)[:begin] == place
        }
        others = [name for name in recognise(inside) if name != keys.architecture]
        if keys.architecture.startswith("timm:"):
            others = _of_timm(keys.architecture, inside) or others
        if others:
            return others
    return []


def _of_timm(source: str, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the networks of the same family that have these weights, but for the classes."""
    from snow_deploy.models.timm_source import family_of, shapes_of

    for each in family_of(source):
        with torch.device("meta"):
            known = shapes_of(each)
        body = {key: shape for key, shape in known.items() if key in shapes}
        fits = sum(shapes[key] == shape for key, shape in body.items())
        if len(body) == len(known) == len(shapes) and fits >= len(known) - 2:  # two: a classifier's
            return [each]
    return []
