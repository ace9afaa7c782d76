"""Table 2: what each way of subscribing to N channels costs, counted and timed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from snow_deploy.models.options import DeltaOptions, Subscribing
from snow_deploy.models.resized_layers import divide
from snow_deploy.models.subscriptions import make_subscription
from snow_deploy.paper import printed
from snow_deploy.paper.measure.turns import elapsed_ms, least_in_turns
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.plots import COLOURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from snow_deploy.paper.study import Study

KINDS: Final[tuple[Subscribing, ...]] = ("conv1x1", "attention", "pooling")
_COLUMNS = (
    Column("subscription", "subscription"),
    Column("channels", "N", "whole"),
    Column("kept", "K", "whole"),
    Column("parameters", "parameters", "whole"),
    Column("growth", "grows by", "ratio"),
    Column("paper_order", "paper", printed=True),
    Column("multiplications", "multiplications", "whole"),
    Column("paper_pattern", "paper: computes", printed=True),
    Column("ms", "ms", "number"),
)
_REPEATS = 5
_WARM_UP = 2


def make_table2(
    study: Study, channels: Sequence[int], side: int, batch: int, rounds: int
) -> tuple[TableReport, Figure]:
    """Count and time untrained subscriptions to maps of N x side x side.

    Args:
        study: Its delta's K, and where measurements are kept.
        channels: N, ascending.
        side: h and w of a map.
        batch: Maps in a call.
        rounds: Visits to each.
    """
    layers = {(kind, n): _subscription(kind, n, study.delta) for kind in KINDS for n in channels}
    times = _times(study, layers, (batch, side), rounds)
    rows: list[dict[str, Cell]] = []
    for kind in KINDS:
        before = None
        for n in channels:
            kept = divide(n, study.delta.k_divisor)
            counted = sum(each.numel() for each in layers[kind, n].parameters())
            order, pattern = printed.OVERHEAD[kind]
            rows.append(
                {
                    "subscription": kind,
                    "channels": n,
                    "kept": n if kind == "attention" else kept,
                    "parameters": counted,
                    "growth": None if before is None else counted / before,
                    "paper_order": order,
                    "multiplications": multiplications(kind, n, kept, side * side),
                    "paper_pattern": pattern,
                    "ms": times[f"{kind} {n}"],
                }
            )
            before = counted
    device = describe_device(default_device())
    notes = [
        (
            f"N x {side} x {side}, K = N/{study.delta.k_divisor}; grows by: parameters over those "
            "of the line before. Where N doubles, O(N) doubles, O(N·K) and O(N²) grow fourfold."
        ),
        (
            f"ms: a forward pass of {batch} maps in fp32, least of {rounds} rounds in turns, on "
            f"{device['device']}. Pooling's parameters are N and its BatchNorm's 2K."
        ),
    ]
    facts = {"channels": list(channels), "side": side, "batch": batch, **device}
    title = "Table 2: overhead of a subscription"
    report = TableReport("table2", title, _COLUMNS, rows, notes, facts)
    return report, _draw(report, channels)


def multiplications(kind: Subscribing, channels: int, kept: int, pixels: int) -> int:
    """Count the multiplications for one map of N x pixels.

    A 1x1 convolution has N*K for each pixel, pooling K. Attention has two products of N x N/16 for
    the whole map, and a gate for each value.
    """
    if kind == "conv1x1":
        return channels * kept * pixels
    if kind == "attention":
        return 2 * channels * divide(channels, 16) + channels * pixels
    return kept * pixels


def _subscription(kind: Subscribing, channels: int, delta: DeltaOptions) -> nn.Module:
    options = DeltaOptions(k_divisor=delta.k_divisor, subscription=kind)
    return make_subscription(channels, options).eval().to(memory_format=torch.channels_last)


def _times(
    study: Study,
    layers: dict[tuple[Subscribing, int], nn.Module],
    shape: tuple[int, int],
    rounds: int,
) -> dict[str, float]:
    """Return the milliseconds of a forward pass of each."""
    kept, device = MeasurementCache(study.output / "measured"), default_device()
    named = {f"{kind} {n}": (kind, n) for kind, n in layers}

    def visit(name: str, number: int) -> float:
        kind, n = named[name]
        facts = {
            "subscription": kind,
            "channels": n,
            "k": study.delta.k_divisor,
            "shape": shape,
            "round": number,
            "together": list(named),
            **describe_device(device),
        }
        value = kept.get("subscription", facts, partial(_time, layers[kind, n], n, shape, device))
        ms: float = value["ms"]
        return ms

    return least_in_turns(visit, named, rounds)


@torch.no_grad()
def _time(
    layer: nn.Module, channels: int, shape: tuple[int, int], device: torch.device
) -> dict[str, float]:
    batch, side = shape
    maps = torch.randn(batch, channels, side, side, device=device)
    maps = maps.to(memory_format=torch.channels_last)
    layer = layer.to(device)
    for _ in range(_WARM_UP):
        layer(maps)
    return {"ms": elapsed_ms(lambda: layer(maps), _REPEATS, device)}


def _draw(report: TableReport, channels: Sequence[int]) -> Figure:
    figure = new_figure(8.4, 3.2)
    for axes, key, label in zip(
        figure.subplots(1, 2), ("parameters", "ms"), ("parameters", "ms"), strict=True
    ):
        for colour, kind in zip(COLOURS, KINDS, strict=False):
            rows = [row for row in report.rows if row["subscription"] == kind]
            values = [float(row[key] or 0) for row in rows]
            axes.plot(channels, values, "o-", color=colour, label=kind, ms=4)
        axes.set(xscale="log", yscale="log", xlabel="channels of the source, N", ylabel=label)
        axes.legend(fontsize=8, frameon=False)
        tidy(axes)
    figure.suptitle(report.title, fontsize=10)
    return figure
