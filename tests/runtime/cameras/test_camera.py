from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from typing import Any

import pytest

from snow_runtime.cameras import (
    Backoff,
    BadPictureError,
    Camera,
    CameraOptions,
    CameraPicture,
    LostError,
)
from snow_runtime.errors import CameraError
from tests.runtime.cameras.eventually import eventually
from tests.runtime.cameras.pictures import number_of, numbered
from tests.runtime.cameras.scripted import OPTIONS, FastClock, Gate, Script, scripted

SHORT = replace(OPTIONS, stall_s=0.2, close_timeout_s=0.2)


def test_every_frame_is_handed_out_in_order_and_then_the_end() -> None:
    camera, script = scripted(*range(30), None, live=False, mode="every-frame")
    with camera:
        frames = list(camera)

        assert camera.ended
        assert camera.read() is None
        assert camera.status.state == "ended"
    assert [number_of(frame.image) for frame in frames] == list(range(30))
    assert [frame.number for frame in frames] == list(range(30))
    assert {frame.camera for frame in frames} == {"test"}
    assert camera.counters.frames == 30
    assert camera.counters.drops == 0
    assert (script.opened, script.closed) == (1, 1)
    assert camera.status.state == "ended"  # also after it was closed


def test_the_source_waits_for_the_reader_of_every_frame() -> None:
    options = replace(OPTIONS, queue_frames=3, stall_s=0.05)
    camera, script = scripted(*range(50), None, live=False, mode="every-frame", options=options)
    with camera:
        eventually(lambda: camera.counters.frames == 4)  # three wait, and one for room
        time.sleep(0.3)  # that wait is no stall, however long

        assert script.reads == 4
        assert camera.status.state == "connected"
        assert [frame.number for frame in camera] == list(range(50))


def test_the_newest_frame_replaces_those_that_nobody_fetched() -> None:
    camera, _ = scripted(*range(10))
    with camera:
        eventually(lambda: camera.counters.frames == 10)
        frame = camera.read()

        assert frame is not None
        assert (frame.number, number_of(frame.image)) == (9, 9)
        assert camera.counters.drops == 9
        assert camera.read(0) is None  # each frame at most once
        assert camera.status.state == "connected"


def test_a_frame_knows_its_times() -> None:
    before = (time.monotonic(), time.time())
    camera, _ = scripted(1)
    with camera:
        frame = camera.read(5)
    after = (time.monotonic(), time.time())

    assert frame is not None
    assert before[0] <= frame.captured_at.monotonic_s <= after[0]
    assert before[1] <= frame.captured_at.unix_s <= after[1]
    assert frame.age_ms >= (after[0] - frame.captured_at.monotonic_s) * 1000
    assert frame.image.flags.writeable


def test_a_frame_that_nobody_fetched_gets_too_old() -> None:
    camera, _ = scripted(1, options=replace(OPTIONS, stall_s=0.1))
    with camera:
        eventually(lambda: camera.counters.frames == 1)
        eventually(lambda: camera.status.state == "reconnecting")

        assert camera.read(0) is None
        assert camera.counters.drops == 1


def test_a_lost_connection_is_made_again_with_growing_delays() -> None:
    clock = FastClock()
    backoff = Backoff(first_s=1, longest_s=6, factor=2, jitter=0.25)
    lost = [LostError("the wire is cut")] * 5
    options = replace(OPTIONS, backoff=backoff)
    camera, script = scripted(0, *lost, 1, mode="every-frame", clock=clock, options=options)
    with camera:
        frames = [camera.read(5), camera.read(5)]
        status, counters = camera.status, camera.counters

    assert [frame and frame.number for frame in frames] == [0, 1]
    assert (status.state, status.error) == ("connected", "the wire is cut")
    assert counters.reconnections == 1
    assert 0 < counters.lost_s < 5
    assert script.opened == script.closed == 6
    for delay, full in zip(clock.delays, [1, 2, 4, 6, 6], strict=True):
        assert full * 0.75 <= delay <= full


