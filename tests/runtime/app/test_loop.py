from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from snow_runtime import SwappableModel, load
from snow_runtime.app.failures import Failures
from snow_runtime.app.loop import Loop, LoopOptions
from snow_runtime.cameras.clock import Instant
from snow_runtime.errors import GraphError
from tests.runtime.app.frames import Cameras, Model, frame_of

if TYPE_CHECKING:
    from snow_runtime.app.answers import FrameAnswer
    from snow_runtime.cameras import Frame
    from snow_runtime.graph.manifest import Manifest
    from tests.runtime.conftest import MakeGraph


class Kept:
    def __init__(self) -> None:
        self.answers: list[FrameAnswer] = []
        self.frames: list[Frame] = []

    def put(self, *given: Any) -> None:
        *frame, answer = given
        self.frames += frame
        self.answers.append(answer)

    def close(self) -> None:
        pass


def loop_of(
    cameras: Any, options: LoopOptions | None = None, model: Any = None
) -> tuple[Loop, Kept]:
    kept = Kept()
    chosen: Any = model or Model()
    return Loop(chosen, cameras, [kept], options or LoopOptions()), kept


def test_what_waits_together_is_answered_together() -> None:
    model = Model()
    frames = [frame_of("door"), frame_of("yard", 4, 200)]
    loop, kept = loop_of(Cameras(frames, [frame_of("door", 1)]), model=model)

    assert loop.run() == 3

    assert model.batches == [2, 1]
    first, second, third = kept.answers
    assert (first.camera, first.number, first.taken_at) == ("door", 0, 1_700_000_000.5)
    assert first.tasks["food"].label == "pizza"
    assert (second.camera, second.number, second.tasks["birds"].label) == ("yard", 4, "soup")
    assert third.to_dict()["tasks"]["food"] == {"label": "pizza", "probability": 0.7}
    assert loop.stats.snapshot()["frames"] == {"door": 2, "yard": 1}
    assert set(loop.live.newest()) == {"door", "yard"}


def test_only_each_nth_frame_of_a_camera() -> None:
    loop, kept = loop_of(Cameras(*[[frame_of(number=n)] for n in range(7)]), LoopOptions(every=3))

    assert loop.run() == 3
    assert [answer.number for answer in kept.answers] == [0, 3, 6]


@pytest.mark.parametrize(
    ("numbers", "every", "answered"),
    [
        ([1, 3, 5, 7, 9], 2, [1, 3, 5, 7, 9]),  # frames that come in pairs: one is never seen
        ([0, 1, 2, 3, 4, 5], 2, [0, 2, 4]),
        ([1, 2, 4, 5, 8, 9, 10], 3, [1, 4, 8, 9]),
        ([4, 8, 9, 100, 101, 109, 110], 10, [4, 100, 110]),
    ],
)
def test_one_in_n_frames_whichever_of_them_are_seen(
    numbers: list[int], every: int, answered: list[int]
) -> None:
    loop, kept = loop_of(
        Cameras(*[[frame_of(number=n)] for n in numbers]), LoopOptions(every=every)
    )
    loop.run()

    assert [answer.number for answer in kept.answers] == answered


