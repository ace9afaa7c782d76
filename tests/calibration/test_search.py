from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_calibration.calibrate import Calibration
from snow_calibration.float_graph import read_float_graph
from snow_calibration.gate import TaskScore
from snow_calibration.quantisation_plan import make_plan
from snow_calibration.ranges import Origin, Ranges
from snow_calibration.run import _most_given_back
from snow_calibration.search import SearchStep, Sensitivity, keep_worst, sensitivities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from snow_calibration.pictures import CalibrationPictures

LAYERS = tuple("abcdefghij")
HARM = {"c": 2.0, "f": 0.7}  # points that a layer costs in INT8


def measure(kept: Sequence[str]) -> tuple[TaskScore, ...]:
    drop = sum(points for layer, points in HARM.items() if layer not in kept)
    return (TaskScore("x", 100, 0.9 - drop / 100, drop, 0.9, 0.1, 0, 0),)


def few_lost(scores: Sequence[TaskScore]) -> bool:
    return all(score.drop <= 0.5 for score in scores)


def ranking() -> list[Sensitivity]:
    return [Sensitivity(layer, HARM.get(layer, 0.0)) for layer in sorted(LAYERS, key=by_harm)]


def by_harm(layer: str) -> float:
    return -HARM.get(layer, 0.0)


def share(kept: Sequence[str]) -> float:
    return 1 - len(kept) / len(LAYERS)


def search(most: int = 5) -> list[SearchStep]:
    return keep_worst(ranking, measure, share=share, fixed=(), holds=few_lost, most=most)


def test_the_worst_layers_go_back_until_the_gate_holds() -> None:
    steps = search()

    assert [step.kept for step in steps] == [(), ("c",), ("c", "f")]
    assert [step.added for step in steps] == [None, "c", "f"]
    assert [step.holds for step in steps] == [False, False, True]
    assert [step.worst_drop for step in steps] == pytest.approx([2.7, 0.7, 0.0])
    assert [step.int8_share for step in steps] == pytest.approx([1.0, 0.9, 0.8])


def test_no_ranking_is_asked_for_where_the_gate_holds_at_once() -> None:
    def never() -> list[Sensitivity]:
        raise AssertionError

    kept = ("c", "f")
    steps = keep_worst(never, measure, share=share, fixed=kept, holds=few_lost, most=5)

    assert [step.kept for step in steps] == [("c", "f")]


def test_it_stops_after_so_many_layers() -> None:
    steps = search(most=1)

    assert [step.kept for step in steps] == [(), ("c",)]
    assert not steps[-1].holds


@pytest.mark.parametrize(
    ("layers", "fixed", "most"), [(100, 0, 10), (5, 0, 1), (20, 17, 2), (20, 18, 1), (20, 19, 0)]
)
def test_the_search_leaves_a_layer_for_int8(layers: int, fixed: int, most: int) -> None:
    assert _most_given_back(layers, fixed) == most


def test_without_the_search_one_graph_is_measured() -> None:
    assert len(search(most=0)) == 1


def test_the_broken_layer_is_the_most_sensitive(
    float_graph: Callable[..., Path], samples: CalibrationPictures
) -> None:
    path = float_graph()
    graph = read_float_graph(path)
    model, manifest = graph.model, graph.manifest
    tensors = make_plan(model.graph).tensors
    thresholds = dict.fromkeys(tensors, 30.0)
    # A range so wide that everything in front of one layer becomes zero.
    culprit = next(node for node in model.graph.node if node.name == "source/layer1.1.conv2")
    thresholds[culprit.input[0]] = 1e6
    ranges = Ranges(Origin("0" * 64, "1" * 64, 20, "minmax"), thresholds=thresholds)

    heard: list[tuple[str, Any]] = []
    found = sensitivities(
        Calibration(model, manifest, ranges),
        samples.pixels[:2],
        fixed=[name for name in layers(model) if "source/layer1" not in name],
        progress=lambda stage, share: heard.append((stage, share)),
    )

    assert found[0].layer == "source/layer1.1.conv2"
    assert np.diff([item.error for item in found]).max() <= 0
    assert {stage for stage, _ in heard} == {"layers"}
    shares = [(n + 1) / len(found) for n in range(len(found))]
    assert [share for _, share in heard] == pytest.approx(shares)


@pytest.mark.slow
def test_any_batch_is_answered_whole(
    float_graph: Callable[..., Path], samples: CalibrationPictures
) -> None:
    changes = []
    for batch in (None, 3, 8):
        graph = read_float_graph(float_graph(batch=batch))
        model, manifest = graph.model, graph.manifest
        thresholds = dict.fromkeys(make_plan(model.graph).tensors, 30.0)
        ranges = Ranges(Origin("0" * 64, "1" * 64, 20, "minmax"), thresholds=thresholds)
        (found,) = sensitivities(
            Calibration(model, manifest, ranges),
            samples.pixels[:5],
            fixed=[name for name in layers(model) if name != "source/layer1.1.conv2"],
        )
        changes.append(found.error)

    assert changes == pytest.approx([changes[0]] * 3, rel=1e-3)


def layers(model: object) -> tuple[str, ...]:
    from snow_calibration.quantisation_plan import layers_of

    return layers_of(model.graph)  # type: ignore[attr-defined]
