from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.cameras import CameraGroup, open_camera
from snow_runtime.errors import CameraError
from tests.runtime.cameras.eventually import eventually
from tests.runtime.cameras.scripted import OPTIONS, Gate, scripted

if TYPE_CHECKING:
    from snow_runtime.cameras import Frame


def test_frames_that_wait_together_come_together() -> None:
    (one, _), (two, script), (three, _) = (scripted(*range(3), name=name) for name in "abc")
    with CameraGroup([one, two, three]) as group:
        eventually(lambda: all(camera.counters.frames == 3 for camera in group.cameras))

        assert [(f.camera, f.number) for f in group.wait()] == [("a", 2), ("b", 2), ("c", 2)]
        assert group.wait(0) == []

        script.add(7)
        assert [(f.camera, f.number) for f in group.wait(5)] == [("b", 3)]
    assert all(camera.status.state == "closed" for camera in group.cameras)


def test_waiting_ends_with_the_first_frame_and_no_later_than_told() -> None:
    camera, script = scripted(name="a")
    with CameraGroup([camera]) as group:
        start = time.monotonic()
        assert group.wait(0.05) == []
        assert time.monotonic() - start >= 0.05

        thread = threading.Timer(0.05, script.add, [1])
        thread.start()
        assert len(group.wait(5)) == 1
        thread.join()


def test_no_camera_starves_when_the_batch_is_small() -> None:
    options = replace(OPTIONS, queue_frames=20)
    cameras = [
        scripted(*range(20), name=str(n), mode="every-frame", options=options)[0] for n in range(5)
    ]
    with CameraGroup(cameras) as group:
        eventually(lambda: all(camera.counters.frames == 20 for camera in cameras))
        batches = [group.wait(5, at_most=2) for _ in range(50)]

    assert all(len(batch) == 2 for batch in batches)
    turns = [frame.camera for batch in batches for frame in batch]
    assert turns == list("01234") * 20


def test_a_fast_camera_does_not_starve_a_slow_one() -> None:
    fast = open_camera("synthetic://?width=16&height=16&fps=0", name="fast")
    slow, script = scripted(name="slow")
    with CameraGroup([fast, slow]) as group:
        for number in range(5):
            script.add(number)
            eventually(lambda seen=number + 1: slow.counters.frames == seen)  # type: ignore[misc]
            names = [frame.camera for turn in range(2) for frame in group.wait(5, at_most=1)]
            assert "slow" in names


def test_a_group_ends_when_its_last_camera_does() -> None:
    arguments: dict[str, Any] = {"live": False, "mode": "every-frame"}
    one, _ = scripted(*range(3), None, name="a", **arguments)
    two, _ = scripted(*range(5), None, name="b", **arguments)
    with CameraGroup([one, two]) as group:
        frames = [frame for batch in group for frame in batch]

        assert group.ended
        assert group.wait(None) == []
    assert [f.number for f in frames if f.camera == "a"] == [0, 1, 2]
    assert [f.number for f in frames if f.camera == "b"] == [0, 1, 2, 3, 4]


def test_a_camera_that_failed_does_not_stop_the_others() -> None:
    arguments: dict[str, Any] = {"live": False, "mode": "every-frame"}
    one, _ = scripted(CameraError("no such thing"), name="a", **arguments)
    two, _ = scripted(*range(3), None, name="b", **arguments)
    frames: list[Frame] = []
    with CameraGroup([one, two]) as group, pytest.raises(CameraError, match=r"1 of 2 .* no such"):
        frames.extend(frame for batch in group for frame in batch)

    assert [frame.number for frame in frames] == [0, 1, 2]


def test_closing_waits_for_all_at_once() -> None:
    hung = [Gate() for _ in range(4)]
    options = replace(OPTIONS, close_timeout_s=0.3)
    cameras = [scripted(gate, name=str(n), options=options)[0] for n, gate in enumerate(hung)]
    try:
        assert all(gate.entered.wait(5) for gate in hung)
        start = time.monotonic()
        CameraGroup(cameras).close()
        assert time.monotonic() - start < 0.9
    finally:
        for gate in hung:
            gate.opened.set()


def test_what_cannot_be_grouped() -> None:
    with pytest.raises(ValueError, match="at least one"):
        CameraGroup([])
    with scripted(name="a")[0] as one, scripted(name="a")[0] as two:
        with pytest.raises(ValueError, match="no name twice"):
            CameraGroup([one, two])
        with pytest.raises(ValueError, match="1 or more"):
            CameraGroup([one]).wait(0, at_most=0)
