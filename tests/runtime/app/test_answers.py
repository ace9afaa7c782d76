from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_runtime.app.answers import TaskAnswer, answer_about
from snow_runtime.app.dashboard import Dashboard
from snow_runtime.app.latest_frames import LatestFrames
from snow_runtime.app.stats import Stats
from snow_runtime.cameras import Frame
from snow_runtime.cameras.clock import SYSTEM_CLOCK
from snow_runtime.results import Result, TaskResult

if TYPE_CHECKING:
    from snow_runtime.app.answers import FrameAnswer

FRAME = Frame(np.zeros((8, 8, 3), np.uint8), 3, SYSTEM_CLOCK.now(), "door")


def answered(*probabilities: float, least: float = 0.0) -> FrameAnswer:
    """Answer a task of one label and one of several, with the same probabilities."""
    one = TaskResult("kind", ("cat", "dog", "cow"), np.array(probabilities, np.float32))
    result = Result([one, replace(one, name="tags", answers="several")], 1.0)
    return answer_about(FRAME, result, None, least)


def test_a_task_of_several_labels_says_all_that_are_present() -> None:
    answer = answered(0.625, 0.25, 0.75)

    assert answer.tasks["kind"] == TaskAnswer("cow", 0.75)
    assert answer.tasks["tags"] == TaskAnswer("cow", 0.75, (("cow", 0.75), ("cat", 0.625)))
    assert [each.text for each in answer.tasks.values()] == ["cow", "cow, cat"]
    assert answer.to_dict()["tasks"] == {
        "kind": {"label": "cow", "probability": 0.75},
        "tags": {
            "label": "cow",
            "probability": 0.75,
            "present": [
                {"label": "cow", "probability": 0.75},
                {"label": "cat", "probability": 0.625},
            ],
        },
    }


def test_that_none_is_present_is_an_answer() -> None:
    answer = answered(0.25, 0.125, 0.0)

    assert answer.tasks["tags"].text == "none"
    assert answer.to_dict()["tasks"]["tags"]["present"] == []


@pytest.mark.parametrize(("least", "present"), [(0.25, ["cow", "cat"]), (0.7, ["cow"])])
def test_no_label_is_present_below_the_least_confidence(least: float, present: list[str]) -> None:
    said = answered(0.625, 0.5 - 2**-20, 0.75, least=least).tasks["tags"]

    assert said.present is not None
    assert [label for label, _ in said.present] == present
    assert not answered(0.625, 0.25, 0.75, least=0.8).tasks


def test_the_page_remembers_all_that_were_present() -> None:
    live = LatestFrames()
    live.put(FRAME, answered(0.625, 0.25, 0.75))
    board = Dashboard(live, Stats(), dict, lambda: ["kind", "tags"])

    board.look()

    ((_, said),) = board.history()["door"]
    assert said == {"kind": ("cow", 0.75), "tags": ("cow, cat", 0.75)}
    (camera,) = board.state()["cameras"]
    assert len(camera["answer"]["tasks"]["tags"]["present"]) == 2


def test_an_unknown_answer_says_why_unless_nobody_wants_to_know() -> None:
    task = TaskResult("door", ("open", "shut"), np.array([0.75, 0.25], "f4"), unlikeness=1.5)
    result = Result([task], 2.0)

    said = answer_about(FRAME, result, None, 0).tasks["door"]
    assert said.text == "unknown (unlike training)"
    assert said.to_dict() == {
        "label": "open",
        "probability": 0.75,
        "unknown": "unlike training",
    }
    quiet = answer_about(FRAME, result, None, 0, unknown=False).tasks["door"]
    assert quiet.text == "open"
    assert quiet.to_dict() == {"label": "open", "probability": 0.75}
    sure = TaskResult("door", ("open", "shut"), np.array([0.75, 0.25], "f4"), unlikeness=1.0)
    assert answer_about(FRAME, Result([sure], 2.0), None, 0).tasks["door"].unknown is None
