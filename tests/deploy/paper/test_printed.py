from __future__ import annotations

import pytest

from snow_deploy.paper import printed


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            printed.PARAMETERS,
            {"fo": 26.8, "fe": 28.3, "ft": 144.3, "mp": 26.9, "pn": 257.4, "snow": 30.8},
        ),
        (
            printed.SUBSCRIPTION_PARAMETERS,
            {"conv1x1": 14.0, "attention": 35.0, "all": 17.5, "pooling": 5.5},
        ),
        (printed.SPEED_OVER_FT, {"snow": 2.65}),
        (printed.PEAK_OVER_FT, {"snow": 0.32}),
        (printed.SERVING_OVER_FT, {"snow": 7.5}),
    ],
)
def test_the_figures_of_the_design(
    found: dict[str, printed.Printed], expected: dict[str, float]
) -> None:
    assert {name: figure.value for name, figure in found.items()} == expected
    assert all(figure.where for figure in found.values())


def test_what_is_not_known_is_none() -> None:
    assert printed.value(printed.PARAMETERS.get("lf")) is None


def test_counts_compare_with_the_papers_for_its_networks_alone() -> None:
    assert printed.is_papers("resnet50", 1000, (200, 196, 101, 47, 40))
    assert not printed.is_papers("resnet50", 1000, (10, 10))
    assert not printed.is_papers("resnet50", 7, printed.CLASSES)
    assert not printed.is_papers("resnet18", 1000, printed.CLASSES)
