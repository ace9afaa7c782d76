from __future__ import annotations

import operator

import torch
from torch import fx

from snow_deploy.models.channel_cuts import divided_cuts


def cut(target: object, *args: object, channels: int = 0, arriving: int = 0) -> object:
    graph = fx.Graph()
    whole = graph.placeholder("whole")
    node = graph.call_function(target, (whole, *args))  # type: ignore[arg-type]
    found = divided_cuts(node, 8, lambda: channels, lambda: arriving)
    return None if found is None else found[1:]


def test_a_slice_of_channels_is_divided_rounding_up() -> None:
    assert cut(operator.getitem, (slice(None), slice(None, 20))) == (
        (slice(None), slice(None, 3, None)),
    )
    assert cut(operator.getitem, (slice(None), slice(16, None))) == (
        (slice(None), slice(2, None, None)),
    )


def test_what_is_no_slice_of_channels_stays() -> None:
    assert cut(operator.getitem, 1) is None
    assert cut(operator.getitem, (slice(None), slice(None), slice(3))) is None
    assert cut(operator.getitem, (slice(None), slice(-4, None))) is None
    assert cut(torch.split, 16, 2) is None


def test_parts_of_a_split_add_up_to_what_arrives() -> None:
    assert cut(torch.split, [16, 16, 32], 1, arriving=8) == ([2, 2, 4], 1)
    assert cut(torch.split, 14, 1, channels=112, arriving=14) == ([2, 2, 2, 1, 2, 2, 2, 1], 1)
    assert cut(torch.split, [1, 1, 1, 61], 1, arriving=8) == ([1, 1, 1, 5], 1)
