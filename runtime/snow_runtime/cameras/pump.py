"""One thread that reads one connection to a camera until it ends."""

from __future__ import annotations

import contextlib
import threading
import traceback
from typing import TYPE_CHECKING, Final

from snow_runtime.cameras.sources.source import BadPictureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.cameras.camera_setup import CameraSetup
    from snow_runtime.cameras.sources.source import CameraPicture, CameraSource

_BREATH_S: Final = 0.002  # after a read that gave nothing new, so that it is no busy loop
_STEP: Final = 16  # pixels between those that are compared first


class Pump:
    """Opens a source, hands on its pictures, and closes it; all in a thread of its own.

    The thread is a daemon: where a library hangs in a read, nothing can end it, and it must not
    keep the program from ending.

    Args:
        setup: How the camera is read; its source is made and used in the thread.
        wake: Event that is set when the source is open, and when the thread is about to end.
        deliver: Callback that gets each new picture; it may take its time.
        bad: Callback that gets each damaged picture.
        repeated: Callback that gets each picture that came again, and whether the camera is frozen
            by now.

    Attributes:
        cancelled: Event that is set when nothing is to be delivered any more.
        done: Event that is set when the source is closed.
        error: Reason why the connection ended; None if it was the source's end, or it was
            cancelled.
        opened: Whether the source could be opened.
        first_at_s: Time when the first picture had come, on the clock that never jumps; or None.
    """

    def __init__(
        self,
        setup: CameraSetup,
        wake: threading.Event,
        *,
        deliver: Callable[[Pump, CameraPicture], None],
        bad: Callable[[BadPictureError], None],
        repeated: Callable[[CameraPicture, bool], None],
    ) -> None:
        self._make_source = setup.make_source
        self._live = setup.live
        self._options = setup.options
        self._clock = setup.clock
        self._wake = wake
        self._deliver = deliver
        self._bad = bad
        self._repeated = repeated
        self._source: CameraSource | None = None
        self._deadline_s: float | None = None  # None while the source is not to blame
        self._last: CameraPicture | None = None
        self._changed_s = 0.0  # when a picture came that was not the one before
        self._due_s = 0.0
        self.cancelled = threading.Event()
        self.done = threading.Event()
        self.error: Exception | None = None
        self.opened = False
        self.first_at_s: float | None = None
        name = f"camera {setup.name} reader"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._deadline_s = self._clock.monotonic_s() + self._options.open_timeout_s
        self._thread.start()

    def left_s(self) -> float | None:
        """Seconds until the source has taken too long; None while nothing is asked of it."""
        deadline = self._deadline_s
        return None if deadline is None else deadline - self._clock.monotonic_s()

    def stop(self, timeout_s: float) -> bool:
        """End the thread; whoever delivers must have been woken. Give whether it ended in time."""
        self.cancelled.set()
        if self._source is not None:
            self._source.interrupt()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._source = self._make_source()
            if self.cancelled.is_set():  # too early for the source to be interrupted
                return
            self._source.open()
            self.opened = True
            self._restart()
            self._wake.set()  # another time limit holds from here on
            while not self.cancelled.is_set() and self._step(self._source):
                pass
        except Exception as error:  # noqa: BLE001 - the supervisor tells what can be tried again
            self.error = _without_frames(error)
        finally:
            if self._source is not None:
                with contextlib.suppress(Exception):
                    self._source.close()
            self._last = None
            self.done.set()
            self._wake.set()

    def _step(self, source: CameraSource) -> bool:
        """Read once; give whether to go on."""
        self._keep_pace(source.interval_s)
        try:
            picture = source.read()
        except BadPictureError as error:
            self._bad(error)
            if not self._live:
                self._restart()  # a file does not stall as long as it gives anything
            self.cancelled.wait(_BREATH_S)
            return True
        if picture is None:
            return False
        if self._repeats(picture):
            self._repeated(picture, False)  # noqa: FBT003 - a callback
            self.cancelled.wait(_BREATH_S)
            return True
        if self._is_old_news(picture):
            self._repeated(picture, self._still_s() > self._options.frozen_s)
            self._restart()  # it is there and sends: another connection would give the same
            return True
        self._last = picture
        self._deadline_s = None
        self._deliver(self, picture)
        if self.first_at_s is None:
            self.first_at_s = self._clock.monotonic_s()
        self._restart()
        return True

    def _is_old_news(self, picture: CameraPicture) -> bool:
        """Whether a camera sends what it has sent before, and that is not worth an answer.

        The same bytes are the same picture. The same pixels may be a still scene, in which a
        video's coder leaves out what did not change: for a while they count as new.
        """
        last = self._last
        if not self._live or last is None or not _equal(picture, last):
            self._changed_s = self._clock.monotonic_s()
            return False
        return picture.coded is not None or self._still_s() > self._options.frozen_s

    def _still_s(self) -> float:
        return self._clock.monotonic_s() - self._changed_s

    def _repeats(self, picture: CameraPicture) -> bool:
        """Whether the source gave what it had given already: it took no other picture."""
        last = self._last
        if last is None:
            return False
        counted = picture.number is not None and picture.number == last.number
        return counted or picture.image is last.image

    def _keep_pace(self, interval_s: float) -> None:
        """Wait until the next picture is due; a source that is late does not catch up."""
        if not interval_s:
            return
        now = self._clock.monotonic_s()
        if self._due_s > now:
            deadline, self._deadline_s = self._deadline_s, None
            self.cancelled.wait(self._due_s - now)
            if deadline is not None:
                self._deadline_s = deadline + self._due_s - now
        self._due_s = max(self._due_s, now) + interval_s

    def _restart(self) -> None:
        """Give the source its time for the next picture."""
        self._deadline_s = self._clock.monotonic_s() + self._options.stall_s


def _without_frames(error: Exception) -> Exception:
    """Take off an error what it came by, which would keep this pump, its source and pictures.

    The frames are cleared as well: libraries leave errors in them that lead back to them.
    """
    found: list[BaseException | None] = [error]
    while found:
        each = found.pop()
        if each is not None:
            traceback.clear_frames(each.__traceback__)
            found += [each.__cause__, each.__context__]
            each.__cause__ = each.__context__ = each.__traceback__ = None
    return error


def _equal(one: CameraPicture, other: CameraPicture) -> bool:
    """Whether two pictures are the same: to the byte where there are bytes, else to the pixel."""
    if one.coded is not None and other.coded is not None:
        return one.coded == other.coded
    a, b = one.image, other.image
    few = slice(None, None, _STEP)
    # Nearly always a few pixels tell them apart.
    return a.shape == b.shape and bool((a[few, few] == b[few, few]).all() and (a == b).all())
