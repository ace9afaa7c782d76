"""What people mistype in loops of their own: each is an error that says what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import snow_deploy as snow
from snow_deploy.errors import DataError, SnowDeployError, SourceError, StoreError, TrainingError
from tests.deploy.own_loops.networks import CLASSES, own_network

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": 3}, "labels is the int 3, expected a list of 3 texts"),
        ({"labels": "abc"}, "labels is the text 'abc'"),
        ({"splits": "imagefolder:photos"}, "expected what snow_deploy.open_data gives"),
        ({"labels": CLASSES, "metrics": [0.5]}, "metrics is [0.5], expected figures by name"),
        ({"labels": CLASSES, "metrics": {"accuracy": 83}}, "expected a share from 0 to 1"),
        ({"labels": CLASSES, "metrics": {"exact_match": -0.1}}, "expected a share from 0 to 1"),
        ({"labels": CLASSES, "pictures": "a.png"}, "expected a list of pictures"),
    ],
)
def test_what_a_store_is_told(
    store: snow.Store, delta: snow.Delta, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        store.add("a", delta, **given)
    assert said in str(caught.value)
    assert not store.has_source()


def test_nothing_said_of_what_trained_it_is_own_loop(store: snow.Store, delta: snow.Delta) -> None:
    given: Any = {"labels": CLASSES, "trained_by": None}
    assert store.add("a", delta, **given).trained_by == "own loop"


@pytest.mark.parametrize("classes", [0, -1, 2.5, "3"])
def test_classes_that_a_delta_cannot_have(own_source: snow.Source, classes: Any) -> None:
    with pytest.raises(SourceError, match="expected a whole number from 1 on"):
        snow.Delta(own_source, classes)


def test_numbers_of_numpy_are_numbers(own_source: snow.Source) -> None:
    classes: Any = np.int64(3)
    assert snow.Delta(own_source, classes).num_classes == 3


@pytest.mark.parametrize("shape", [{"width_divisor": 0}, {"k_divisor": 0}, {"sigma2": -1.0}])
def test_shapes_that_a_delta_cannot_have(own_source: snow.Source, shape: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"the delta's option (width|k|sigma2) is out of range"):
        snow.Delta(own_source, 3, snow.DeltaOptions(**shape))


def test_a_network_is_no_source() -> None:
    network: Any = own_network()
    with pytest.raises(SourceError, match=r"snow_deploy\.Source\.of\(network\)"):
        snow.Delta(network, 3)


@pytest.mark.parametrize("given", ["resnet18", own_network, None])
def test_a_name_or_a_function_is_no_network(given: Any) -> None:
    with pytest.raises(SourceError, match=r"and no network, expected a torch\.nn\.Module"):
        snow.Source.of(given)


def test_other_names(store: snow.Store, tmp_path: Path) -> None:
    path: Any = tmp_path
    mistakes: list[tuple[type[SnowDeployError], str, Any]] = [
        (StoreError, r"expected a list of names: \['food'\]", lambda: snow.export(store, "food")),
        (TrainingError, "expected one of paper, steady", lambda: snow.recipe_for("stedy")),
        (DataError, "names no known kind of data", lambda: snow.open_data(path)),
        (TrainingError, "expected data by name", lambda: snow.train(store, path)),
    ]
    for kind, said, do in mistakes:
        with pytest.raises(kind, match=said):
            do()
