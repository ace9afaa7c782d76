"""Tasks and questions of single cameras, turned off and on while the loop runs."""

from __future__ import annotations

from typing import Any

import pytest

from snow_runtime.app.latest_frames import LatestFrames
from snow_runtime.app.loop import Loop
from snow_runtime.app.questions.asking import Questions
from snow_runtime.app.questions.question import Question
from tests.runtime.app.frames import frame_of


def test_a_switch_is_one_cameras_own() -> None:
    live = LatestFrames()
    live.switch_of("door", "food", on=False)
    assert [live.shows(camera, "food") for camera in ("door", "yard")] == [False, True]
    assert live.shows("door", "drink")
    live.switch_of("door", "food", on=True)
    assert live.shows("door", "food")


def test_the_pages_switch_is_for_all_cameras_and_has_the_last_word() -> None:
    live = LatestFrames()
    live.switch("food", on=False)
    live.switch_of("door", "food", on=True)
    assert not live.shows("door", "food")
    live.switch_of("yard", "food", on=False)
    live.switch("food", on=True)
    assert live.shows("door", "food")
    assert live.shows("yard", "food")


@pytest.mark.parametrize("camera", ["door", "yard"])
def test_a_question_that_is_off_is_not_asked(camera: str) -> None:
    questions = Questions([Question(n, "food", c) for c in ("door", "yard") for n in ("a", "b")])
    live = LatestFrames()
    live.switch_of(camera, "a", on=False)
    frames = [frame_of("door"), frame_of("yard")]
    found = {
        (look.frame.camera, each.name)
        for look in questions.looks(frames, live.shows)
        for each in look.questions
    }
    assert found == {("door", "a"), ("door", "b"), ("yard", "a"), ("yard", "b")} - {(camera, "a")}
    live.switch_of(camera, "b", on=False)
    looks = questions.looks(frames, live.shows)
    assert camera not in {look.frame.camera for look in looks}


def test_a_question_that_is_off_is_not_taken_for_one_that_need_not_be_asked() -> None:
    nothing: Any = None
    asked = Questions([Question(name, "food", "door", seconds=60) for name in ("a", "b")])
    loop = Loop(nothing, nothing, [], questions=asked)
    loop.live.switch_of("door", "a", on=False)
    assert loop._idle("door", ()) == ["b"]  # so that the other one's state becomes stale


def test_what_is_off_stays_off_where_all_is_opened_anew() -> None:
    before, now = LatestFrames(), LatestFrames()
    before.switch("food", on=False)
    before.switch_of("door", "wear", on=False)
    before.switch_of("gone", "wear", on=False)
    now.go_on_from(before, ["door", "yard"])
    assert not now.shows("yard", "food")
    assert not now.shows("door", "wear")
    assert now.off == {("door", "wear")}
    now.go_on_from(None, [])
    assert now.off == {("door", "wear")}
