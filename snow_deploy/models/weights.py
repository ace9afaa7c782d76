"""Where a source comes from: torchvision's weights by name, or a file of tensors."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torchvision

from snow_deploy.errors import SourceError
from snow_deploy.models.architectures import (
    Triple,
    architectures,
    build_architecture,
    has_bottlenecks,
    network_keys,
    normalisation,
)
from snow_deploy.models.choose_weights import choose_weights
from snow_deploy.models.module_sources import is_module_source, load_module_source
from snow_deploy.models.source_weights import SourceWeights, from_network, hash_tensors
from snow_deploy.models.state_dicts import flatten_state_dict
from snow_deploy.models.weights_file import read_weights_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snow_runtime.graph.image_size import ImageSize

__all__ = [
    "ReadOptions",
    "SourceWeights",
    "architectures",
    "build_architecture",
    "from_network",
    "hash_tensors",
    "is_file",
    "load_weights",
]


@dataclass(frozen=True)
class ReadOptions:
    """What a file of weights does not say of itself.

    Attributes:
        key: Place of the weights in a checkpoint, such as `state_dict_ema`; None where that is
            plain.
        stride_in_1x1: The bottlenecks' stride sits on the first 1x1 convolution.
        image_size: Side of the pictures to come in pixels, or height and width, for networks that
            decide by it; None for the one that a network is made for.
    """

    key: str | None = None
    stride_in_1x1: bool = False
    image_size: ImageSize | None = None


def is_file(weights: str) -> bool:
    """Tell a file of weights, there or not, from a name of torchvision's."""
    path = Path(weights)
    named = weights.lower() == "imagenet" or weights.lower().startswith("imagenet1k_")
    return bool(path.suffix) or path.name != weights or (path.exists() and not named)


def load_weights(
    weights: str | None,
    architecture: str,
    options: ReadOptions | None = None,
    say: Callable[[str], None] | None = None,
) -> SourceWeights:
    """Load a source by torchvision's weight name or from a file.

    Args:
        weights: `imagenet` (torchvision's IMAGENET1K_V1), any of torchvision's weight names
            for the architecture, or the path of a file: .safetensors, or one that torch.save
            wrote, whatever it is called; None for the usual ones. A file is read as tensors
            only; nothing in it is executed.
            A safetensors file may carry the metadata `architecture`, `stride_in_1x1` (`true`
            or `false`), `labels` (a JSON list) and `preprocessing` (JSON with `mean` and `std`).
        architecture: Torchvision's name, `timm:NAME` or `package.module:factory`.
        options: What a file does not say of itself.
        say: Callback that gets, a line at a time, what was chosen among several and what was
            assumed; None for nobody.

    Raises:
        SourceError: Unknown name, missing or damaged file, tensors that do not fit or are not
            finite.
    """
    options, say = options or ReadOptions(), say or _nobody
    if is_module_source(architecture):
        if options.stride_in_1x1:
            msg = f"--stride-in-1x1 is for torchvision's ResNets, not {architecture}; leave it out"
            raise SourceError(msg)
        return load_module_source(architecture, weights, options.key, options.image_size, say)
    network_keys(architecture)  # refuses an unknown architecture
    weights = weights or "imagenet"
    if is_file(weights):
        loaded = _load_file(Path(weights), architecture, options, say)
    else:
        _refuse_for_names(weights, options)
        loaded = _load_torchvision(weights, architecture, say)
    loaded.build()  # fails here, with the file's name, rather than in the middle of a run
    return loaded


def _nobody(line: str) -> None:
    """Hear a line."""


def _refuse_for_names(weights: str, options: ReadOptions) -> None:
    given = {"--weights-key": options.key, "--stride-in-1x1": options.stride_in_1x1}
    for option, value in given.items():
        if value:
            msg = (
                f"{option} is for a file of weights; of torchvision's own, such as {weights!r}, "
                "it is known. Leave it out, or give --weights FILE"
            )
            raise SourceError(msg)


def _load_torchvision(name: str, architecture: str, say: Callable[[str], None]) -> SourceWeights:
    family = torchvision.models.get_model_weights(architecture)
    known = {member.name.lower(): member for member in family}
    wanted = "imagenet1k_v1" if name.lower() == "imagenet" else name.lower()
    if wanted not in known:
        msg = (
            f"{architecture} has no weights called {name!r}. Give the path of a .safetensors or "
            f".pth file, `imagenet`, or one of: {', '.join(member.name for member in family)}"
        )
        raise SourceError(msg)
    member = known[wanted]
    if not member.meta.get("categories"):
        msg = (
            f"{member.name} of {architecture} has no classifier that answers anything; choose "
            "other weights, such as imagenet"
        )
        raise SourceError(msg)
    _check_cache(member.name, member.url)
    try:
        state = member.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        msg = (
            f"could not download {member.name} for {architecture}: {error}. Fetch {member.url} "
            "on a machine with access and give its path: --weights FILE"
        )
        raise SourceError(msg) from error
    mean, std = normalisation(architecture)
    origin = f"torchvision {member}"
    return SourceWeights(
        architecture,
        choose_weights(flatten_state_dict(state), network_keys(architecture), None, origin, say),
        mean=mean,
        std=std,
        labels=tuple(member.meta["categories"]),
        origin=origin,
    )


