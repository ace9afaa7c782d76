"""Keeps a camera connected: starts a pump, watches it, and starts another when it ends."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from snow_runtime.cameras.backoff import Backoff
from snow_runtime.cameras.frame import Frame
from snow_runtime.cameras.pump import Pump
from snow_runtime.cameras.sources.source import LostError, RefusedError
from snow_runtime.errors import CameraError, SnowError

if TYPE_CHECKING:
    from snow_runtime.cameras.camera_setup import CameraSetup
    from snow_runtime.cameras.mailbox import Mailbox
    from snow_runtime.cameras.sources.source import BadPictureError, CameraPicture
    from snow_runtime.cameras.status import Journal

_LOGGER = logging.getLogger(__name__)
_MOST_HANGING: Final = 4  # reads left behind that still hang; no more are started beside them
_GRACE: Final = 1.1  # a source reports its own time-out first, and better
_SLACK_S: Final = 1.0
_REFUSED: Final = Backoff(first_s=60.0, longest_s=300.0, jitter=0.2)  # a lockout takes more


class Supervisor:
    """A thread that keeps one camera's pump running.

    Args:
        setup: How the camera is read.
        mailbox: Mailbox that the frames go to.
        journal: Journal of the state and the counts.
    """

    def __init__(self, setup: CameraSetup, mailbox: Mailbox, journal: Journal) -> None:
        self._setup = setup
        self._name = setup.name
        self._live = setup.live
        self._options = setup.options
        self._clock = setup.clock
        self._redact = setup.redact
        self._mailbox = mailbox
        self._journal = journal
        self._forgotten = False
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._pump: Pump | None = None  # the one whose pictures count
        self._hanging: list[Pump] = []
        self._attempt = 0
        self._refusals = 0
        self._size: tuple[int, ...] | None = None  # width, height of the last picture
        self._delay_s = 0.0
        self._last_bad: tuple[Pump | None, str] = (None, "")  # whose picture, and what it had
        self._also = ""  # what else is to be said of the last connection's end
        self._thread = threading.Thread(target=self._run, name=f"camera {setup.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Let the thread end, without waiting for it."""
        self._stopping.set()
        self._wake.set()
        with self._lock:
            if self._pump is not None:
                self._pump.cancelled.set()
        self._journal.finish("closed")
        self._mailbox.finish(discard=True)

    def forget(self) -> None:
        """Let the thread end when it looks next; takes no lock, so that a finaliser may call it."""
        self._forgotten = True

    def stop(self) -> None:
        """Let the thread end, and wait for it, for a bounded time."""
        self.ask_to_stop()
        if self._thread is not threading.current_thread():
            self._thread.join(self._options.close_timeout_s + _SLACK_S)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set() and self._settle(self._connect()):
                self._clock.pause(self._stopping, self._delay_s)
        except Exception as error:  # a mistake in this package must not look like silence
            _LOGGER.exception("The thread of camera %r failed.", self._name)
            self._journal.finish("failed", self._redact(str(error)) or type(error).__name__)
        finally:
            self._mailbox.finish()

    def _connect(self) -> Exception | None:
        """Read one connection until it ends; give why, None for a source's end."""
        self._hanging = [pump for pump in self._hanging if pump.alive]
        if len(self._hanging) >= _MOST_HANGING:
            return LostError(
                f"The camera {self._name!r} is not tried again: {len(self._hanging)} reads of it "
                "hang, expected them to end. Restart the program, or the camera's driver."
            )
        pump = Pump(
            self._setup,
            self._wake,
            deliver=self._deliver,
            bad=self._bad,
            repeated=self._repeated,
        )
        with self._lock:
            self._pump = pump
        pump.start()
        stalled = self._watch(pump)
        self._end(pump)
        only_bad = self._last_bad[0] is pump and (stalled or pump.first_at_s is None)
        self._also = f" Damaged pictures came: {self._last_bad[1]}" if only_bad else ""
        if pump.first_at_s is not None:
            self._refusals = 0
            lasted_s = self._clock.monotonic_s() - pump.first_at_s
            if lasted_s >= self._delay_s:  # else it comes and goes: wait longer each time
                self._attempt = 0
        return stalled or pump.error

    def _watch(self, pump: Pump) -> Exception | None:
        """Wait until a pump ends or takes too long; give an error for the latter."""
        while True:
            self._wake.clear()
            if self._forgotten:
                self.ask_to_stop()
            if pump.done.is_set() or self._stopping.is_set():
                return None
            left = pump.left_s()
            if left is not None:
                left += self._options.stall_s * (_GRACE - 1)
                if left <= 0:
                    return self._stalled(pump)
            # A reader that made a source wait may come back at any time.
            self._wake.wait(self._options.stall_s if left is None else left)

    def _stalled(self, pump: Pump) -> CameraError:
        kind = LostError if self._live else CameraError
        if pump.opened:
            seen = f"no new picture for {self._options.stall_s:g} s"
        else:
            seen = f"not open after {self._options.open_timeout_s:g} s"
        return kind(
            f"The camera {self._name!r} stalled: {seen}, expected pictures to keep coming. Look at "
            "the camera and the network, or allow it more time."
        )

    def _end(self, pump: Pump) -> None:
        """End a pump, or leave it behind if it hangs."""
        with self._lock:
            self._pump = None
            pump.cancelled.set()
        self._mailbox.wake()
        if not pump.stop(self._options.close_timeout_s):
            self._hanging.append(pump)
            self._journal.add(abandoned=1)
            _LOGGER.warning("A read of camera %r hangs and is left behind.", self._name)

    def _settle(self, error: Exception | None) -> bool:
        """Enter how a connection ended; give whether to make another, after `_delay_s`."""
        if self._stopping.is_set():
            return False
        if error is None and not self._live:
            self._journal.finish("ended")
            return False
        text = self._redact(str(error) or type(error).__name__) if error else "the stream ended"
        text += self._also
        code = getattr(error, "code", None)
        self._attempt += 1
        if self._is_final(error) or not self._live or self._attempt == self._options.attempts:
            self._journal.finish("failed", text, code)
            _LOGGER.error("Camera %r failed: %s", self._name, text)
            return False
        self._journal.lost(text, code)
        self._delay_s = self._pause_s(error)
        _LOGGER.warning(
            "Camera %r is lost: %s Trying again in %.1f s.", self._name, text, self._delay_s
        )
        return True

    def _is_final(self, error: Exception | None) -> bool:
        if isinstance(error, RefusedError):  # a password that was right may be so again
            return error.password and not self._journal.seen
        return isinstance(error, SnowError) and not isinstance(error, LostError)

    def _pause_s(self, error: Exception | None) -> float:
        if not isinstance(error, RefusedError):
            return self._options.backoff.delay_s(self._attempt - 1, self._setup.rng)
        self._refusals += 1
        return _REFUSED.delay_s(self._refusals - 1, self._setup.rng)

    def _deliver(self, pump: Pump, picture: CameraPicture) -> None:
        """Number a picture and leave it for readers; called by the pump's thread."""
        with self._lock:
            if pump is not self._pump or pump.cancelled.is_set():
                return
            number = self._journal.frame(picture.skipped)
            self._note_size(picture)
        at = picture.at or self._clock.now()
        fresh_s = self._mailbox.fresh_s
        frame = Frame(picture.image, number, at, self._name, self._clock, fresh_s)
        self._mailbox.put(frame, pump.cancelled)

    def _note_size(self, picture: CameraPicture) -> None:
        """Count a picture of another size than the one before, and say so."""
        size = picture.image.shape[1::-1]
        if self._size not in (None, size):
            self._journal.add(size_changes=1)
            _LOGGER.info("Camera %r now gives pictures of %d x %d pixels.", self._name, *size)
        self._size = size

    def _bad(self, error: BadPictureError) -> None:
        self._journal.add(bad_frames=1, frames=error.skipped, drops=error.skipped)
        text = self._redact(str(error))
        self._last_bad = (self._pump, text)
        _LOGGER.debug("Camera %r: %s", self._name, text)

    def _repeated(self, picture: CameraPicture, frozen: bool) -> None:  # noqa: FBT001 - a callback
        self._journal.add(repeats=1, frames=picture.skipped, drops=picture.skipped)
        if not frozen:
            return
        error = (
            f"It has sent the same picture for {self._options.frozen_s:g} s, which is not handed "
            "out again until another comes. Look at the camera."
        )
        if self._journal.freeze(error):
            _LOGGER.warning("Camera %r is frozen: %s", self._name, error)
