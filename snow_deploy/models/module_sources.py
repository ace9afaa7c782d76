"""Sources that are no architecture of torchvision's: timm's by name, and modules of one's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from snow_deploy.errors import SourceError
from snow_deploy.models.module_facts import for_stem
from snow_deploy.models.module_weights import take_weights, weights_of_module
from snow_deploy.models.own_source import own_network
from snow_deploy.models.state_dicts import flatten_state_dict
from snow_deploy.models.timm_source import PREFIX, timm_facts, timm_network
from snow_deploy.models.weights_file import read_weights_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from snow_deploy.models.module_facts import ModuleFacts
    from snow_deploy.models.source_weights import SourceWeights
    from snow_runtime.graph.image_size import ImageSize


def is_module_source(source: str) -> bool:
    """Tell `timm:NAME` and `package.module:factory` from a name of torchvision's."""
    return ":" in source


def usual_image_size(source: str) -> ImageSize:
    """Return the size of the pictures that a source is made for, in pixels.

    Raises:
        SourceError: There is no such source.
    """
    if not is_module_source(source):
        return 224
    if source.startswith(PREFIX):
        return timm_facts(source, _nobody).image_size
    return own_network(source, _nobody)[1].image_size


def load_module_source(
    source: str,
    weights: str | None,
    key: str | None,
    image_size: ImageSize | None,
    say: Callable[[str], None],
) -> SourceWeights:
    """Load a source of timm's or of one's own.

    Args:
        source: `timm:NAME`, or `package.module:factory`.
        weights: A file of weights; `imagenet` for timm's own. None takes timm's own, or those
            with which a factory returns its network.
        key: Place of the weights in a file; None where that is plain.
        image_size: Side of the pictures that it will read, or height and width; None for those
            that it is made for.
        say: Callback that gets, a line at a time, what was chosen and assumed.

    Raises:
        SourceError: There is no such network, it cannot be a source, or the weights do not fit.
    """
    path = None if weights is None or weights.lower() == "imagenet" else Path(weights)
    if path is None and key is not None:
        msg = "--weights-key is for a file of weights. Leave it out, or give --weights FILE"
        raise SourceError(msg)
    if source.startswith(PREFIX):
        network, facts = timm_network(source, pretrained=path is None, say=say)
        facts = for_stem(network, facts)
    else:
        network, facts = own_network(source, say)
        if path is None and weights is not None:
            msg = (
                f"{source} has no weights called {weights!r}. Give the path of a file, or leave "
                "--weights out for those with which the factory returns the network."
            )
            raise SourceError(msg)
    traced_for = facts if image_size is None else replace(facts, image_size=image_size)
    if path is not None:
        traced_for = _take_file(path, network, traced_for, key, say)
    loaded = weights_of_module(network, traced_for)
    return replace(loaded, image_size=facts.image_size)


def _take_file(
    path: Path,
    network: nn.Module,
    facts: ModuleFacts,
    key: str | None,
    say: Callable[[str], None],
) -> ModuleFacts:
    file = read_weights_file(path)
    tensors = flatten_state_dict(file.content)
    if not tensors:
        msg = (
            f"{path} cannot be read as a file of tensors: it holds no state dict, that is, no "
            "tensor by a name. Save one: torch.save(model.state_dict(), 'weights.pth')."
        )
        raise SourceError(msg)
    take_weights(network, tensors, replace(facts, origin=path.name), key, say)
    origin = path.name if key is None else f"{path.name}: {key}"
    return replace(facts, origin=origin, labels=_labels(file.metadata, path))


def _labels(metadata: Mapping[str, str], path: Path) -> tuple[str, ...] | None:
    if "labels" not in metadata:
        return None
    try:
        labels = json.loads(metadata["labels"])
    except ValueError:
        labels = None
    if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
        msg = f"the labels in {path} are no JSON list of texts, one a class. Write them anew."
        raise SourceError(msg)
    return tuple(labels)


def _nobody(line: str) -> None:
    """Hear a line."""
