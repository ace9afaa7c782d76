from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_calibration.errors import CalibrationError
from snow_calibration.gate import Agreement, agreements, answers_of, answers_to, scores
from snow_calibration.pictures import FEWEST, CalibrationPictures, LabelledPictures, as_input
from snow_runtime import load
from snow_runtime.graph.manifest import IMAGENET_MEAN, IMAGENET_STD, TaskEntry

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


def yes(*rows: str) -> np.ndarray:
    """Give logits of either sign: "+" for a label that is answered with yes."""
    return np.array([[1.5 if sign == "+" else -1.5 for sign in row] for row in rows], np.float32)


SEVERAL = {"t": LabelledPictures(PIXELS, np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]))}


def test_several_answers_are_counted_by_picture() -> None:
    """By hand, of the truth +-+, ---, +++, -+-: one picture is lost, though two labels are."""
    reference: Answers = {"t": yes("+-+", "---", "++-", "+++")}
    answers: Answers = {"t": yes("+-+", "++-", "+++", "--+")}

    (score,) = scores(answers, reference, SEVERAL)

    assert (score.pictures, score.top1, score.agreement) == (4, 0.5, 0.25)
    assert (score.lost, score.won, score.drop) == (1, 1, 0.0)  # the last has two wrong in both
    (same,) = scores(reference, reference, SEVERAL)
    assert (same.top1, same.lost, same.won, same.agreement) == (0.5, 0, 0, 1.0)


def test_a_loss_on_a_picture_that_was_not_wholly_right_shows() -> None:
    reference: Answers = {"t": yes("+--", "-+-", "+-+", "++-")}
    (score,) = scores({"t": yes("---", "++-", "---", "+-+")}, reference, SEVERAL)

    assert score.top1 == scores(reference, reference, SEVERAL)[0].top1 == 0
    assert (score.lost, score.won, score.drop) == (4, 0, 100.0)


@given(
    st.integers(1, 12).flatmap(
        lambda count: st.tuples(
            *[st.lists(st.booleans(), min_size=count, max_size=count) for _ in range(3)]
        )
    )
)
def test_one_label_of_yes_and_no_is_two_classes(rows: tuple[list[bool], ...]) -> None:
    truth, known, now = (np.array(row) for row in rows)
    pixels = np.zeros((len(truth), 8, 8, 3), np.uint8)
    as_labels = {"t": LabelledPictures(pixels, truth[:, None])}
    as_classes = {"t": LabelledPictures(pixels, truth.astype(np.int64))}

    def signs(answered: np.ndarray) -> Answers:
        return {"t": np.where(answered, 1, -1)[:, None].astype(np.float32)}

    def best(answered: np.ndarray) -> Answers:
        return {"t": np.eye(2, dtype=np.float32)[answered.astype(int)]}

    (one,) = scores(signs(now), signs(known), as_labels)
    (two,) = scores(best(now), best(known), as_classes)

    for name in ("pictures", "top1", "drop", "agreement", "lost", "won"):
        assert getattr(one, name) == getattr(two, name)


def test_a_decision_that_changed_is_counted_without_labels() -> None:
    reference: Answers = {"t": yes("+-+", "---", "+++"), "u": yes("+-", "-+", "++")}
    answers = {"t": reference["t"].copy(), "u": reference["u"] * np.float32(0.5)}
    answers["t"][0, 1] = 0.0  # from 0 on it is yes
    answers["t"][2, 0] = 9.0

    assert agreements(answers, reference, {"t"}) == (Agreement("t", 3, 1), Agreement("u", 3, 0))
    answers["t"][1, 0] = -np.inf
    assert agreements(answers, reference, {"t"})[0] == Agreement("t", 3, 2)


def test_targets_are_of_the_tasks_kind() -> None:
    one = TaskEntry("t", "t", ("a", "b", "c"))
    several = replace(one, answers="several")

    SEVERAL["t"].check_labels(several)
    DATA["a"].check_labels(one)
    for pictures, task in ((SEVERAL["t"], one), (DATA["a"], several)):
        with pytest.raises(CalibrationError, match=r"targets of task 't' are .* expected \[4"):
            pictures.check_labels(task)
    with pytest.raises(CalibrationError, match=r"\[4, 3\], expected \[4, 2\]: it has several"):
        SEVERAL["t"].check_labels(replace(several, labels=("a", "b")))
    with pytest.raises(CalibrationError, match=r"the targets are \[4, 1, 1\]"):
        LabelledPictures(PIXELS, np.zeros((4, 1, 1), np.int64))


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
        np.zeros((4, 8, 9, 4), np.uint8),
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
