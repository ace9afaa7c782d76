"""A camera: frames by a thread of its own, so that the application never lags behind it."""

from __future__ import annotations

import atexit
import random
import weakref
from typing import TYPE_CHECKING

from snow_runtime.cameras.camera_setup import CameraSetup
from snow_runtime.cameras.clock import SYSTEM_CLOCK, Clock
from snow_runtime.cameras.mailbox import Mailbox
from snow_runtime.cameras.options import CameraOptions
from snow_runtime.cameras.redaction import redact_text
from snow_runtime.cameras.status import Journal
from snow_runtime.cameras.supervisor import Supervisor
from snow_runtime.closing import Closing
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from snow_runtime.cameras.frame import Frame
    from snow_runtime.cameras.options import Mode
    from snow_runtime.cameras.sources.source import CameraSource
    from snow_runtime.cameras.status import Counters, Status

_RUNNING: weakref.WeakSet[Supervisor] = weakref.WeakSet()


class Camera(Closing):
    """Frames of one camera, file or folder; made by :func:`snow_runtime.cameras.open_camera`.

    Reading starts at once, in a thread that keeps the camera connected. Several threads may read:
    each frame goes to one of them. As a context manager it closes itself.

    Args:
        make_source: Function that makes a source for each connection; called in the camera's
            thread.
        name: Name of the camera for messages, logs and frames.
        mode: ``newest``: frames that nobody fetched in time give way to newer ones.
            ``every-frame``: each is handed out, in order, and the source waits for the reader.
        live: Whether the end of a connection is an outage, after which another is made.
        options: Time limits and bounds.
        uri: The address, whose secrets are to be kept out of all texts.
        clock: The time.
        rng: Generator of the jitter of the delays between attempts.

    Attributes:
        name: Name of the camera.
        mode: Mode, `newest` or `every-frame`.
    """

    def __init__(
        self,
        make_source: Callable[[], CameraSource],
        *,
        name: str,
        mode: Mode = "newest",
        live: bool = True,
        options: CameraOptions | None = None,
        uri: str = "",
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
    ) -> None:
        options = options or CameraOptions()
        if mode not in ("newest", "every-frame"):
            msg = f"The mode is {mode!r}, expected 'newest' or 'every-frame'. Give one."
            raise ValueError(msg)
        self.name = name
        self.mode = mode
        newest = mode == "newest"
        self._journal = Journal(clock)
        self._mailbox = Mailbox(
            1 if newest else options.queue_frames,
            overwrite=newest,
            dropped=_counter(self._journal),
            fresh_s=options.stall_s if newest else None,
        )
        setup = CameraSetup(
            name,
            make_source,
            live,
            options,
            clock,
            redact=(lambda text: redact_text(text, uri)) if uri else str,
            rng=rng or random.Random(),
        )
        self._supervisor = Supervisor(setup, self._mailbox, self._journal)
        _RUNNING.add(self._supervisor)
        # A camera that is forgotten ends too: its threads hold no reference to it.
        weakref.finalize(self, self._supervisor.forget).atexit = False
        self._supervisor.start()

    @property
    def status(self) -> Status:
        """The state now, since when, and what went wrong last."""
        return self._journal.status

    @property
    def counters(self) -> Counters:
        """What was counted since the camera was opened."""
        return self._journal.counters

    @property
    def ended(self) -> bool:
        """Whether no frame waits and none will come: it ended, failed or was closed."""
        return self._mailbox.finished

    def read(self, timeout_s: float | None = 1.0) -> Frame | None:
        """Fetch a frame that nobody has fetched: the newest, or in ``every-frame`` the next.

        Args:
            timeout_s: How long to wait for one, in seconds; 0 does not wait, None waits until one
                comes or none will.

        Returns:
            The frame; None if none came in time, or the camera ended or was closed; :attr:`ended`
            tells.

        Raises:
            CameraError: The camera failed, and trying again is no use.
        """
        frame = self._mailbox.take(timeout_s)
        if frame is None:
            self._check()
        return frame

    def poll(self) -> Frame | None:
        """Fetch a frame if one waits; never wait, and never raise."""
        return self._mailbox.take(0)

    def __iter__(self) -> Iterator[Frame]:
        """Give frames until the camera ends or is closed, through outages.

        Raises:
            CameraError: The camera failed, and trying again is no use.
        """
        while (frame := self.read(None)) is not None:
            yield frame

    def ask_to_stop(self) -> None:
        """End reading without waiting for it; :meth:`close` waits."""
        self._supervisor.ask_to_stop()

    def close(self) -> None:
        """End reading, and wait for the camera's threads; frames that wait are thrown away.

        It takes a moment, or ``close_timeout_s`` and a second if a library hangs. May be called
        again.
        """
        self._supervisor.stop()

    def listen(self, event: threading.Event) -> None:
        """Set ``event`` whenever a frame is there, and when no more will come."""
        self._mailbox.listen(event)

    def unlisten(self, event: threading.Event) -> None:
        """Leave ``event`` alone from now on."""
        self._mailbox.unlisten(event)

    def _check(self) -> None:
        status = self.status
        if status.state == "failed":
            msg = f"The camera {self.name!r} failed. {status.error}"
            raise CameraError(msg)

    def __repr__(self) -> str:
        return f"<Camera {self.name!r} {self.mode} {self.status.state}>"


def _counter(journal: Journal) -> Callable[[int], None]:
    def dropped(count: int) -> None:
        journal.add(drops=count)

    return dropped


@atexit.register
def _end_all() -> None:
    """End the cameras that nobody closed: a thread inside a library must not meet the end."""
    running = list(_RUNNING)
    for supervisor in running:
        supervisor.ask_to_stop()
    for supervisor in running:
        supervisor.stop()
