"""Serving many tasks: pictures a second that get every task's answer, in torch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snow_deploy.models.anatomy import HEAD
from snow_deploy.models.schemes import build_network
from snow_deploy.models.schemes.lwf import LearningWithoutForgetting
from snow_deploy.models.source import Source
from snow_deploy.paper.measure.networks import random_weights
from snow_deploy.paper.measure.turns import elapsed_ms, least_in_turns
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.study import digest
from snow_export.inspect.owners import SOURCE
from snow_export.layout import arrange
from snow_export.network import SharedNetwork, flatten_network
from snow_export.trace.fold import fold_norms
from snow_runtime.graph.image_size import height_width

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import fx

    from snow_deploy.models.network import Scheme
    from snow_deploy.paper.measure.step import StepSetup
    from snow_runtime.graph.image_size import ImageSize

_WARM_UP = 3
_LEAST_MS = 100.0  # a visit times so many calls that they last about this long together


class AllHeads(nn.Module):
    """One network with a head for each task, as `lf` leaves it: images to logits of each."""

    def __init__(self, network: LearningWithoutForgetting, tasks: Sequence[str]) -> None:
        """Take the network; its tasks are the older ones in order, then the newest."""
        super().__init__()
        self.tasks = tuple(tasks)
        self.network = network.network
        self.heads = nn.ModuleList([*network.older, network.head])

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Answer every task, [B, classes] each."""
        pooled = {HEAD: self.network(images)}
        return tuple(head(images, pooled) for head in self.heads)


def build_server(setup: StepSetup) -> fx.GraphModule:
    """Build one network that answers the source's own task and all others, folded for evaluation.

    Args:
        setup: Scheme, delta, source and classes.

    Returns:
        [B, 3, S, S] to the logits of each task, the source's first. What shares the source's pass
        shares it here; SNOW's deltas are fused where they can be.
    """
    source = Source(random_weights(setup.architecture, setup.source_classes)).eval()
    tasks = [f"task{number}" for number in range(1, len(setup.classes) + 1)]
    outputs = (SOURCE, *tasks)
    if setup.options.scheme == "lf":
        older = [source.num_classes, *setup.classes[:-1]]
        network = build_network(source, setup.classes[-1], setup.options, older).eval()
        if not isinstance(network, LearningWithoutForgetting):
            raise TypeError(type(network))
        heads: list[nn.Module] = [AllHeads(network, outputs)]
    else:
        networks = {
            task: build_network(source, classes, setup.options).eval()
            for task, classes in zip(tasks, setup.classes, strict=True)
        }
        example = torch.zeros(2, 3, *height_width(setup.options.image_size))
        apart = [task for task, network in networks.items() if not network.fuses]
        heads = arrange(networks, "fused", (example, source(example)), apart).heads
    flat = fold_norms(flatten_network(SharedNetwork(source, heads, outputs)))
    flat.delete_all_unused_submodules()
    return flat.to(memory_format=torch.channels_last)


def measure_serving(
    setups: Mapping[str, StepSetup],
    batch: int,
    kept: MeasurementCache,
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, float]:
    """Time every contender on random pictures in alternating rounds; return pictures a second.

    Times are kept for these contenders together: beside others they are taken anew.

    Args:
        setups: The contenders.
        batch: Pictures a call.
        kept: What is measured already.
        rounds: Number of visits to each.
        say: Callback that gets what is done, as a line.
    """
    device = default_device()
    servers: dict[str, fx.GraphModule] = {}
    together = digest({name: _facts(setup, device) for name, setup in setups.items()})

    def measure(name: str) -> dict[str, float]:
        if name not in servers:
            servers[name] = build_server(setups[name]).to(device)
        return {"ms": _time(servers[name], batch, setups[name].options.image_size)}

    def visit(name: str, number: int) -> float:
        say(f"serving, batch {batch}, round {number + 1} of {rounds}: {name}")
        facts = {
            **_facts(setups[name], device),
            "batch": batch,
            "round": number,
            "together": together,
        }
        ms: float = kept.get("serving", facts, partial(measure, name))["ms"]
        return ms

    times = least_in_turns(visit, setups, rounds)
    return {name: 1e3 * batch / ms for name, ms in times.items()}


def _facts(setup: StepSetup, device: torch.device) -> dict[str, Any]:
    """Return what serving depends on: nothing of the training."""
    document = setup.to_dict()
    scheme: Scheme = setup.options.scheme
    return {
        "scheme": scheme,
        "delta": document["options"]["delta"],
        "image_size": setup.options.image_size,
        "architecture": setup.architecture,
        "source_classes": setup.source_classes,
        "classes": document["classes"],
        **describe_device(device),
    }


@torch.no_grad()
def _time(network: fx.GraphModule, batch: int, size: ImageSize) -> float:
    """Return the milliseconds of a call."""
    device = next(network.parameters()).device
    images = torch.randn(batch, 3, *height_width(size), device=device)
    images = images.to(memory_format=torch.channels_last)

    def call() -> object:
        return network(images)

    for _ in range(_WARM_UP):
        call()
    once = elapsed_ms(call, 1, device)
    return elapsed_ms(call, max(1, round(_LEAST_MS / once)), device)
