"""Which release a program works by: one that is taken up, counts as good, or gives way again."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from snow_runtime.update.box import BoxState, BoxTrial

if TYPE_CHECKING:
    from snow_runtime.update.box import Box
    from snow_runtime.update.program import Program
    from snow_runtime.update.release import Release
    from snow_runtime.update.wanted import WantedRelease

_LOGGER = logging.getLogger(__name__)
_MOST_STARTS: Final = 2
"""A release on trial is begun anew so often at most: a power cut is no fault of it, three are."""


class Succession:
    """Sets the pointer and the program from one release to the next, and back.

    What is known is written down before it is done, so that a power cut between the two leaves
    what the next start can set right.

    Args:
        box: Folder of the box.
        program: What answers.
    """

    def __init__(self, box: Box, program: Program) -> None:
        self._box = box
        self._program = program
        self.state = BoxState()

    @property
    def present(self) -> Release | None:
        """The release that the box runs; None for none."""
        return self._box.release(self.state.wanted)

    def keep(self, state: BoxState) -> None:
        """Write down what is known.

        Raises:
            OSError: The disk is full.
        """
        self._box.save(state)
        self.state = state

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
            self.keep(state)
        except OSError:  # what cannot be noted cannot be counted: no trial then
            self.state = replace(state, trial=None)
        self._box.point(self.state.wanted)
        self.clean(incoming=False)
        self._box.sweep()

    def take_up(self, wanted: WantedRelease) -> None:
        """Have the program work by a release; from the first line on it may be taken back.

        Raises:
            OSError: The disk is full.
        """
        self._program.look()
        answered = self._program.answered_lately
        trial = BoxTrial(wanted.generation, answered=answered, begun=time.time())
        self.keep(replace(self.state, trial=trial))
        self._box.point(wanted.generation)
        _LOGGER.info("The release %s is taken up and watched.", wanted.release.name)
        self._program.switch(wanted.release.budget_ms)

    def settle(self, trial: BoxTrial) -> None:
        """Let the release on trial count as good, and keep the one before.

        Raises:
            OSError: The disk is full.
        """
        old = self.state.good
        previous = old if old != trial.generation else self.state.previous
        self.keep(replace(self.state, good=trial.generation, previous=previous, trial=None))
        self.clean()

    def reject(self, generation: str, why: str) -> None:
        """Note that a release failed before it was taken up, and remove it.

        Raises:
            OSError: The disk is full.
        """
        self.keep(self.state.with_failed(generation, why))
        self.clean()

    def go_back(self, why: str | None) -> None:
        """Have the program work by the release before, whether or not that can be noted.

        Args:
            why: What is wrong with the one on trial; None where it is only called off.

        Raises:
            OSError: The pointer cannot be set.
        """
        trial = self.state.trial
        state = replace(self.state, trial=None)
        if trial is not None and why is not None:
            state = state.with_failed(trial.generation, why)
        try:
            self.keep(state)
        except OSError as error:
            _LOGGER.warning("state.json cannot be written: %s", error)
            self.state = state
        self._box.point(state.wanted)
        release = self.present
        if release is None:
            self._program.rest()
        else:
            self._program.switch(release.budget_ms)

    def close(self) -> None:
        """Note that what ends now was ended: it is no fault of a release on trial."""
        trial = self.state.trial
        if trial is not None and trial.starts:
            try:
                self.keep(replace(self.state, trial=replace(trial, starts=trial.starts - 1)))
            except OSError as error:
                _LOGGER.warning("state.json cannot be written: %s", error)

    def make_room(self) -> None:
        """Let go of the release before the present one: it can be had again, this box cannot."""
        try:
            if self.state.previous is not None and self.state.trial is None:
                self.keep(replace(self.state, previous=None))
        except OSError:
            self.state = replace(self.state, previous=None)
        try:
            self.clean()
        except OSError as error:
            _LOGGER.warning("No room can be made in %s: %s", self._box.folder, error)

    def clean(self, *, incoming: bool = True) -> None:
        """Remove all generations but those that are in use or can be gone back to."""
        kept = {self.state.wanted, self.state.good, self.state.previous}
        self._box.clean({name for name in kept if name}, incoming=incoming)
