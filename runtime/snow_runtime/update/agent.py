"""Looking after a box: what it is to run is read, got, tried, taken up, watched, and taken back.

A round does one thing after another, and whatever ends it, the next one goes on from what
`state.json` says. Nothing is taken up that did not pass, and nothing counts as good before it was
watched for its time.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from snow_runtime.errors import SnowError
from snow_runtime.update.assemble import assemble
from snow_runtime.update.errors import (
    OutsideHoursError,
    RejectedError,
    StoppedError,
    UnreachableError,
    UntrustedError,
    is_full_disk,
)
from snow_runtime.update.patience import Patience
from snow_runtime.update.reports import BoxReports
from snow_runtime.update.succession import Succession
from snow_runtime.update.trial import try_release
from snow_runtime.update.wanted import ReleaseReader, WantedRelease

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from snow_runtime.update.agent_options import AgentOptions
    from snow_runtime.update.box import Box, BoxState, BoxTrial
    from snow_runtime.update.program import Program
    from snow_runtime.update.release import Release
    from snow_runtime.update.status import BoxStatus, State
    from snow_runtime.update.transport import Transport

_LOGGER = logging.getLogger(__name__)
WATCH_EVERY_S: Final = 1.0
"""Seconds between two looks at a release on trial."""
_STATES: Final[tuple[tuple[type[Exception], State], ...]] = (
    (StoppedError, "ended"),
    (OutsideHoursError, "waiting"),
    (UnreachableError, "unreachable"),
    (UntrustedError, "untrusted"),
)


class Agent:
    """Looks after one box.

    Args:
        box: Folder of the box.
        transport: Where the publication lies.
        program: What answers.
        options: How.
        try_out: Function that tries a release aside, and raises RejectedError; None for the usual.
        is_ready: Function that tells whether the program works by the release that it was last
            given.
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
        try_out: Callable[[Path, Release], object] | None = None,
        is_ready: Callable[[], bool] = lambda: True,
        tell: Callable[[BoxStatus], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._box = box
        self._transport = transport
        self._program = program
        self._options = options
        self._try_out = try_out or partial(try_release, go_on=self._keep_on)
        self._is_ready = is_ready
        self._clock = clock
        self._reports = BoxReports(box, transport, options, tell, clock)
        self._succession = Succession(box, program)
        self._patience = Patience()
        self._stop: threading.Event | None = None
        self._watched_from_s = 0.0
        self._looked_s = 0.0
        self._said = ""

    @property
    def state(self) -> BoxState:
        """What is known of the box."""
        return self._succession.state

    @property
    def error(self) -> str | None:
        """What was wrong in the last round; None where nothing was."""
        return self._said or None

    def status(self, state: State, error: Exception | None = None) -> BoxStatus:
        """Return what the box tells of itself."""
        return self._reports.status(state, self.state, error)

    def heed(self, stop: threading.Event) -> None:
        """End downloads and trials too, once an event is set."""
        self._stop = stop

    def end(self) -> None:
        """End the program, and say so."""
        self._program.end()
        self._succession.close()
        self._reports.say("ended", self.state)

    def recover(self) -> None:
        """Set right what a power cut may have left, before the program begins.

        Raises:
            OSError: The pointer cannot be set.
        """
        self._succession.recover()

    def begin(self) -> None:
        """Have the program work by what there is, if there is something."""
        release = self._succession.present
        if release is not None:
            self._watched_from_s = self._clock()
            trial = self.state.trial
            self._program.begin(
                release.budget_ms, has_to_answer=trial is not None and trial.has_to_answer
            )

    def rounds(self, stop: threading.Event) -> None:
        """Look after the box until it is stopped; then end the program."""
        self.heed(stop)
        try:
            while not stop.is_set():
                self.step()
                stop.wait(self.pause_s)
        finally:
            self.end()

    @property
    def pause_s(self) -> float:
        """How long to wait before the next round, in seconds."""
        return self._options.every_s if self.state.trial is None else WATCH_EVERY_S

    def step(self) -> State:
        """Do one round; whatever goes wrong is said, and the box goes on as it is.

        Returns:
            How the box does, as its status says it.
        """
        error: Exception | None = None
        try:
            state = self._watch() if self.state.trial is not None else self._look()
        except Exception as problem:  # noqa: BLE001 - an agent that ends helps nobody
            error, state = problem, _state_of(problem)
            if str(problem) != self._said and state != "ended":  # it may be the same for days
                _LOGGER.warning("%s", problem)
            if state == "full":
                self._succession.make_room()
        self._said = "" if error is None else str(error)
        if state == "watching":
            self._reports.say_still(state, self.state)  # it is looked at every second
        else:
            self._reports.say(state, self.state, error)
        return state

    def _look(self) -> State:
        """Look for an update, and take it up."""
        self._program.look()
        wanted = self._read()
        if wanted is None or wanted.generation == self.state.good:
            return "settled"
        why = self.state.why_failed(wanted.generation)
        if why is not None:
            msg = f"The release {wanted.release.name} failed here, and waits for a newer one: {why}"
            raise RejectedError(msg)
        self._patience.check(wanted.generation)
        got = self._transport.received_bytes
        try:
            self._prepare(wanted)
        except Exception as error:
            lost = isinstance(error, UntrustedError) or is_full_disk(error)
            if lost and self._transport.received_bytes > got:
                self._patience.lose(wanted.generation, error)
            raise
        self._succession.take_up(wanted)
        self._watched_from_s = self._clock()
        return "watching"

    def _prepare(self, wanted: WantedRelease) -> None:
        """Put a release together aside, and try it."""
        folder = assemble(
            self._box,
            *(wanted.release, wanted.record, wanted.generation, self._transport),
            go_on=self._may_download,
        )
        self._reports.say("trying", self.state)
        try:
            self._try_out(folder, wanted.release)
        except RejectedError as error:
            self._succession.reject(wanted.generation, str(error))
            raise

    def _may_download(self) -> None:
        """Look whether the box may download now, and tell that it does.

        Raises:
            OutsideHoursError: It may not.
            StoppedError: The agent ends.
        """
        hours = self._options.hours
        if hours is not None and not hours.has():
            msg = "It is outside the hours in which this box may download; it goes on within them."
            raise OutsideHoursError(msg)
        self._reports.say_still("downloading", self.state)
        self._keep_on()

    def _keep_on(self) -> None:
        """Tell that the box still does what it did, unless the agent ends.

        Raises:
            StoppedError: It does.
        """
        if self._stop is not None and self._stop.is_set():
            msg = "The agent ends; the update goes on when it begins again."
            raise StoppedError(msg)
        self._reports.say_on(self.state)

    def _read(self) -> WantedRelease | None:
        """Read what the box is to run; None where it may keep what it has."""
        self._looked_s = self._clock()
        reader = ReleaseReader(self._box, self._transport, self._options.root, self.state.floor)
        self._reports.expires = reader.validity.expires
        if reader.validity.floor != self.state.floor:
            self._succession.keep(replace(self.state, floor=reader.validity.floor))
        present = self._succession.present
        name = reader.rollout().release_for(
            self._options.box, self._options.tags, None if present is None else present.name
        )
        self._reports.wanted = name
        return None if name is None else reader.release(name)

    def _watch(self) -> State:
        """Look how the release on trial does; go back, or let it count as good."""
        trial = self.state.trial
        release = None if trial is None else self._box.release(trial.generation)
        if trial is None or release is None:
            self._succession.go_back("its files are gone")
            return "failed"
        fault = self._program.fault()
        if fault is not None:
            self._succession.go_back(fault)
            msg = f"The release {release.name} failed here, and the one before is back: {fault}"
            raise RejectedError(msg)
        watched_s = self._clock() - self._watched_from_s
        waits = watched_s < release.watch_s or not self._is_ready() or not self._program.answers
        if self._program.watched and waits:
            if self._called_off(trial):
                _LOGGER.info("The release %s is called off.", release.name)
                self._succession.go_back(None)
                return self._look()
            return "watching"
        self._succession.settle(trial)
        _LOGGER.info("The release %s counts as good.", release.name)
        return "settled"

    def _called_off(self, trial: BoxTrial) -> bool:
        """Look whether the box is to have another release by now than the one on trial.

        What cannot be read, or is refused, changes nothing.
        """
        if self._clock() - self._looked_s < self._options.every_s:
            return False
        try:
            wanted = self._read()
        except (SnowError, OSError) as error:
            _LOGGER.warning("%s", error)
            return False
        return wanted is not None and wanted.generation != trial.generation


def _state_of(problem: Exception) -> State:
    """Return how a box does that something went wrong with."""
    if is_full_disk(problem):
        return "full"
    return next((name for kind, name in _STATES if isinstance(problem, kind)), "failed")
