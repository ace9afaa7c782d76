"""The program that answers, as the agent sees it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final, Protocol

from snow_runtime.update.health import HealthWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snow_runtime.update.health import ProgramCounts

_COMMAND_S: Final = 120.0


class Program(Protocol):
    """What answers by the generation that the pointer names."""

    @property
    def watched(self) -> bool:
        """Whether a fault would be seen at all."""
        ...

    def begin(self, budget_ms: float | None, *, has_to_answer: bool = False) -> None:
        """Begin to work by the present generation, and to be watched.

        Args:
            budget_ms: Longest mean time of an answer, in milliseconds; None for any.
            has_to_answer: It answered frames before it began anew.
        """
        ...

    def look(self) -> None:
        """Take note of what it has counted; now and then, also while nothing is watched."""
        ...

    def switch(self, budget_ms: float | None) -> None:
        """Work by the present generation from the next frame on; watch anew from then on."""
        ...

    def fault(self) -> str | None:
        """Return what has gone wrong since the last switch; None where nothing has."""
        ...

    @property
    def answers(self) -> bool:
        """Whether it has answered a frame since the last switch, if it has to."""
        ...

    @property
    def answered_lately(self) -> bool:
        """Whether it has answered a frame in the last day."""
        ...

    def rest(self) -> None:
        """Work no more until the next switch: there is no generation to work by."""
        ...

    def end(self) -> None:
        """Work no more."""
        ...


class WithinProgram:
    """The program that the agent is a part of, as in `run --follow`.

    Args:
        reload: Function that loads the model anew, and returns why that failed; None where it did
            not.
        counts: Function that returns what the program has counted; None where it has not begun.
    """

    watched = True

    def __init__(
        self, reload: Callable[[], str | None], counts: Callable[[], ProgramCounts | None]
    ) -> None:
        self._reload = reload
        self._counts = counts
        self._watch = HealthWatch()

    def begin(self, budget_ms: float | None, *, has_to_answer: bool = False) -> None:
        """Watch from now on; it works already."""
        self._watch.begin(budget_ms, has_to_answer=has_to_answer)
        self.look()

    def fail(self, why: str) -> None:
        """Note what went wrong elsewhere."""
        self._watch.fail(why)

    def switch(self, budget_ms: float | None) -> None:
        """Load the model anew between two frames."""
        self.look()  # whether it has answered until now
        why = self._reload()
        self._watch.begin(budget_ms)
        if why is not None:
            self._watch.fail(why)

    def fault(self) -> str | None:
        """Look at the counts."""
        self.look()
        return self._watch.fault

    def look(self) -> None:
        """Report what it has counted."""
        counts = self._counts()
        if counts is not None:
            self._watch.report(counts)

    @property
    def answers(self) -> bool:
        """Whether it has answered a frame since the last switch, if it has to."""
        return self._watch.answers

    @property
    def answered_lately(self) -> bool:
        """Whether it has answered a frame in the last day."""
        return self._watch.answered_lately

    def rest(self) -> None:
        """Leave it as it is: without a generation it ends by itself."""

    def end(self) -> None:
        """Leave it as it is: it ends itself."""


class CommandProgram:
    """A program that something else looks after, such as systemd, reached by commands.

    Args:
        reload: Command that has it load the model anew, such as `systemctl reload snow`.
        health: Command whose exit code is 0 as long as all is well; empty for none. Without it a
            release counts as good once it has been loaded.
    """

    def __init__(self, reload: Sequence[str], health: Sequence[str] = ()) -> None:
        self._reload = list(reload)
        self._health = list(health)
        self.watched = bool(health)
        self._watch = HealthWatch()
        self._strikes = 0

    def begin(self, budget_ms: float | None, *, has_to_answer: bool = False) -> None:  # noqa: ARG002
        """Watch from now on."""
        self._watch.begin(budget_ms)

    def look(self) -> None:
        """Do nothing: what it counts is not seen from here."""

    def switch(self, budget_ms: float | None) -> None:
        """Run the command that loads anew."""
        self._watch.begin(budget_ms)
        self._strikes = 0
        why = _failure(self._reload)
        if why is not None:
            self._watch.fail(why)

    def fault(self) -> str | None:
        """Run the command that tells how it does; three times in a row it has to fail."""
        why = _failure(self._health) if self._health else None
        self._strikes = 0 if why is None else self._strikes + 1
        if why is not None and self._strikes >= _STRIKES:
            self._watch.fail(why)
        return self._watch.fault

    @property
    def answers(self) -> bool:
        """True: what it answers is not seen from here; `health` may look."""
        return True

    @property
    def answered_lately(self) -> bool:
        """False, likewise."""
        return False

    def rest(self) -> None:
        """Leave it as it is: without a generation it ends by itself."""

    def end(self) -> None:
        """Leave it as it is: something else looks after it."""


_STRIKES: Final = 3


def _failure(command: Sequence[str]) -> str | None:
    """Run a command; return what went wrong, or None."""
    if not command:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a command that the box's owner gave
            command, capture_output=True, check=False, timeout=_COMMAND_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]} cannot be run: {error}"
    if done.returncode == 0:
        return None
    output = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
    said = output.splitlines() or ["it said nothing"]
    return f"{command[0]} ended with {done.returncode}: {said[-1][:200]}"
