"""Networks of timm by name, with what their configuration says of pictures and weights."""

from __future__ import annotations

import difflib
import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from snow_deploy.errors import SourceError
from snow_deploy.models.architectures import COUNTER, unfilled
from snow_deploy.models.module_facts import facts_of_config
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from snow_deploy.models.module_facts import ModuleFacts

PREFIX = "timm:"


def timm_facts(source: str, say: Callable[[str], None]) -> ModuleFacts:
    """Return how pictures are prepared for a network of timm's, without building it.

    Args:
        source: `timm:NAME`, as timm calls it, with or without a tag such as `.a1_in1k`.
        say: Callback that gets, a line at a time, what cannot be had.

    Raises:
        SourceError: timm is not installed, or has no such network.
    """
    return facts_of_config(source, _config(source), say)


def timm_network(
    source: str, *, pretrained: bool, say: Callable[[str], None]
) -> tuple[nn.Module, ModuleFacts]:
    """Build a network of timm's.

    Args:
        source: `timm:NAME`, as timm calls it.
        pretrained: Whether to fetch its weights from timm's hub; fresh ones else.
        say: Callback that gets, a line at a time, what cannot be had.

    Raises:
        SourceError: timm is not installed, has no such network or no weights for it, or they
            cannot be fetched.
    """
    facts, name = timm_facts(source, say), source.removeprefix(PREFIX)
    timm = _timm()
    config = _config(source)
    if pretrained and not any(config.get(key) for key in ("url", "hf_hub_id", "file")):
        with_weights = difflib.get_close_matches(name, timm.list_models(pretrained=True), 3, 0)
        msg = (
            f"timm has no weights for {name}. Give a file with --weights, or take one that has "
            f"some, such as {', '.join(with_weights)}."
        )
        raise SourceError(msg)
    try:
        network: nn.Module = timm.create_model(name, pretrained=pretrained)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        advice = (
            "Where there is no network, fetch the file on a machine with access and give its "
            "path: --weights FILE."
            if pretrained
            else "Take another of timm's networks."
        )
        msg = f"timm could not make {name}: {reason}. {advice}"
        raise SourceError(msg) from error
    origin = f"timm {config.get('architecture', name)}.{config.get('tag') or 'default'}"
    labels = _labels(network, config) if pretrained else None
    return network, replace(facts, labels=labels, origin=origin.removesuffix(".default"))


def family_of(source: str, most: int = 24) -> list[str]:
    """Return the sources of the same file of timm's, those of the nearest names first."""
    timm, name = _timm(), source.removeprefix(PREFIX).partition(".")[0]
    home = timm.model_entrypoint(name).__module__.rpartition(".")[2]
    others = [each for each in timm.list_models(module=home) if each != name]
    near = difflib.get_close_matches(name, others, most, 0)
    return [f"{PREFIX}{each}" for each in near]


@cache
def shapes_of(source: str) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of the weights of a network of timm's, by key; no counters."""
    with unfilled():
        network = _timm().create_model(source.removeprefix(PREFIX), pretrained=False)
    state = network.state_dict()
    return {key: tuple(v.shape) for key, v in state.items() if not key.endswith(COUNTER)}


def _timm() -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # nothing is sent that nobody asked for
    try:
        import timm
    except ImportError as error:
        msg = (
            "a source named timm:NAME needs timm, which is not installed. Install it: "
            f"{pip_install('timm')}"
        )
        raise SourceError(msg) from error
    return timm


def _config(source: str) -> Mapping[str, Any]:
    """Return timm's configuration of a network."""
    timm, name = _timm(), source.removeprefix(PREFIX)
    if name.startswith(("hf-hub:", "hf_hub:", "local-dir:")):
        return {}
    known, _, tag = name.partition(".")
    if not timm.is_model(known):
        near = difflib.get_close_matches(known, timm.list_models(), 5, 0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else "timm.list_models() has them all."
        msg = f"timm {timm.__version__} has no network called {known!r}. {hint}"
        raise SourceError(msg)
    try:
        found = timm.get_pretrained_cfg(name)
    except RuntimeError:  # of a tag that it does not know
        found = None
    if found is None or (tag and getattr(found, "tag", None) != tag):
        tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{known}.*")]
        msg = (
            f"timm has no weights {tag!r} for {known}. It has: {', '.join(tags) or 'none'}; leave "
            "the tag out for its first choice."
        )
        raise SourceError(msg)
    config: Mapping[str, Any] = found.to_dict()
    return config


def _labels(network: Any, config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the classes that timm knows for a network's weights."""
    named = config.get("label_names")
    if named:
        return tuple(map(str, named))
    from timm.data import imagenet_info

    subset = imagenet_info.infer_imagenet_subset(network)
    if subset is None:
        return None
    information: Any = imagenet_info.ImageNetInfo(subset)
    count = information.num_classes()
    if count != network.num_classes:
        return None
    return tuple(information.index_to_description(index) for index in range(count))