def test_frames_that_are_passed_over_hide_no_failing_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one that is due fails: that is a silence, whatever comes in between."""
    frames = Cameras(*[[frame_of(number=n, value=255)] for n in range(9)])
    loop, _ = loop_of(frames, LoopOptions(every=3))
    alive: list[str] = []
    monkeypatch.setattr(loop.stats, "alive", lambda: alive.append("alive"))
    loop.run()
    assert loop.stats.snapshot()["counts"]["errors"] == 3
    assert len(alive) <= 1  # before the first one has failed


def test_each_camera_has_its_own_turns() -> None:
    batches = [[frame_of("door", n), frame_of("yard", n + 101)] for n in range(1, 7)]
    loop, kept = loop_of(Cameras(*batches), LoopOptions(every=3))
    loop.run()

    numbers = {
        camera: [answer.number for answer in kept.answers if answer.camera == camera]
        for camera in ("door", "yard")
    }
    assert numbers == {"door": [1, 3, 6], "yard": [102, 105]}


def test_tasks_and_confidence() -> None:
    options = LoopOptions(tasks=("birds",), min_confidence=0.8)
    loop, kept = loop_of(Cameras([frame_of()], [frame_of(value=200)]), options)

    loop.run()

    assert [sorted(answer.tasks) for answer in kept.answers] == [[], ["birds"]]


def test_a_task_that_is_switched_off() -> None:
    loop, kept = loop_of(Cameras([frame_of()], [frame_of()]))
    loop.live.switch("food", on=False)
    loop.run()
    assert [sorted(answer.tasks) for answer in kept.answers] == [["birds"], ["birds"]]

    again, kept = loop_of(Cameras([frame_of()]))
    again.live.switch("food", on=False)
    again.live.switch("food", on=True)
    again.run()
    assert sorted(kept.answers[0].tasks) == ["birds", "food"]


def test_a_batch_that_fails_is_counted_and_the_next_is_answered() -> None:
    loop, kept = loop_of(Cameras([frame_of(value=255), frame_of("yard")], [frame_of(number=1)]))

    assert loop.run() == 1

    assert loop.stats.snapshot()["counts"] == {"errors": 2}
    assert [answer.number for answer in kept.answers] == [1]


def test_after_so_many_frames_it_ends() -> None:
    cameras = Cameras(*[[frame_of("a", n), frame_of("b", n)] for n in range(9)])
    loop, kept = loop_of(cameras, LoopOptions(frames=3))

    assert loop.run() == 3
    assert len(kept.answers) == 3


def test_it_ends_when_told() -> None:
    class Endless(Cameras):
        ended = False

        def wait(self, timeout_s: float, at_most: int | None = None) -> list[Frame]:
            assert at_most is None
            assert timeout_s <= 0.5
            started.set()
            return [frame_of()]

    started = threading.Event()
    loop, _ = loop_of(Endless())
    thread = threading.Thread(target=loop.run)
    thread.start()
    assert started.wait(10)

    loop.stop()

    thread.join(1)
    assert not thread.is_alive()


def test_frames_of_one_camera_are_recorded() -> None:
    loop, _ = loop_of(Cameras([frame_of("door"), frame_of("yard")]))
    recorder = Kept()
    loop.recorders = {"yard": recorder}

    loop.run()

    assert [frame.camera for frame in recorder.frames] == ["yard"]


def test_a_hundred_swaps_lose_no_frame(make_graph: MakeGraph, manifest: Manifest) -> None:
    only_birds = replace(manifest, tasks=manifest.tasks[1:])
    paths = [
        make_graph("two.onnx").path,
        make_graph("one.onnx", manifest=only_birds, outputs={"birds": 2}).path,
    ]
    swapped = threading.Event()

    class UntilSwapped(Cameras):
        """Frames, until the last swap is over."""

        number = 0

        @property
        def ended(self) -> bool:
            return swapped.is_set()

        def wait(self, timeout_s: float, at_most: int | None = None) -> list[Frame]:
            assert timeout_s > 0
            assert at_most is None
            if swapped.is_set():
                return []
            self.number += 1
            return [frame_of(number=self.number - 1)]

    def swap() -> None:
        for number in range(100):
            model.swap(paths[(number + 1) % 2], threads=1)
        swapped.set()

    cameras = UntilSwapped()
    with SwappableModel(load(paths[0], threads=1)) as model:
        loop, kept = loop_of(cameras, model=model)
        thread = threading.Thread(target=swap)
        thread.start()
        answered = loop.run()
        thread.join()

    assert model.swaps == 100
    assert answered == cameras.number
    assert [answer.number for answer in kept.answers] == list(range(answered))
    assert {tuple(answer.tasks) for answer in kept.answers} == {("food", "birds"), ("birds",)}
    assert loop.stats.snapshot()["counts"] == {}


def test_frames_that_grew_old_while_they_waited_are_left_out() -> None:
    """A model that hangs for a while does not show the frame from before as the present."""
    old = replace(frame_of("door"), captured_at=Instant(time.monotonic() - 8, 0.0), fresh_s=5.0)
    kept_anyway = replace(old, camera="file", fresh_s=None)
    new = replace(frame_of("door", 1), fresh_s=5.0)
    loop, kept = loop_of(Cameras([old, kept_anyway], [old], [new]))

    assert loop.run() == 2

    assert [(answer.camera, answer.number) for answer in kept.answers] == [("file", 0), ("door", 1)]
    assert loop.stats.snapshot()["counts"] == {"stale": 2}


def test_an_output_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Kept):
        def put(self, *_given: Any) -> None:
            msg = "a defect"
            raise ValueError(msg)

    loop, _ = loop_of(Cameras(*[[frame_of(number=n)] for n in range(5)]))
    loop.outputs = [Broken()]

    assert loop.run() == 5

    assert loop.stats.snapshot()["counts"] == {"output_errors": 5}
    assert [record.getMessage() for record in caplog.records] == [
        "an output failed: ValueError: a defect"
    ]


def test_a_model_that_fails_for_good_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    class Endless(Cameras):
        ended = False

        def wait(self, timeout_s: float, at_most: int | None = None) -> list[Frame]:
            assert (timeout_s > 0, at_most) == (True, 3)
            return [frame_of(value=255)]

    clock = itertools.count()
    loop, _ = loop_of(Endless(), LoopOptions(frames=3))
    loop.failures = Failures(patience_s=30, clock=lambda: float(next(clock)))

    with pytest.raises(GraphError, match=r"failed \d+ times in a row for \d+ s.*fails"):
        loop.run()

    assert len(caplog.records) < 3


def test_failures_now_and_then_do_not() -> None:
    clock = itertools.count()
    batches = [[frame_of(number=n, value=255 if n % 9 else 7)] for n in range(90)]
    loop, kept = loop_of(Cameras(*batches))
    loop.failures = Failures(patience_s=2, clock=lambda: float(next(clock)))

    assert loop.run() == 10
    assert len(kept.answers) == 10


def test_time_counts_from_when_the_loop_begins() -> None:
    loop, _ = loop_of(Cameras([frame_of()]), None)
    loop.stats._began = time.monotonic() - 500  # as if the model had taken so long to load

    loop.run()

    assert loop.stats.snapshot()["up_s"] < 100


class Told(Kept):
    def __init__(self) -> None:
        super().__init__()
        self.news: list[Any] = []

    def tell(self, news: Any) -> None:
        self.news.append(news)


def test_drift_is_told_and_counted_without_states() -> None:
    loop, _ = loop_of(Cameras([frame_of("door")], [frame_of("yard")]))
    told = Told()
    loop.outputs = [told]
    seen: list[tuple[str, list[str], float]] = []

    def see(camera: str, results: Any, at: float) -> tuple[Any, ...]:
        seen.append((camera, list(results), at))
        return ("left",) if camera == "yard" else ()

    loop.drift = cast("Any", SimpleNamespace(see=see))
    loop.live.switch("birds", on=False)
    loop.run()

    assert seen == [("door", ["food"], 1_700_000_000.5), ("yard", ["food"], 1_700_000_000.5)]
    assert [news.drifts for news in told.news] == [("left",)]
    assert loop.stats.snapshot()["counts"]["drift_changes"] == 1


def test_what_is_added_is_asked_about_its_own_cameras() -> None:
    """Beside the tasks that were chosen, or all of them."""
    for tasks, wanted in ((None, {"door": ["food", "birds"], "yard": ["food"]}), (("food",), None)):
        frames = [frame_of("door"), frame_of("yard")]
        loop, kept = loop_of(Cameras(frames), LoopOptions(tasks))
        about = SimpleNamespace(
            names=("birds",), is_about=lambda camera, name: (camera, name) != ("yard", "birds")
        )
        loop.added = cast("Any", about)
        loop.run()

        found = {answer.camera: list(answer.tasks) for answer in kept.answers}
        assert found == (wanted or {"door": ["food", "birds"], "yard": ["food"]})
