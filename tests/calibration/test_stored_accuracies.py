from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_calibration.errors import CalibrationError
from snow_calibration.gate import TaskScore
from snow_calibration.pictures import LabelledPictures
from snow_calibration.stored_accuracies import check_accuracies
from snow_runtime.graph.data_entry import DataEntry, SplitEntry
from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry

if TYPE_CHECKING:
    from snow_calibration.pictures import PictureOrigin

HASH = "0" * 64


def manifest(accuracy: float | None, measured: int | None = None) -> Manifest:
    data = None
    if measured is not None:
        data = DataEntry(
            HASH, 0, {"train": SplitEntry(HASH, 80), "test": SplitEntry(HASH, measured)}
        )
    metrics = {} if accuracy is None else {"accuracy": accuracy}
    task = TaskEntry("food", "food", ("a", "b"), sha256=HASH, metrics=metrics, data=data)
    return Manifest(SourceEntry("resnet18", HASH, 1), Preprocessing.for_size(8), (task,))


def check(
    right: int,
    pictures: int,
    stored: float | None,
    known: PictureOrigin,
    measured: int | None = None,
    *,
    accept: bool = False,
) -> list[str]:
    score = TaskScore("food", pictures, right / pictures, 0.0, 1.0, 0.0, 0, 0)
    pixels = np.zeros((pictures, 8, 8, 3), np.uint8)
    truth = {"food": LabelledPictures(pixels, np.zeros(pictures, np.int64), known)}
    return check_accuracies(manifest(stored, measured), [score], truth, accept=accept)


def test_pictures_that_were_trained_on_are_given_away_by_the_accuracy() -> None:
    """Of 20 gate pictures 15 were trained on: 0.75 where the accuracy is 0.30."""
    said = "fp32 answers 0.7500 of the 20 pictures of task 'food' rightly, expected 0.3000"
    with pytest.raises(CalibrationError, match=re.escape(said)):
        check(15, 20, 0.3, "unknown", 20)
    with pytest.raises(CalibrationError, match="--other-pictures judges by these all the same"):
        check(15, 20, 0.3, "unknown")

    (note,) = check(15, 20, 0.3, "unknown", 20, accept=True)
    assert said in note


@pytest.mark.parametrize("known", ["unknown", "held out"])
def test_what_chance_explains_is_taken(known: PictureOrigin) -> None:
    assert check(9, 20, 0.3, known, 20) == []
    assert check(85, 100, 0.8, known, 400) == []


@pytest.mark.parametrize("right", [344, 292])
def test_other_held_out_pictures_may_be_easier_or_harder(right: int) -> None:
    (note,) = check(right, 400, 0.8, "held out", 400)

    assert "chance explains that with p = 0.0" in note


@pytest.mark.parametrize("right", [390, 40])
def test_but_not_as_if_their_labels_were_permuted_or_they_had_been_trained_on(right: int) -> None:
    """What fp32 answers wrongly anyway, INT8 cannot lose: a gate that always passes."""
    with pytest.raises(CalibrationError, match="files or labels have changed"):
        check(right, 400, 0.8, "held out", 400)
    (note,) = check(right, 400, 0.8, "held out", 400, accept=True)
    assert "chance explains that" in note


def test_what_is_left_of_the_measured_ones_without_copies_may_be_harder() -> None:
    (note,) = check(100, 200, 0.8, "rest", 400)

    assert "fp32 answers 0.5000 of the 200 pictures" in note


def test_the_same_pictures_are_answered_the_same() -> None:
    assert check(30, 100, 0.30, "measured", 100) == []
    assert check(31, 100, 0.30, "measured", 100) == []  # a logit that was a tie
    with pytest.raises(CalibrationError, match="files or labels have changed"):
        check(33, 100, 0.30, "measured", 100)
    with pytest.raises(CalibrationError, match=r"0\.9500 of the 1000 .* expected 0\.9700"):
        check(950, 1000, 0.97, "measured", 1000)


def test_of_several_answers_the_pictures_that_are_wholly_right_are_compared() -> None:
    one = manifest(0.9)
    task = replace(one.tasks[0], answers="several", metrics={"accuracy": 0.9, "exact_match": 0.5})
    several = replace(one, tasks=(task,))
    pixels = np.zeros((100, 8, 8, 3), np.uint8)
    truth = {"food": LabelledPictures(pixels, np.zeros((100, 2), np.bool_), "measured")}

    def compare(top1: float) -> list[str]:
        score = TaskScore("food", 100, top1, 0.0, 1.0, 0.0, 0, 0)
        return check_accuracies(several, [score], truth)

    assert compare(0.5) == []
    with pytest.raises(CalibrationError, match=r"rightly in every label, expected 0\.5000"):
        compare(0.9)


def test_without_a_stored_accuracy_there_is_nothing_to_compare() -> None:
    assert check(15, 20, None, "unknown", 20) == []