def test_the_pictures_of_a_connection_that_ended_are_not_kept() -> None:
    """A large picture each time would fill the memory long before garbage is looked for."""
    made: list[weakref.ref[Any]] = []

    def picture(number: int) -> CameraPicture:
        image = numbered(number)
        made.append(weakref.ref(image))
        return CameraPicture(image)

    def lost() -> None:
        try:
            picture(99)  # what the library holds when it fails
        except ZeroDivisionError as error:
            raise AssertionError from error
        held = [CameraPicture(numbered(1))]
        made.append(weakref.ref(held[0].image))
        try:
            held[1]
        except IndexError as error:
            held.append(error)  # type: ignore[arg-type] # as urllib3 does, in frames of its own
            msg = "gone"
            raise LostError(msg) from error

    gc.disable()
    try:
        camera, script = scripted(*[lambda: picture(7), lost] * 6)
        with camera:
            eventually(lambda: script.opened == 7)
            eventually(lambda: sum(each() is not None for each in made) <= 1)
        assert len(made) == 18
    finally:
        gc.enable()


def test_a_connection_that_lasted_starts_the_delays_afresh() -> None:
    clock = FastClock()
    options = replace(OPTIONS, backoff=Backoff(first_s=0.02, factor=2, jitter=0))

    def lasting() -> Any:
        time.sleep(0.1)
        return LostError("after a while")

    lost = LostError("at once")
    camera, _ = scripted(lost, lost, 0, lasting, lost, clock=clock, options=options)
    with camera:
        eventually(lambda: len(clock.delays) == 4)

    assert clock.delays == pytest.approx([0.02, 0.04, 0.02, 0.04])


def test_a_connection_that_breaks_off_at_once_does_not() -> None:
    clock = FastClock()
    options = replace(OPTIONS, backoff=Backoff(first_s=10, longest_s=50, factor=2, jitter=0))
    steps = [step for number in range(4) for step in (number, LostError("again"))]
    camera, _ = scripted(*steps, clock=clock, options=options)
    with camera:
        eventually(lambda: len(clock.delays) == 4)

    assert clock.delays == [10, 20, 40, 50]


def test_the_end_of_a_live_stream_is_an_outage() -> None:
    camera, _ = scripted(0, None, 1, mode="every-frame")
    with camera:
        assert [frame.number for frame in (camera.read(5), camera.read(5)) if frame] == [0, 1]
        assert camera.status.error == "the stream ended"


def test_a_camera_that_never_answered_is_connecting() -> None:
    clock = FastClock()
    camera, _ = scripted(*[LostError("no answer")] * 3, clock=clock)
    with camera:
        eventually(lambda: len(clock.delays) == 3)
        status = camera.status

        assert (status.state, status.error) == ("connecting", "no answer")
        assert camera.read(0) is None
    assert camera.status.state == "closed"


def test_attempts_are_bounded() -> None:
    options = replace(OPTIONS, attempts=3)
    camera, script = scripted(*[LostError("no answer")] * 9, options=options)
    with camera:
        with pytest.raises(CameraError, match=r"'test' failed\. no answer"):
            camera.read(5)
        with pytest.raises(CameraError):
            list(camera)

        assert camera.status.state == "failed"
        assert camera.ended
    assert script.opened == 3


@pytest.mark.parametrize("live", [True, False])
def test_what_cannot_get_better_fails_at_once(live: bool) -> None:
    camera, script = scripted(0, CameraError("wrong password"), mode="every-frame", live=live)
    with camera:
        assert camera.read(5) is not None
        with pytest.raises(CameraError, match="wrong password"):
            camera.read(5)
    assert script.opened == script.closed == 1


def test_an_unknown_error_is_an_outage_for_a_camera_and_the_end_for_a_file() -> None:
    with scripted(0, RuntimeError("odd"), 1, mode="every-frame")[0] as camera:
        assert [frame.number for frame in (camera.read(5), camera.read(5)) if frame] == [0, 1]
    file, _ = scripted(RuntimeError("odd"), live=False)
    with file, pytest.raises(CameraError, match="odd"):
        file.read(5)


