"""Serving in torch: one shared network against whole models, the same way on every device."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from benchmarks._clock import alternate
from snow_export.inspect.owners import SOURCE
from snow_export.layout import arrange
from snow_export.network import SharedNetwork, flatten_network
from snow_export.trace.fold import fold_norms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks._scenario import Fleet
    from snow_runtime.graph.manifest import Layout

_WARM_UP = 3
_LEAST_MS = 20.0  # a visit times so many calls that they last about this long together

Contender = list[fx.GraphModule]
"""Networks that answer one batch, one after the other."""


def serving_contenders(
    fleet: Fleet, count: int, device: torch.device, dtype: torch.dtype
) -> dict[str, Contender]:
    """Build the contenders for the source's head and `count` tasks, channels_last, folded."""
    deltas = fleet.deltas(count)
    networks: dict[str, list[SharedNetwork]] = {
        "source": [SharedNetwork(fleet.source, [], (SOURCE,))],
        "shared_separate": [_shared(fleet, deltas, "separate")],
        "shared_fused": [_shared(fleet, deltas, "fused")],
        "separate_models": [
            SharedNetwork(model, [], (SOURCE,))
            for model in (fleet.source, *fleet.whole_models(count).values())
        ],
    }
    return {
        name: [_on_device(network, device, dtype) for network in group]
        for name, group in networks.items()
    }


@torch.no_grad()
def measure_serving(
    contenders: Mapping[str, Contender],
    image_size: int,
    batch_sizes: Sequence[int],
    rounds: int,
) -> list[dict[str, Any]]:
    """Time every contender on batches of random pictures.

    Returns:
        One row for each batch size and way of calling: `graph`, replaying a CUDA graph (a GPU
        only), and `eager`. Each has `ms` by contender, `shared_over_source`,
        `separate_models_over_shared` and `fused_over_separate`.
    """
    weight = next(contenders["source"][0].parameters())
    rows = []
    for batch in batch_sizes:
        images = torch.randn(batch, 3, image_size, image_size, device=weight.device)
        images = images.to(weight.dtype, memory_format=torch.channels_last)
        for mode in ("graph", "eager") if weight.is_cuda else ("eager",):
            calls = {
                name: _caller(networks, images, captured=mode == "graph")
                for name, networks in contenders.items()
            }
            times = alternate({name: _visit(call, weight) for name, call in calls.items()}, rounds)
            rows.append({"batch": batch, "mode": mode, "ms": times, **ratios(times)})
    return rows


def ratios(times: Mapping[str, float]) -> dict[str, float]:
    """Return what the times say of sharing."""
    shared = times["shared_fused"]
    return {
        "shared_over_source": shared / times["source"],
        "separate_models_over_shared": times["separate_models"] / shared,
        "fused_over_separate": shared / times["shared_separate"],
    }


@torch.no_grad()
def fused_agreement(contenders: Mapping[str, Contender], image_size: int) -> dict[str, Any]:
    """Compare the fused network's answers with the separate deltas', on the device."""
    weight = next(contenders["source"][0].parameters())
    images = torch.randn(8, 3, image_size, image_size, device=weight.device)
    images = images.to(weight.dtype, memory_format=torch.channels_last)
    pairs = list(
        zip(
            contenders["shared_fused"][0](images),
            contenders["shared_separate"][0](images),
            strict=True,
        )
    )
    errors = [
        float((fused.float() - separate.float()).abs().max() / separate.float().abs().max())
        for fused, separate in pairs
    ]
    same = [(fused.argmax(1) == separate.argmax(1)).float().mean() for fused, separate in pairs]
    return {
        "finite": all(bool(fused.isfinite().all()) for fused, _ in pairs),
        "largest_relative_error": max(errors),
        "same_top1": float(torch.stack(same).mean()),
    }


def _shared(fleet: Fleet, deltas: Mapping[str, nn.Module], layout: Layout) -> SharedNetwork:
    size = fleet.scenario.image_size
    example = torch.zeros(2, 3, size, size)
    heads = arrange(deltas, layout, (example, fleet.source(example))).heads
    return SharedNetwork(fleet.source, heads, (SOURCE, *deltas))


def _on_device(network: SharedNetwork, device: torch.device, dtype: torch.dtype) -> fx.GraphModule:
    """Flatten a copy, for the fleet's own networks stay where and as they are."""
    flat = copy.deepcopy(fold_norms(flatten_network(network)))
    return flat.to(device, dtype).to(memory_format=torch.channels_last)


def _caller(networks: Contender, images: Tensor, *, captured: bool) -> Callable[[], object]:
    """Return a call that answers the batch, recorded as one CUDA graph where asked."""

    def run() -> list[tuple[Tensor, ...]]:
        return [network(images) for network in networks]

    if not captured:
        return run
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):  # lets cuDNN choose its algorithms before the recording
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = run()

    def replay() -> object:
        graph.replay()
        return kept  # the graph writes into these

    return replay


def _visit(call: Callable[[], object], weight: Tensor) -> Callable[[], float]:
    """Return a function that measures the milliseconds of one call."""

    def visit() -> float:
        for _ in range(_WARM_UP):
            call()
        once = elapsed_ms(call, 1, cuda=weight.is_cuda)
        return elapsed_ms(call, max(1, round(_LEAST_MS / once)), cuda=weight.is_cuda)

    return visit


def elapsed_ms(call: Callable[[], object], times: int, *, cuda: bool) -> float:
    """Time a number of calls together, by CUDA events or the clock; return ms for one."""
    if not cuda:
        started = time.perf_counter()
        for _ in range(times):
            call()
        return 1e3 * (time.perf_counter() - started) / times
    begin: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    begin.record()
    for _ in range(times):
        call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / times