def _check_cache(name: str, url: str) -> None:
    """Refuse where torch would make a folder called `~` in the working directory."""
    place = torch.hub.get_dir()
    if not place.startswith("~"):
        return
    msg = (
        f"{name} would be kept in {place}, and this user has no home folder: HOME is not set. Set "
        f"HOME, or TORCH_HOME to a folder for torch's files; or fetch {url} and give its path: "
        "--weights FILE"
    )
    raise SourceError(msg)


def _load_file(
    path: Path, architecture: str, options: ReadOptions, say: Callable[[str], None]
) -> SourceWeights:
    file = read_weights_file(path)
    declared = file.metadata.get("architecture", architecture)
    if declared != architecture:
        msg = f"{path} says it is a {declared}, not a {architecture}; add --source {declared}"
        raise SourceError(msg)
    tensors = flatten_state_dict(file.content)
    if not tensors:
        msg = (
            f"{path} cannot be read as a file of tensors: it holds no state dict, that is, no "
            "tensor by a name. Save one: torch.save(model.state_dict(), 'weights.pth')."
        )
        raise SourceError(msg)
    state = choose_weights(tensors, network_keys(architecture), options.key, path.name, say)
    origin = path.name if options.key is None else f"{path.name}: {options.key}"
    loaded = _described(path, SourceWeights(architecture, state, origin=origin), file.metadata)
    if options.stride_in_1x1:
        loaded = replace(loaded, stride_in_1x1=True)
    _say_what_is_assumed(loaded, file.metadata, options, say)
    return loaded


def _described(path: Path, weights: SourceWeights, metadata: Mapping[str, str]) -> SourceWeights:
    """Add what a file says of itself."""
    mean, std = normalisation(weights.architecture)
    try:
        preprocessing = json.loads(metadata.get("preprocessing", "{}"))
        labels = _labels(metadata["labels"]) if "labels" in metadata else None
        described = replace(
            weights,
            stride_in_1x1=_truth(metadata.get("stride_in_1x1", "false")),
            mean=_triple(preprocessing.get("mean", mean)),
            std=_triple(preprocessing.get("std", std)),
        )
        _check_normalisation(described.mean, described.std)
        return described if labels is None else described.with_labels(labels)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        msg = f"the metadata of {path} cannot be read: {error}. Write it anew, or leave it out."
        raise SourceError(msg) from error


def _truth(text: str) -> bool:
    if text.strip().lower() not in {"true", "false"}:
        msg = f"stride_in_1x1 is {text!r}, expected true or false"
        raise ValueError(msg)
    return text.strip().lower() == "true"


def _labels(text: str) -> list[str]:
    labels = json.loads(text)
    if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
        msg = "labels are expected as a JSON list of texts, one a class"
        raise ValueError(msg)
    return labels


def _triple(values: Any) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _check_normalisation(mean: Triple, std: Triple) -> None:
    if not all(0 <= each <= 1 for each in mean):
        msg = f"mean is {list(mean)}, expected numbers from 0 to 1, of pictures scaled to [0, 1]"
        raise ValueError(msg)
    if not all(0 < each < math.inf for each in std):
        msg = f"std is {list(std)}, expected numbers above 0, of pictures scaled to [0, 1]"
        raise ValueError(msg)


def _say_what_is_assumed(
    weights: SourceWeights,
    metadata: Mapping[str, str],
    options: ReadOptions,
    say: Callable[[str], None],
) -> None:
    """Tell what a file's keys and shapes leave open, and its metadata too."""
    assumed = []
    placed = options.stride_in_1x1 or "stride_in_1x1" in metadata
    if has_bottlenecks(weights.architecture) and not placed:
        assumed.append("strides on the 3x3 convolutions (else give --stride-in-1x1)")
    if not {"mean", "std"} <= set(json.loads(metadata.get("preprocessing", "{}"))):
        mean, std = (", ".join(f"{v:g}" for v in each) for each in (weights.mean, weights.std))
        assumed.append(f"RGB pictures with mean {mean} and deviation {std}")
    if assumed:
        say(
            f"{weights.origin}: taken for torchvision's {weights.architecture}, with "
            f"{' and '.join(assumed)}. Names and shapes of tensors do not tell, nor of "
            "anti-aliasing, dilation or other activations: see docs/guide/sources.md."
        )