def test_damaged_pictures_are_counted_and_the_next_ones_handed_out() -> None:
    bad = BadPictureError("half a picture")
    camera, script = scripted(0, bad, bad, 1, None, live=False, mode="every-frame")
    with camera:
        assert [number_of(frame.image) for frame in camera] == [0, 1]

    assert camera.counters.bad_frames == 2
    assert camera.counters.frames == 2
    assert script.opened == 1


def test_a_picture_given_again_is_no_new_one() -> None:
    same, counted = CameraPicture(numbered(1)), CameraPicture(numbered(2), number=7)
    again = CameraPicture(numbered(2), number=7)
    steps = [same, same, same, counted, again, 3, None]
    with scripted(*steps, live=False, mode="every-frame")[0] as camera:
        assert [number_of(frame.image) for frame in camera] == [1, 2, 3]

    assert camera.counters.repeats == 3


def test_a_source_that_froze_is_connected_again() -> None:
    frozen = CameraPicture(numbered(1))

    class Frozen(Script):
        def __call__(self) -> Any:
            self.steps = [frozen] * 10_000
            return super().__call__()

    script = Frozen()
    with Camera(script, name="test", options=SHORT, clock=FastClock()) as camera:
        assert camera.read(5) is not None
        eventually(lambda: script.opened >= 2)
        assert "no new picture for 0.2 s" in str(camera.status.error)


def test_a_source_that_gives_only_damaged_pictures_is_connected_again() -> None:
    camera, script = scripted(*[BadPictureError("bad")] * 10_000, options=SHORT)
    with camera:
        eventually(lambda: script.opened >= 2)
        assert camera.read(0) is None
        assert camera.counters.bad_frames > 10


def test_a_read_that_hangs_is_left_behind_and_its_late_picture_not_handed_out() -> None:
    hung = Gate(then=1)
    camera, script = scripted(0, hung, 2, mode="every-frame", options=SHORT)
    try:
        with camera:
            first = camera.read(5)
            second = camera.read(5)
            assert first is not None
            assert second is not None
            assert (number_of(first.image), number_of(second.image)) == (0, 2)
            assert camera.counters.abandoned == 1
            assert camera.counters.reconnections == 1

            hung.opened.set()
            eventually(lambda: script.closed >= 1)
            assert camera.read(0.1) is None
            assert camera.counters.frames == 2
    finally:
        hung.opened.set()


def test_closing_does_not_wait_for_a_read_that_hangs() -> None:
    hung = Gate()
    camera, _ = scripted(hung, options=replace(OPTIONS, close_timeout_s=0.1))
    try:
        assert hung.entered.wait(5)
        start = time.monotonic()
        camera.close()

        assert time.monotonic() - start < 2
        assert camera.counters.abandoned == 1
        assert camera.status.state == "closed"
    finally:
        hung.opened.set()


def test_hanging_reads_do_not_pile_up() -> None:
    hung = [Gate() for _ in range(8)]
    clock = FastClock()
    options = replace(SHORT, stall_s=0.02, close_timeout_s=0.02)
    camera, script = scripted(*hung, options=options, clock=clock)
    try:
        with camera:
            eventually(lambda: len(clock.delays) > 8)

            assert script.opened == 4
            assert "hang" in str(camera.status.error)
    finally:
        for gate in hung:
            gate.opened.set()


def test_opening_may_take_its_own_time_and_no_longer() -> None:
    class Slow(Script):
        released = threading.Event()

        def __call__(self) -> Any:
            self.opened += 1
            assert self.released.wait(30)
            return super().__call__()

    slow = Slow()
    options = replace(SHORT, open_timeout_s=0.2, attempts=2)
    try:
        camera = Camera(slow, name="test", options=options, clock=FastClock())
        with camera, pytest.raises(CameraError, match=r"not open after 0\.2 s"):
            camera.read(5)
    finally:
        slow.released.set()


