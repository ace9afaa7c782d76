"""What the factory builds, counted against the paper's Table 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_deploy.models.schemes import build_network
from snow_deploy.training.options import TrainOptions
from tests.deploy.models.test_delta import PAPER_TASKS, blank_source, resnet50_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_deploy.models.network import Scheme
    from snow_deploy.models.source import Source

SOURCE = 25_557_032
TRUNK = SOURCE - 2049 * 1000


@pytest.fixture(scope="module")
def resnet50() -> Source:
    return blank_source("resnet50")


def fourth_stage() -> int:
    """Count the last stage at 1/8 of its width, on 1024 channels."""
    first = 1024 * 64 + 64 * 64 * 9 + 64 * 256 + 1024 * 256 + 2 * (64 + 64 + 256 + 256)
    other = 256 * 64 + 64 * 64 * 9 + 64 * 256 + 2 * (64 + 64 + 256)
    return first + 2 * other


def normalised_channels() -> int:
    blocks = sum(
        6 * width + (4 * width if inputs != 4 * width else 0)
        for inputs, width, _ in resnet50_blocks()
    )
    return 64 + blocks


def adapters() -> int:
    """Count N x N for the output of every convolution but the shortcuts'."""
    return 64**2 + sum(2 * width**2 + (4 * width) ** 2 for _, width, _ in resnet50_blocks())


BY_HAND: dict[Scheme, tuple[float, Callable[[int], int]]] = {
    "fo": (26.75, lambda n: 2049 * n),
    "fe": (28.32, lambda n: fourth_stage() + 257 * n),
    "ft": (144.29, lambda n: TRUNK + 2049 * n),
    "mp": (26.89, lambda n: normalised_channels() + 2049 * n),
    "pn": (257.49, lambda n: TRUNK + adapters() + 2049 * n),
    "lf": (144.29, lambda n: TRUNK + 2049 * n),  # as if each task had a network of its own
}


@pytest.mark.parametrize("scheme", list(BY_HAND))
def test_the_papers_six_tasks_in_millions_of_parameters(resnet50: Source, scheme: Scheme) -> None:
    figure, by_hand = BY_HAND[scheme]

    network = build_network(resnet50, PAPER_TASKS[0], TrainOptions(scheme=scheme))

    assert network.count_parameters() == by_hand(PAPER_TASKS[0])
    assert round((SOURCE + sum(by_hand(n) for n in PAPER_TASKS)) / 1e6, 2) == figure
