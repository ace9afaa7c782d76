"""How a network's pictures are prepared: as its user says, else as its own configuration does."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, get_args

from snow_deploy.errors import SourceError
from snow_deploy.models.module_facts import ModuleFacts, facts_of_config, for_stem
from snow_runtime.graph.image_size import height_width, size_of
from snow_runtime.graph.manifest import Interpolation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

_LOGGER = logging.getLogger(__name__)


def facts_of_network(network: nn.Module, given: Mapping[str, Any]) -> ModuleFacts:
    """Put together what a network's weights do not say.

    Args:
        network: The network; its `pretrained_cfg` is read where it has one, as timm's have.
        given: Fields of `ModuleFacts`; None takes the configuration's, or the usual value.

    Raises:
        SourceError: A value is none that it can be.
    """
    said = {key: value for key, value in given.items() if value is not None}
    name = str(said.get("name") or type(network).__name__)
    config = config_of(network)
    facts = ModuleFacts(name)
    if config is not None:
        facts = facts_of_config(name, config, _LOGGER.warning)
    kept = {field.name for field in fields(ModuleFacts)}
    facts = replace(facts, **{key: _fixed(value) for key, value in said.items() if key in kept})
    if isinstance(facts.image_size, tuple) and len(facts.image_size) == 2:
        facts = replace(facts, image_size=size_of(*facts.image_size))
    _check(facts)
    return facts if "mean" in said else for_stem(network, facts)


def config_of(network: Any) -> dict[str, Any] | None:
    """Return a network's own configuration, as timm's networks have it; None without."""
    for name in ("pretrained_cfg", "default_cfg"):
        config = getattr(network, name, None)
        if config is not None and hasattr(config, "to_dict"):
            config = config.to_dict()
        if isinstance(config, dict) and config:
            return config
    return None


def _fixed(value: Any) -> Any:
    """Let a list be a tuple: facts are hashed."""
    listed = not isinstance(value, str) and hasattr(value, "__iter__")
    return tuple(value) if listed else value


def _check(facts: ModuleFacts) -> None:
    """Refuse what no picture could be prepared with.

    Raises:
        SourceError: A value is out of range; the message names it.
    """
    triples = {"mean": facts.mean, "std": facts.std}
    numbers = {
        name: len(values) == 3 and all(isinstance(each, int | float) for each in values)
        for name, values in triples.items()
    }
    sides = height_width(facts.image_size)
    checks = {
        "image_size": (
            len(sides) == 2 and all(isinstance(side, int) and side >= 32 for side in sides),
            "32 or more, or a height and a width of as many",
        ),
        "mean": (numbers["mean"], "three numbers, one of each of red, green and blue"),
        "std": (
            numbers["std"] and all(each > 0 for each in facts.std),
            "three numbers above 0, one of each of red, green and blue",
        ),
        "crop_share": (
            facts.crop_share is None or 0 < facts.crop_share <= 1,
            "a share above 0, up to 1",
        ),
        "interpolation": (
            facts.interpolation in get_args(Interpolation),
            ", ".join(get_args(Interpolation)),
        ),
    }
    for name, (holds, expected) in checks.items():
        if not holds:
            msg = (
                f"{name}={getattr(facts, name)!r} is none that the pictures of {facts.name} can "
                f"have; expected {expected}. Give what the network was trained with."
            )
            raise SourceError(msg)
