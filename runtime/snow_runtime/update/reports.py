"""What an agent tells of its box, to whom, and how often."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from snow_runtime._version import __version__
from snow_runtime.update.box import BoxState, release_name
from snow_runtime.update.status import BoxStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.update.agent_options import AgentOptions
    from snow_runtime.update.box import Box
    from snow_runtime.update.status import State
    from snow_runtime.update.transport import Transport

_LOGGER = logging.getLogger(__name__)


class BoxReports:
    """Tells how a box does, in its folder and to a broker.

    Args:
        box: Folder of the box.
        transport: Where the publication lies.
        options: Who the box is.
        tell: Function that gets each status, for a broker; None for none.
        clock: Monotonic time in seconds.

    Attributes:
        wanted: Name of the release that the box is to run, as far as it knows.
        expires: When what was read last expires, in UTC; None where nothing was read.
    """

    def __init__(
        self,
        box: Box,
        transport: Transport,
        options: AgentOptions,
        tell: Callable[[BoxStatus], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self._box = box
        self._transport = transport
        self._options = options
        self._tell = tell
        self._clock = clock
        self.wanted: str | None = None
        self.expires: str | None = None
        self._told: State | None = None
        self._told_s = 0.0

    def say(self, state: State, known: BoxState, error: Exception | None = None) -> None:
        """Tell how the box does; that nobody takes it stops nothing."""
        self._told, self._told_s = state, self._clock()
        status = self.status(state, known, error)
        try:
            status.save(self._box.folder)
        except OSError as problem:
            _LOGGER.warning("status.json cannot be written: %s", problem)
        if self._tell is not None:
            self._tell(status)

    def say_still(self, state: State, known: BoxState) -> None:
        """Tell it if it was something else, or if that was long ago."""
        if state != self._told or self._clock() - self._told_s >= self._options.every_s:
            self.say(state, known)

    def say_on(self, known: BoxState) -> None:
        """Tell the same as before if that was long ago."""
        if self._told is not None:
            self.say_still(self._told, known)

    def status(self, state: State, known: BoxState, error: Exception | None = None) -> BoxStatus:
        """Return what the box tells of itself."""
        present = self._box.release(known.wanted)
        previous = self._box.release(known.good if known.trial is not None else known.previous)
        return BoxStatus(
            format=1,
            box=self._options.box,
            state=state,
            written=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            every_s=self._options.every_s,
            tags=self._options.tags,
            release=None if present is None else present.name,
            number=0 if present is None else present.number,
            previous=None if previous is None else previous.name,
            wanted=self.wanted,
            error=None if error is None else str(error) or type(error).__name__,
            failed={release_name(name): why for name, why in known.failed.items()},
            metadata=known.floor.timestamp,
            expires=self.expires,
            got_bytes=self._transport.received_bytes,
            version=__version__,
        )
