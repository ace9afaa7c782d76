"""Looking after a box: what it is to run is read, got, tried, taken up, watched, and taken back.

A round does one thing after another, and whatever ends it, the next one goes on from what
`state.json` says. Nothing is taken up that did not pass, and nothing counts as good before it was
watched for its time.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from snow_runtime._version import __version__
from snow_runtime.errors import SnowError
from snow_runtime.update.assemble import assemble
from snow_runtime.update.box import BoxState, BoxTrial, release_name
from snow_runtime.update.errors import (
    NoSpaceError,
    OutsideHoursError,
    RejectedError,
    UnreachableError,
    UntrustedError,
)
from snow_runtime.update.status import BoxStatus
from snow_runtime.update.trial import try_release
from snow_runtime.update.wanted import ReleaseReader, WantedRelease

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from snow_runtime.update.box import Box
    from snow_runtime.update.limits import Hours
    from snow_runtime.update.program import Program
    from snow_runtime.update.release import Release
    from snow_runtime.update.status import State
    from snow_runtime.update.transport import Transport

_LOGGER = logging.getLogger(__name__)
WATCH_EVERY_S: Final = 1.0
"""Seconds between two looks at a release on trial."""
_MOST_STARTS: Final = 2
"""A release on trial is begun anew so often at most: a power cut is no fault of it, three are."""
_STATES: Final[tuple[tuple[type[Exception], State], ...]] = (
    (OutsideHoursError, "waiting"),
    (UnreachableError, "unreachable"),
    (UntrustedError, "untrusted"),
    (NoSpaceError, "full"),
    (OSError, "full"),
    (SnowError, "failed"),
)


@dataclass(frozen=True)
class AgentOptions:
    """How an agent looks after its box.

    Attributes:
        box: Id of the box.
        tags: Tags of the box, by which waves may name it.
        every_s: How often it looks for an update, in seconds.
        hours: When it may download; None for always.
        root: File of the root that is trusted from the beginning; None for the one that is kept.
    """

    box: str
    tags: tuple[str, ...] = ()
    every_s: float = 300.0
    hours: Hours | None = None
    root: Path | None = None


class Agent:
    """Looks after one box.

    Args:
        box: Folder of the box.
        transport: Where the publication lies.
        program: What answers.
        options: How.
        try_out: Function that tries a release aside, and raises RejectedError.
        tell: Function that gets each status, for a broker.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        box: Box,
        transport: Transport,
        program: Program,
        options: AgentOptions,
        *,
        try_out: Callable[[Path, Release], object] = try_release,
        tell: Callable[[BoxStatus], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._box = box
        self._transport = transport
        self._program = program
        self._options = options
        self._try_out = try_out
        self._tell = tell
        self._clock = clock
        self._state = BoxState()
        self._wanted: str | None = None
        self._expires: str | None = None
        self._watched_from_s = 0.0
        self._said = ""
        self._told: tuple[str, float] = ("", 0.0)

    @property
    def state(self) -> BoxState:
        """What is known of the box."""
        return self._state

    @property
    def error(self) -> str | None:
        """What was wrong in the last round; None where nothing was."""
        return self._said or None

    def end(self) -> None:
        """End the program, and say so."""
        self._program.end()
        self._say("ended")

    def recover(self) -> None:
        """Set right what a power cut may have left, before the program begins.

        Raises:
            OSError: The pointer cannot be set.
        """
        state = self._box.usable(self._box.state())
        trial = state.trial
        if trial is not None:
            starts = trial.starts + 1
            state = replace(state, trial=replace(trial, starts=starts))
            if starts > _MOST_STARTS:
                why = f"program or machine went down {starts} times while it was watched"
                state = state.with_failed(trial.generation, why)
        try:
            self._keep(state)
        except OSError:  # what cannot be noted cannot be counted: no trial then
            self._state = replace(state, trial=None)
        self._box.point(self._state.wanted)
        kept = {self._state.wanted, self._state.good, self._state.previous} - {None}
        self._box.clean({name for name in kept if name}, incoming=False)

    def begin(self) -> None:
        """Have the program work by what there is, if there is something."""
        release = self._box.release(self._state.wanted)
        if release is not None:
            self._watched_from_s = self._clock()
            self._program.begin(release.budget_ms)

    def rounds(self, stop: threading.Event) -> None:
        """Look after the box until it is stopped; then end the program."""
        try:
            while not stop.is_set():
                self.step()
                stop.wait(self.pause_s)
        finally:
            self.end()

    @property
    def pause_s(self) -> float:
        """How long to wait before the next round, in seconds."""
        return self._options.every_s if self._state.trial is None else WATCH_EVERY_S

    def step(self) -> State:
        """Do one round; whatever goes wrong is said, and the box goes on as it is.

        Returns:
            How the box does, as its status says it.
        """
        error: Exception | None = None
        try:
            state = self._watch() if self._state.trial is not None else self._look()
        except Exception as problem:  # noqa: BLE001 - an agent that ends helps nobody
            error = problem
            state = next((name for kind, name in _STATES if isinstance(problem, kind)), "failed")
            if str(problem) != self._said:  # it may be the same for days
                _LOGGER.warning("%s", problem)
            if state == "full":
                self._make_room()
        self._said = "" if error is None else str(error)
        self._say(state, error)
        return state

    def _look(self) -> State:
        """Look for an update, and take it up."""
        wanted = self._read()
        if wanted is None or wanted.generation == self._state.good:
            return "settled"
        why = self._state.why_failed(wanted.generation)
        if why is not None:
            msg = f"The release {wanted.release.name} failed here, and waits for a newer one: {why}"
            raise RejectedError(msg)
        self._check_hours()
        self._say("downloading")
        folder = assemble(
            self._box,
            *(wanted.release, wanted.record, wanted.generation, self._transport),
            go_on=self._check_hours,
        )
        self._say("trying")
        try:
            self._try_out(folder, wanted.release)
        except RejectedError as error:
            self._keep(self._state.with_failed(wanted.generation, str(error)))
            self._clean()
            raise
        self._take_up(wanted)
        return "watching"

    def _check_hours(self) -> None:
        """Look whether the box may download now.

        Raises:
            OutsideHoursError: It may not.
        """
        hours = self._options.hours
        if hours is not None and not hours.has():
            msg = "It is outside the hours in which this box may download; it goes on within them."
            raise OutsideHoursError(msg)

    def _read(self) -> WantedRelease | None:
        """Read what the box is to run; None where it may keep what it has."""
        reader = ReleaseReader(self._box, self._transport, self._options.root, self._state.floor)
        self._expires = reader.validity.expires
        if reader.validity.floor != self._state.floor:
            self._keep(replace(self._state, floor=reader.validity.floor))
        present = self._box.release(self._state.good)
        name = reader.rollout().release_for(
            self._options.box, self._options.tags, None if present is None else present.name
        )
        self._wanted = name
        return None if name is None else reader.release(name)

    def _take_up(self, wanted: WantedRelease) -> None:
        """Have the program work by a release; from the first line on it may be taken back."""
        self._keep(replace(self._state, trial=BoxTrial(wanted.generation)))
        self._box.point(wanted.generation)
        _LOGGER.info("The release %s is taken up and watched.", wanted.release.name)
        self._program.switch(wanted.release.budget_ms)
        self._watched_from_s = self._clock()

    def _watch(self) -> State:
        """Look how the release on trial does; go back, or let it count as good."""
        trial = self._state.trial
        release = None if trial is None else self._box.release(trial.generation)
        if trial is None or release is None:
            self._go_back("its files are gone")
            return "failed"
        fault = self._program.fault()
        if fault is not None:
            self._go_back(fault)
            msg = f"The release {release.name} failed here, and the one before is back: {fault}"
            raise RejectedError(msg)
        watched_s = self._clock() - self._watched_from_s
        if self._program.watched and watched_s < release.watch_s:
            return "watching"
        old = self._state.good
        previous = old if old != trial.generation else self._state.previous
        self._keep(replace(self._state, good=trial.generation, previous=previous, trial=None))
        _LOGGER.info("The release %s counts as good.", release.name)
        self._clean()
        return "settled"

    def _go_back(self, why: str) -> None:
        """Have the program work by the release before, whether or not that can be noted."""
        trial = self._state.trial
        state = self._state if trial is None else self._state.with_failed(trial.generation, why)
        try:
            self._keep(state)
        except OSError as error:
            _LOGGER.warning("state.json cannot be written: %s", error)
            self._state = state
        self._box.point(state.wanted)
        release = self._box.release(state.wanted)
        if release is None:
            self._program.rest()
        else:
            self._program.switch(release.budget_ms)

    def _keep(self, state: BoxState) -> None:
        self._box.save(state)
        self._state = state

    def _clean(self) -> None:
        kept = {self._state.wanted, self._state.good, self._state.previous}
        self._box.clean({name for name in kept if name}, incoming=True)

    def _make_room(self) -> None:
        """Let go of the release before the present one: it can be had again, this box cannot."""
        try:
            if self._state.previous is not None and self._state.trial is None:
                self._keep(replace(self._state, previous=None))
        except OSError:
            self._state = replace(self._state, previous=None)
        self._clean()

    def _say(self, state: State, error: Exception | None = None) -> None:
        """Tell how the box does; that nobody takes it stops nothing."""
        now = self._clock()
        if state == self._told[0] == "watching" and now - self._told[1] < self._options.every_s:
            return  # it is looked at every second
        self._told = (state, now)
        status = self.status(state, error)
        try:
            status.save(self._box.folder)
        except OSError as problem:
            _LOGGER.warning("status.json cannot be written: %s", problem)
        if self._tell is not None:
            self._tell(status)

    def status(self, state: State, error: Exception | None = None) -> BoxStatus:
        """Return what the box tells of itself."""
        present = self._box.release(self._state.wanted)
        previous = self._box.release(
            self._state.good if self._state.trial is not None else self._state.previous
        )
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
            wanted=self._wanted,
            error=None if error is None else str(error) or type(error).__name__,
            failed={release_name(name): why for name, why in self._state.failed.items()},
            metadata=self._state.floor.timestamp,
            expires=self._expires,
            got_bytes=self._transport.received_bytes,
            version=__version__,
        )
