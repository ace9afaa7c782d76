from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest

from snow_calibration.errors import CalibrationError
from snow_calibration.gate import Agreement, agreements, answers_of, answers_to, scores
from snow_calibration.pictures import FEWEST, CalibrationPictures, LabelledPictures, as_input
from snow_runtime import load
from snow_runtime.graph.manifest import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_calibration.gate import Answers

PIXELS = np.zeros((4, 8, 8, 3), np.uint8)
DATA = {
    "a": LabelledPictures(PIXELS, np.array([0, 1, 2, 0])),
    "b": LabelledPictures(PIXELS, np.array([1, 1, 0, 0])),
}


def logits(*best: int, classes: int = 3) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[list(best)]


def test_scores_by_hand() -> None:
    reference: Answers = {"a": logits(0, 1, 2, 1), "b": logits(1, 1, 1, 0)}
    answers: Answers = {"a": logits(0, 0, 2, 0), "b": logits(1, 1, 1, 0) + np.float32(0.5)}

    a, b = scores(answers, reference, DATA)

    assert (a.task, a.pictures, a.top1, a.drop, a.agreement) == ("a", 4, 0.75, 0.0, 0.5)
    assert a.logit_error == pytest.approx(4 / 12)  # four of twelve logits are off by one
    assert (b.top1, b.drop, b.agreement, b.logit_error) == (0.75, 0.0, 1.0, 0.5)


def test_answers_lost_and_won_are_counted_by_picture() -> None:
    reference: Answers = {"a": logits(0, 1, 1, 1), "b": logits(1, 1, 1, 1)}
    answers: Answers = {"a": logits(1, 1, 2, 0), "b": logits(0, 0, 0, 0)}

    a, b = scores(answers, reference, DATA)

    assert (a.lost, a.won, a.drop) == (1, 2, -25.0)
    assert (b.lost, b.won, b.drop) == (2, 2, 0.0)


def test_an_answer_of_nan_is_no_number() -> None:
    reference: Answers = {"a": logits(0, 1, 2, 0), "b": logits(1, 1, 0, 0)}
    nan: Answers = {"a": reference["a"].copy(), "b": reference["b"]}
    nan["a"][0, 2] = np.nan

    assert [score.finite for score in scores(nan, reference, DATA)] == [False, True]


def test_answers_that_changed_are_counted_without_labels() -> None:
    reference: Answers = {"a": logits(0, 1, 2, 1), "b": logits(1, 1, 1, 0)}
    answers: Answers = {"a": logits(0, 0, 2, 0), "b": logits(1, 1, 1, 0) + np.float32(0.5)}
    answers["b"][3, 0] = np.inf

    found = agreements(answers, reference)

    assert found == (Agreement("a", 4, 2), Agreement("b", 4, 1))


def test_tasks_that_look_at_the_same_pictures_are_answered_together(
    float_graph: Callable[..., Path], samples: CalibrationPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snow_runtime.backends.onnxruntime_session import OnnxSession

    runs = []
    run = OnnxSession.run

    def counted(self: OnnxSession, feed: Any) -> Any:
        runs.append(len(feed))
        return run(self, feed)

    graph = float_graph()
    monkeypatch.setattr(OnnxSession, "run", counted)
    apart = answers_to(graph, {task: samples.pixels.copy() for task in ("food", "cars", "birds")})
    assert sum(runs) == 60
    runs.clear()
    together = answers_to(graph, dict.fromkeys(("food", "cars", "birds"), samples.pixels))

    assert sum(runs) == 20
    assert list(together) == ["food", "cars", "birds"]
    for task, answer in apart.items():
        assert np.array_equal(together[task], answer)


def test_answers_are_onnx_runtimes_on_every_picture(
    float_graph: Callable[..., Path], truth: dict[str, LabelledPictures]
) -> None:
    path = float_graph()

    answers = answers_of(path, truth)

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    for task, labelled in truth.items():
        planes = (labelled.pixels.transpose(0, 3, 1, 2) / np.float32(255) - mean) / std
        (expected,) = session.run([task], {"image": planes})
        assert np.allclose(answers[task], expected, atol=1e-4)


@pytest.mark.parametrize(("frames", "batch"), [(False, 3), (True, 8)])
def test_any_form_of_input_gives_the_same_answers(
    float_graph: Callable[..., Path],
    truth: dict[str, LabelledPictures],
    frames: bool,
    batch: int | None,
) -> None:
    expected = answers_of(float_graph(), truth)

    found = answers_of(float_graph(frames=frames, batch=batch), truth)

    for task, answer in expected.items():
        assert found[task].shape == answer.shape
        assert np.allclose(found[task], answer, atol=1e-3)


def test_data_of_a_task_that_is_not_in_the_graph(
    float_graph: Callable[..., Path], truth: dict[str, LabelledPictures]
) -> None:
    with pytest.raises(CalibrationError, match="does not answer planes, expected some of birds"):
        answers_of(float_graph(), {"planes": truth["cars"]})


def test_pictures_of_the_wrong_size(float_graph: Callable[..., Path]) -> None:
    small = {"cars": LabelledPictures(np.zeros((4, 32, 32, 3), np.uint8), np.zeros(4, np.int64))}

    with pytest.raises(CalibrationError, match="pictures are of 32 pixels, expected 64"):
        answers_of(float_graph(), small)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 8, 8, 3), np.float32),
        np.full((4, 8, 8, 3), np.nan),
        np.zeros((4, 8, 9, 3), np.uint8),
        np.zeros((4, 3, 8, 8), np.uint8),
        np.zeros((3, 8, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.uint8),
    ],
)
def test_what_are_no_pictures_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(CalibrationError, match=r"expected uint8 \[M, S, S, 3\]"):
        LabelledPictures(pixels, np.zeros(4, np.int64))


def test_too_few_samples() -> None:
    with pytest.raises(CalibrationError, match="3 pictures are too few to calibrate on"):
        CalibrationPictures(("a", "b", "c"), PIXELS[:3])


def test_a_sample_given_twice() -> None:
    pixels = np.zeros((FEWEST, 8, 8, 3), np.uint8)

    with pytest.raises(CalibrationError, match="the picture a is given twice"):
        CalibrationPictures(("a",) * FEWEST, pixels)


def test_a_graph_takes_what_the_runtime_prepares(float_graph: Callable[..., Path]) -> None:
    from snow_runtime.pictures.preprocessing import prepare_for

    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    for frames in (False, True):
        with load(float_graph(frames=frames)) as model:
            manifest = model.manifest
        feed = as_input(pixels, manifest)
        for picture, row in zip(pixels, feed, strict=True):
            size = manifest.preprocessing.image_size  # cropped already: not to be resized
            exact = replace(manifest.preprocessing, resize_size=size)
            assert (prepare_for(manifest.input, picture, exact) == row).all()