def test_a_file_that_stalls_fails() -> None:
    hung = Gate()
    with scripted(0, hung, live=False, options=SHORT)[0] as camera:
        with pytest.raises(CameraError, match="stalled"):
            list(camera)
        hung.opened.set()


def test_closing_wakes_readers_and_may_be_repeated() -> None:
    camera, script = scripted()
    found: list[Any] = []
    readers = [
        threading.Thread(target=lambda: found.append(camera.read(None))),
        threading.Thread(target=lambda: found.append(list(camera))),
    ]
    for reader in readers:
        reader.start()
    eventually(lambda: script.reads == 1)
    closers = [threading.Thread(target=camera.close) for _ in range(3)]
    for thread in closers:
        thread.start()
    for thread in (*readers, *closers):
        thread.join(5)
    camera.close()

    assert sorted(map(str, found)) == ["None", "[]"]
    assert camera.status.state == "closed"
    assert camera.ended
    assert camera.read(None) is None
    assert script.opened == script.closed == 1


def test_closing_ends_a_pause_between_attempts_and_a_wait_for_room() -> None:
    options = replace(OPTIONS, backoff=Backoff(first_s=100, longest_s=100))
    waiting = Camera(Script(LostError("no")), name="test", options=options)
    full, _ = scripted(*range(10), mode="every-frame")
    eventually(lambda: waiting.status.error == "no")
    eventually(lambda: full.counters.frames == 5)
    start = time.monotonic()
    waiting.close()
    full.close()

    assert time.monotonic() - start < 2
    assert full.counters.drops == 5


def test_a_source_slowed_down_keeps_its_rate_and_does_not_stall() -> None:
    options = replace(OPTIONS, stall_s=0.05)
    start = time.monotonic()
    camera, _ = scripted(
        *range(4), None, interval_s=0.15, live=False, mode="every-frame", options=options
    )
    with camera:
        frames = list(camera)

    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert frames[-1].captured_at.monotonic_s - start > 3 * 0.15


