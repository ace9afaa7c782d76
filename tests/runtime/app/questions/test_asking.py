"""Which questions are asked about which frames, and a loop that asks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.app.loop import Loop, LoopOptions
from snow_runtime.app.questions.asking import Questions
from snow_runtime.app.questions.question import Question
from snow_runtime.app.questions.view import CameraView
from snow_runtime.app.states.feed import StateFeed
from snow_runtime.app.states.keeper import AskedTask, StateKeeper
from snow_runtime.app.states.rules import StateRules
from snow_runtime.cameras import Frame
from snow_runtime.cameras.clock import Instant
from tests.runtime.app.frames import LABELS, Cameras, Model
from tests.runtime.app.states.test_feed import Kept, Ticking

if TYPE_CHECKING:
    import pytest

LEFT = CameraView("left", (0, 0, 0.5, 1))
RIGHT = CameraView("right", (0.5, 0, 1, 1))


def frame(seconds: float, left: int = 7, right: int = 200, camera: str = "door") -> Frame:
    image = np.full((64, 96, 3), left, np.uint8)
    image[:, 48:] = right
    number = int(seconds * 10)
    return Frame(image, number, Instant(seconds, 1e9 + seconds), camera)


def asked_at(question: Question, frames: list[Frame]) -> list[float]:
    questions = Questions([question])
    return [each.captured_at.monotonic_s for each in frames if questions.looks([each])]


def test_each_frame_or_every_so_many_seconds() -> None:
    frames = [frame(number / 2) for number in range(10)]
    assert len(asked_at(Question("q", "food", "door"), frames)) == 10
    assert asked_at(Question("q", "food", "door", seconds=1.5), frames) == [0, 1.5, 3, 4.5]
    assert asked_at(Question("q", "food", "yard"), frames) == []


def test_on_motion_and_for_a_while_after_it() -> None:
    frames = [frame(t, 7 if t < 10 else 200) for t in range(20)]
    question = Question("q", "food", "door", LEFT, motion=0.1, hold_s=2)
    assert asked_at(question, frames) == [0, 1, 2, 10, 11, 12]
    elsewhere = Question("q", "food", "door", RIGHT, motion=0.1, hold_s=2)
    assert asked_at(elsewhere, frames) == [0, 1, 2]
    rarely = Question("q", "food", "door", LEFT, seconds=2, motion=0.1, hold_s=2)
    assert asked_at(rarely, frames) == [0, 2, 10, 12]


def test_a_clock_that_goes_back_does_not_silence_a_question() -> None:
    frames = [frame(100.0), frame(1.0), frame(2.0)]
    assert asked_at(Question("q", "food", "door", seconds=60), frames) == [100, 1]


def test_what_was_not_answered_is_asked_at_the_next_frame() -> None:
    questions = Questions([Question("q", "food", "door", seconds=60)])
    looks = questions.looks([frame(0)])
    assert questions.looks([frame(1)]) == []
    questions.missed(looks)
    assert len(questions.looks([frame(2)])) == 1


def test_one_picture_for_all_questions_about_a_view() -> None:
    questions = Questions(
        [
            Question("a", "food", "door", LEFT),
            Question("b", "birds", "door", LEFT),
            Question("c", "food", "door", RIGHT, seconds=10),
            Question("d", "food", "yard"),
        ]
    )
    looks = questions.looks([frame(0), frame(0, camera="yard")])
    found = [(look.view.name, [each.name for each in look.questions]) for look in looks]
    assert found == [("left", ["a", "b"]), ("right", ["c"]), ("", ["d"])]
    assert [look.image.shape for look in looks] == [(64, 48, 3), (64, 48, 3), (64, 96, 3)]
    assert questions.tasks == ("food", "birds")
    assert questions.names == ("a", "b", "c", "d")
    assert questions.idle("door", ["a", "b"]) == ["c"]


def play(
    frames: list[list[Frame]],
    questions: list[Question],
    options: LoopOptions | None = None,
    hidden: str = "",
) -> tuple[Kept, Model, Loop]:
    kept, model = Kept(), Model()
    asked = {(each.camera, each.name): AskedTask(LABELS, "one") for each in questions}
    rules = StateRules(1, 1, dwell_s=0, stale_s=3)
    feed = StateFeed(StateKeeper(rules), lambda: asked, Ticking())
    given: Any = model
    cameras: Any = Cameras(*frames)
    loop = Loop(given, cameras, [kept], options or LoopOptions(), states=feed)
    loop.questions = Questions(questions)
    if hidden:
        loop.live.switch(hidden, on=False)
    loop.run()
    return kept, model, loop


def test_frames_that_every_passes_over_are_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one in many is answered, that may take longer than until a state is stale."""
    idle: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(StateFeed, "idle", lambda _, camera, names: idle.append((camera, [*names])))
    frames = [[frame(second)] for second in range(12)]

    kept, _, _ = play(frames, [Question("near", "food", "door", LEFT)], LoopOptions(every=60))

    assert len(kept.answers) == 2
    assert idle
    assert {(camera, *names) for camera, names in idle} == {("door", "near")}


