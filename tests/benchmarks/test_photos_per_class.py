"""Photos per class: draws are nested, even over the classes, and the same for every scheme."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks import photos_plot
from benchmarks.photos_per_class import draw
from snow_deploy.data import open_data


@pytest.mark.parametrize("seed", [0, 1])
def test_a_smaller_draw_is_part_of_a_larger_one(seed: int) -> None:
    splits = open_data("demo:shape?train=120&test=12&size=32")
    whole = {splits.train.name(index) for index in range(len(splits.train))}
    before = set[str]()
    for photos in (2, 5, 9):
        train = draw(splits, photos, seed).train
        names = {train.name(index) for index in range(len(train))}
        counts = Counter(train.target(index) for index in range(len(train)))

        assert before < names < whole
        assert set(counts.values()) == {photos}
        before = names


def test_another_seed_draws_others_and_all_are_all() -> None:
    splits = open_data("demo:shape?train=120&test=12&size=32")
    names = [
        {train.name(index) for index in range(len(train))}
        for train in (draw(splits, 5, 0).train, draw(splits, 5, 1).train)
    ]

    assert names[0] != names[1]
    assert draw(splits, None, 0) is splits
    assert draw(splits, 5, 0).final == splits.final


def test_the_plot_has_a_panel_a_data_set_and_a_line_a_scheme() -> None:
    def row(data: str, photos: int | None, scheme: str, accuracy: float) -> dict[str, object]:
        return {
            "data": data,
            "photos": photos,
            "scheme": scheme,
            "accuracy": accuracy,
            "deviation": None,
        }

    rows = [
        row("a", 10, "fo", 0.6),
        row("a", 5, "fo", 0.5),
        row("a", None, "fo", 0.9),
        row("a", 5, "readout", 0.55),
        row("b", 5, "fo", 0.4),
    ]

    first, second = photos_plot.draw(rows).axes

    assert [axes.get_title() for axes in (first, second)] == ["a", "b"]
    drawn = [line.get_xydata() for line in first.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(drawn[0], [[5, 0.5], [10, 0.6]])
    np.testing.assert_array_equal(drawn[1], [[5, 0.55]])
    assert len(second.containers) == 1  # readouts were not measured there