def test_several_readers_share_the_frames() -> None:
    camera, _ = scripted(*range(200), None, live=False, mode="every-frame")
    found: list[int] = []
    readers = [
        threading.Thread(target=lambda: found.extend(frame.number for frame in camera))
        for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(10)
    camera.close()

    assert sorted(found) == list(range(200))


def test_a_camera_that_is_forgotten_ends() -> None:
    script = scripted(0, options=replace(OPTIONS, stall_s=0.2))[1]
    eventually(lambda: script.opened)
    gc.collect()

    eventually(lambda: script.closed >= 1)  # and the fixture sees that no thread is left


def test_a_program_that_closes_no_camera_ends_cleanly() -> None:
    program = (
        "from snow_runtime.cameras import open_camera\n"
        "cameras = [open_camera(f'synthetic://?fps={fps}', name=str(fps)) for fps in (0, 30)]\n"
        "print([camera.read(5) is not None for camera in cameras])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "[True, True]\n", "")


def test_errors_are_scrubbed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    uri = "rtsp://me:hunter22@camera/live"
    steps = [
        LostError(f"cannot open {uri}"),
        BadPictureError(f"bad {uri}"),
        RuntimeError("hunter22"),
    ]
    camera, _ = scripted(*steps, CameraError(f"no {uri}"), uri=uri)
    with camera, pytest.raises(CameraError) as caught:
        camera.read(5)

    assert str(caught.value) == "The camera 'test' failed. no rtsp://***@camera/live"
    assert "hunter22" not in caplog.text + repr(camera) + str(camera.status)
    assert "Trying again" in caplog.text


def test_a_mistake_in_the_thread_is_not_silent(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FastClock):
        def pause(self, stop: threading.Event, seconds: float) -> bool:
            msg = f"oops {stop} {seconds}"
            raise ZeroDivisionError(msg)

    camera, _ = scripted(LostError("no"), clock=Broken())
    with camera, pytest.raises(CameraError, match="oops"):
        camera.read(5)

    assert "ZeroDivisionError" in caplog.text


def test_an_unknown_mode() -> None:
    with pytest.raises(ValueError, match="expected 'newest'"):
        scripted(mode="oldest")


def test_a_camera_shows_its_name_and_state() -> None:
    with scripted(0, name="door", options=CameraOptions())[0] as camera:
        camera.read(5)

        assert repr(camera) == "<Camera 'door' newest connected>"


def test_a_still_scene_is_handed_out_for_a_while_and_then_counts_as_frozen() -> None:
    """The same pixels, decoded anew each time, as of a video that is still or has stopped."""

    def still() -> Any:
        time.sleep(0.01)
        return CameraPicture(numbered(4))

    options = replace(OPTIONS, frozen_s=0.3)
    steps = [1, *[still] * 10_000]
    camera, script = scripted(*steps, mode="every-frame", options=options)
    with camera:
        frames = [camera.read(5) for _ in range(5)]
        assert [frame and number_of(frame.image) for frame in frames] == [1, 4, 4, 4, 4]
        assert camera.status.state == "connected"
        while camera.read(1) is not None:
            pass
        eventually(lambda: camera.status.state == "frozen")
        count = camera.counters.frames
        eventually(lambda: camera.counters.repeats > 20)
        assert (camera.counters.frames, camera.counters.freezes) == (count, 1)
        with script.lock:
            script.steps[:0] = [5]
        frame = camera.read(5)
        assert frame is not None
        assert number_of(frame.image) == 5
        assert camera.counters.freezes == 1
    assert script.opened == 1


def test_a_file_may_show_the_same_picture_as_often_as_it_likes() -> None:
    options = replace(OPTIONS, frozen_s=0.01)
    pictures = [CameraPicture(numbered(4), coded=b"the same") for _ in range(20)]

    def slow() -> Any:
        time.sleep(0.02)
        return pictures.pop()

    steps = [slow] * len(pictures)
    with scripted(*steps, None, live=False, mode="every-frame", options=options)[0] as camera:
        assert len(list(camera)) == 20
    assert (camera.counters.repeats, camera.counters.freezes) == (0, 0)


def test_pictures_that_differ_in_one_pixel_are_two() -> None:
    pictures = [CameraPicture(numbered(4)) for _ in range(6)]
    for place, picture in enumerate(pictures):
        picture.image[-1, -1] = place  # not among the first that are compared
    options = replace(OPTIONS, frozen_s=1e-9)
    with scripted(*pictures, None, mode="every-frame", options=options)[0] as camera:
        assert [frame.image[-1, -1, 0] for frame in itertools.islice(camera, 6)] == [*range(6)]


def test_pictures_passed_over_before_a_bad_or_an_old_one_are_counted() -> None:
    same = [
        CameraPicture(numbered(1), coded=b"x"),
        CameraPicture(numbered(1), coded=b"x", skipped=3),
    ]
    bad = BadPictureError("half a picture", skipped=2)
    with scripted(*same, bad, 5, mode="every-frame")[0] as camera:
        frames = [camera.read(5), camera.read(5)]

        assert [frame and frame.number for frame in frames] == [0, 6]
        assert (camera.counters.frames, camera.counters.drops) == (7, 5)
        assert (camera.counters.repeats, camera.counters.bad_frames) == (1, 1)


class _Spoilt:
    """A file whose pictures are damaged, one after the other, for a while."""

    interval_s = 0.0

    def __init__(self) -> None:
        self.left = 12

    def open(self) -> None:
        pass

    def read(self) -> None:
        if self.left:
            self.left -= 1
            time.sleep(0.05)
            msg = "It is damaged."
            raise BadPictureError(msg)

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_file_that_is_damaged_for_long_does_not_stall() -> None:
    options = CameraOptions(stall_s=0.3)

    with Camera(_Spoilt, name="c", mode="every-frame", live=False, options=options) as camera:
        assert camera.read(10) is None

        assert camera.status.state == "ended"
        assert camera.counters.bad_frames == 12