def test_answers_are_by_question_and_all_views_are_one_batch() -> None:
    questions = [
        Question("near", "food", "door", LEFT),
        Question("far", "food", "door", RIGHT),
        Question("bird", "birds", "yard"),
    ]
    kept, model, loop = play([[frame(0), frame(0, 200, camera="yard")]], questions)

    assert model.batches == [3]
    door, yard = kept.answers
    assert {name: said.label for name, said in door.tasks.items()} == {
        "near": "pizza",
        "far": "soup",
    }
    assert {name: said.label for name, said in yard.tasks.items()} == {"bird": "soup"}
    share = round(5.0 / 3, 2)
    views = {"left": {"share_ms": share}, "right": {"share_ms": share}}
    assert door.to_dict()["views"] == views
    assert yard.to_dict()["views"] == {"whole": {"share_ms": share}}
    assert loop.stats.snapshot()["counts"] == {
        "view door/left": 1,
        "view door/right": 1,
        "view yard/whole": 1,
        "state_changes": 3,
    }
    assert {event[0] for event in kept.events} == {"near", "far", "bird"}


def test_a_question_that_is_not_due_keeps_its_state() -> None:
    rare = Question("rare", "food", "door", LEFT, seconds=1000)
    frames = [[frame(number)] for number in range(40)]
    kept, model, loop = play(frames, [rare, Question("often", "food", "door", RIGHT)])
    assert model.batches == [2] + [1] * 39
    assert list(kept.answers[-1].tasks) == ["often"]
    shown = loop.live.newest()["door"].tasks  # the page does not say "no answer" in between
    assert {name: said.label for name, said in shown.items()} == {"rare": "pizza", "often": "soup"}
    assert [event for event in kept.events if event[0] == "rare"] == [("rare", "stale", "pizza")]

    kept, model, loop = play(frames, [rare])
    assert model.batches == [1]
    assert len(kept.answers) == 1
    assert kept.events == [("rare", "stale", "pizza")]
    assert loop.stats.snapshot()["counts"]["unasked"] > 30
    picture = loop.live.picture("door")
    assert picture is frames[-1][0].image  # the page goes on showing the camera


def test_so_many_frames_are_those_that_something_is_asked_about() -> None:
    question = Question("q", "food", "door", seconds=2)
    frames = [[frame(number)] for number in range(40)]
    kept, _, _ = play(frames, [question], LoopOptions(frames=3))
    assert [answer.number for answer in kept.answers] == [0, 20, 40]


def test_a_question_is_switched_off_by_its_name() -> None:
    questions = [Question("a", "food", "door"), Question("b", "birds", "door")]
    kept, _, _ = play([[frame(0)]], questions, hidden="a")
    assert list(kept.answers[0].tasks) == ["b"]


def test_a_batch_that_fails_is_asked_again() -> None:
    question = Question("q", "food", "door", LEFT, seconds=1000)
    kept, model, loop = play([[frame(0, 255)], [frame(1)], [frame(2)]], [question])
    assert model.batches[0] == 1
    assert loop.stats.snapshot()["counts"]["errors"] == 1
    assert len(kept.answers) == 1
