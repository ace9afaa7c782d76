"""Reshapes and expansions by numbers, at another width than they were written for."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from snow_deploy.models.channel_shapes import divided_shape

Shape = tuple[int, ...]


def changed(target: object, read: Shape, made: Shape, arrives: Shape, *sizes: object) -> object:
    """Return the sizes that take the place of `sizes`; None where they stay."""
    graph = fx.Graph()
    whole = graph.placeholder("whole")
    args = (whole, *sizes)
    node = (
        graph.call_method(target, args)  # type: ignore[arg-type]
        if isinstance(target, str)
        else graph.call_function(target, args)  # type: ignore[arg-type]
    )
    found = divided_shape(node, (read, made), arrives, 4)
    return None if found is None else found[1:]


@pytest.mark.parametrize(
    ("read", "made", "arrives", "expected"),
    [
        ((1, 32, 1, 1), (1, 32), (1, 8, 1, 1), (-1, 8)),
        ((1, 32), (1, 32, 1, 1), (1, 8), (-1, 8, 1, 1)),
        ((1, 32, 6, 6), (1, 1152), (1, 8, 6, 6), (-1, 288)),
        ((1, 1152), (1, 32, 6, 6), (1, 288), (-1, 8, 6, 6)),
        ((1, 32, 6, 6), (1, 4, 8, 6, 6), (1, 8, 6, 6), (-1, 4, 2, 6, 6)),
        ((1, 16, 6, 6), (1, 8, 2, 6, 6), (1, 4, 6, 6), (-1, 2, 2, 6, 6)),
        ((1, 8, 4, 6, 6), (1, 32, 36), (1, 2, 4, 6, 6), (-1, 8, 36)),
        ((1, 6, 6, 32), (1, 36, 32), (1, 6, 6, 8), (-1, 36, 8)),
    ],
)
def test_the_number_that_holds_channels_follows_what_arrives(
    read: Shape, made: Shape, arrives: Shape, expected: Shape
) -> None:
    assert changed("view", read, made, arrives, -1, *made[1:]) == expected
    assert changed(torch.reshape, read, made, arrives, [-1, *made[1:]]) == ([*expected],)


def test_what_follows_by_itself_or_cannot_stays() -> None:
    assert changed("view", (1, 32, 6, 6), (1, 32, 36), (1, 8, 6, 6), -1, 32, 36) == (-1, 8, 36)
    assert changed("view", (1, 32, 6, 6), (1, 1152), (1, 8, 6, 6), 1, -1) is None
    assert changed("view", (1, 32, 6, 6), (1, 32, 6, 6), (1, 32, 6, 6), -1, 32, 6, 6) is None
    assert changed("view", (1, 30), (1, 6, 5), (1, 7), -1, 6, 5) is None


def test_an_expansion_follows_too() -> None:
    wide = (1, 32, 6, 6)
    assert changed("expand", (1, 32, 1, 1), wide, (1, 8, 1, 1), -1, 32, 6, 6) == (-1, 8, 6, 6)
    assert changed("expand", (1, 1, 6, 6), wide, (1, 1, 6, 6), -1, 32, -1, -1) == (-1, 8, -1, -1)
    assert changed("expand", (1, 32, 1, 1), wide, (1, 8, 1, 1), -1, -1, 6, 6) is None
