"""A loop that keeps states, with cameras, a model and a clock of the tests' own."""

from __future__ import annotations

import io
import json
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime import CameraView, Question, Questions, SwappableModel, keep_states, load
from snow_runtime.app.loop import Loop, LoopOptions
from snow_runtime.app.outputs.jsonl import JsonLines
from snow_runtime.app.outputs.recording import Recorder
from snow_runtime.app.states.event import Evidence
from snow_runtime.app.states.feed import StateFeed, asked_tasks
from snow_runtime.app.states.keeper import AskedTask, StateKeeper
from snow_runtime.app.states.rules import StateRules
from snow_runtime.cameras.clock import Clock, Instant
from snow_runtime.results import TaskResult
from tests.runtime.app.conftest import until
from tests.runtime.app.frames import LABELS, Cameras, Model, frame_of

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.app.answers import FrameAnswer
    from snow_runtime.app.states.event import StateNews
    from tests.runtime.conftest import MakeGraph

FAST = StateRules(2, 3, dwell_s=0)
TASK = AskedTask(LABELS, "one")


class Ticking(Clock):
    """Each look at it is a quarter of a second later."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def now(self) -> Instant:
        self.now_s += 0.25
        return Instant(self.now_s, 1e9 + self.now_s)


class Kept:
    def __init__(self) -> None:
        self.answers: list[FrameAnswer] = []
        self.news: list[StateNews] = []

    def put(self, answer: FrameAnswer) -> None:
        self.answers.append(answer)

    def tell(self, news: StateNews) -> None:
        self.news.append(news)

    def close(self) -> None: ...

    @property
    def events(self) -> list[tuple[str, str, str]]:
        return [
            (event.question, event.change.before, event.change.after)
            for news in self.news
            for event in news.events
        ]


def play(
    values: list[int],
    asked: Any = None,
    options: LoopOptions | None = None,
    recorder: Recorder | None = None,
) -> Kept:
    kept = Kept()
    model: Any = Model()
    cameras: Any = Cameras(*[[frame_of("door", n, value)] for n, value in enumerate(values)])
    feed = StateFeed(
        StateKeeper(FAST),
        asked or (lambda: {("door", name): TASK for name in Model.tasks}),
        Ticking(),
    )
    recorders = {} if recorder is None else {"door": recorder}
    Loop(model, cameras, [kept], options or LoopOptions(), recorders, states=feed).run()
    return kept


def test_answers_carry_states_and_events_come_on_change_only() -> None:
    kept = play([7, 7, 7, 200, 200, 200, 200])

    assert [e for e in kept.events if e[0] == "food"] == [
        ("food", "stale", "pizza"),
        ("food", "pizza", "soup"),
    ]
    assert [state.state for state in kept.news[0].states] == ["stale", "stale"]
    assert kept.news[0].events == ()
    last = kept.answers[-1].to_dict()["states"]["food"]
    assert last["state"] == "soup"
    (evidence,) = [
        event.change.evidence
        for news in kept.news
        for event in news.events
        if (event.question, event.change.after) == ("food", "soup")
    ]
    assert evidence is not None
    assert evidence.number == 4


def test_the_evidence_says_where_its_picture_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    path = tmp_path / "seen-door.mjpeg"
    recorder = Recorder(path, lambda _: None, free_bytes=lambda _: free)
    free = 1 << 40
    assert recorder.keeps_in == "seen-door.mjpeg"
    kept = play([7, 7, 7], recorder=recorder)
    recorder.close()
    (evidence,) = [
        event.change.evidence
        for news in kept.news
        for event in news.events
        if event.question == "food"
    ]
    assert evidence is not None
    assert evidence.to_dict()["picture"] == "seen-door.mjpeg"
    lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    assert evidence.number in [line["frame"] for line in lines]

    free = 0
    full = Recorder(tmp_path / "full.mjpeg", lambda _: None, free_bytes=lambda _: free)
    full.put(frame_of("door"), kept.answers[0])
    until(lambda: full.keeps_in is None)
    full.close()
    assert play([7, 7, 7]).news[-1].events[0].change.evidence == Evidence(1, 1_700_000_000.5)


def test_states_are_kept_by_public_names_alone(make_graph: MakeGraph) -> None:
    kept = Kept()
    with SwappableModel(load(make_graph().path)) as model:
        tasks = model.tasks
        questions = Questions([Question("latched", tasks[0], "door", CameraView("a"))])
        for asked, names in ((None, tasks), (questions, ("latched",))):
            cameras: Any = Cameras(*[[frame_of("door", n)] for n in range(6)])
            cameras.cameras = (SimpleNamespace(name="door"),)
            states = keep_states(model, cameras, FAST, asked)
            Loop(model, cameras, [kept], states=states, questions=asked).run()
            assert {state.question for state in kept.news[-1].states} == {*names}
            assert {question for question, *_ in kept.events} == {*names}
            kept.news.clear()


def test_a_batch_that_fails_is_no_answer() -> None:
    kept = play([7, 255, 7, 7])
    assert [e for e in kept.events if e[0] == "food"] == [("food", "stale", "pizza")]


def test_min_confidence_leaves_out_answers_and_no_votes() -> None:
    kept = play([7, 7, 7], options=LoopOptions(min_confidence=0.8))
    assert kept.answers[-1].tasks == {}
    assert ("food", "stale", "pizza") in kept.events


def test_a_task_that_is_not_asked_for_has_no_state() -> None:
    kept = play([7, 7], lambda: {("door", "birds"): TASK}, LoopOptions(tasks=("birds",)))
    assert {question for question, *_ in kept.events} == {"birds"}


def test_a_question_whose_task_is_gone_is_told_and_forgotten() -> None:
    turns = iter([{("door", n): TASK for n in Model.tasks}] * 4)
    kept = play([7, 7, 7, 7, 7, 7, 7, 7], lambda: next(turns, {("door", "birds"): TASK}))
    assert ("food", "pizza", "stale") in kept.events
    assert kept.events[-1] != ("birds", "pizza", "stale")


def test_lines_of_answers_and_events() -> None:
    counts: Counter[str] = Counter()
    written = {}
    for answers in (True, False):
        stream = io.StringIO()
        output = JsonLines(lambda what: counts.update([what]), stream, answers=answers)
        model: Any = Model()
        cameras: Any = Cameras(*[[frame_of("door", n)] for n in range(3)])
        feed = StateFeed(StateKeeper(FAST), lambda: {("door", "food"): TASK}, Ticking())
        Loop(model, cameras, [output], LoopOptions(tasks=["food"]), states=feed).run()
        written[answers] = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert [line.get("event") for line in written[True]] == [None, None, "state", None]
    assert [line["after"] for line in written[False]] == ["pizza"]
    assert written[True][2]["evidence"]["frame"] == 1


def test_a_camera_that_goes_away_makes_its_states_stale() -> None:
    clock = Ticking()
    feed = StateFeed(StateKeeper(FAST), lambda: {("door", "food"): TASK}, clock)
    (task, *_) = Model().answer([7])[0].values()
    for number in range(2):
        feed.put(frame_of("door", number), {"food": task})
    assert feed.look() is None
    clock.now_s += 60
    news = feed.look()
    assert news is not None
    (event,) = news.events
    assert (event.change.after, event.change.because) == ("stale", "silence")
    assert feed.look() is None


def test_what_need_not_be_asked_keeps_its_state() -> None:
    clock = Ticking()
    feed = StateFeed(StateKeeper(FAST), lambda: {("door", "food"): TASK}, clock)
    (task, *_) = Model().answer([7])[0].values()
    for number in range(2):
        feed.put(frame_of("door", number), {"food": task})
    for number in range(10):
        clock.now_s += 5
        assert feed.put(frame_of("door", number), {}, ["food"])[1] is None


def test_what_is_asked_follows_the_model(make_graph: MakeGraph) -> None:
    pytest.importorskip("onnxruntime")
    with SwappableModel(load(make_graph("a.onnx").path)) as model:
        asked = asked_tasks(model)
        assert {name: (task.labels, task.answers) for name, task in asked.items()} == {
            task.name: (task.labels, task.answers) for task in model.manifest.tasks
        }


def test_answers_that_were_under_way_when_a_question_was_exchanged_are_no_votes() -> None:
    asked = {("door", "open"): AskedTask(("yes", "no"), "one")}
    keeper = StateKeeper(StateRules(1, 1, dwell_s=0))
    feed = StateFeed(keeper, lambda: asked, Ticking())
    sure = np.array([0.9, 0.1], np.float32)

    def put(name: str, *labels: str) -> list[str]:
        results = {name: TaskResult(name, labels, sure)}
        now, news = feed.put(frame_of("door", 0, 1), results)
        events = () if news is None else news.events
        return [event.change.after for event in events] + [each.state for each in now]

    assert put("open", "yes", "no") == ["yes", "yes"]
    assert put("gone", "yes", "no") == ["yes"]  # the question is not asked any more
    assert put("open", "ajar", "shut") == ["yes"]  # its task has other labels now
    asked["door", "open"] = AskedTask(("ajar", "shut"), "one")
    assert put("open", "yes", "no") == ["yes"]  # until the next look, which follows the model
    assert put("open", "ajar", "shut") == ["stale", "ajar", "ajar"]
